"""The shop itself, before any photo: which products there are and what shoppers could want.

A cell is what positives have in common: (group, tier, pattern, colourway), 960 of them. Products
come in clusters of four to seven of one cell, so that a product has mates in a shop of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tgqformer.corruption.canvas import chance, pick
from tgqformer.storefront.metadata import Metadata, write_metadata
from tgqformer.storefront.shapes import SILHOUETTES
from tgqformer.storefront.streams import shuffled, stream
from tgqformer.storefront.style import COLOURWAYS, PATTERNS, Look, make_look
from tgqformer.storefront.taxonomy import BRANDS, CATEGORIES, GROUPS, Category

FAVOURITE_SHARE = 0.35
"""Of a cluster's products, how many are of one category on purpose; shops specialise."""


class Cell(NamedTuple):
    """What the products that a shopper wants together have in common."""

    group: str
    tier: int
    pattern: str
    colourway: str


@dataclass(frozen=True, slots=True)
class Product:
    """One product as it is, whatever its photo and its metadata say.

    Attributes:
        number: its place in the shop.
        item_id: its id.
        category: what it is.
        cell: group, tier and hidden style.
        brand: its true brand.
        look: how it looks.
        metadata: what an ordinary seller writes about it.
    """

    number: int
    item_id: str
    category: Category
    cell: Cell
    brand: str
    look: Look
    metadata: Metadata


def all_cells() -> list[Cell]:
    """Return the 960 cells in a fixed order."""
    return [
        Cell(group, tier, pattern, colourway)
        for group in GROUPS
        for tier in range(len(BRANDS))
        for pattern in PATTERNS
        for colourway in COLOURWAYS
    ]


def make_products(items: int, seed: int) -> list[Product]:
    """Return the products of a shop; the same for the same seed and number of items."""
    return [
        _make_product(number, cell, category, seed)
        for number, (cell, category) in enumerate(_assign(items, seed))
    ]


def _assign(items: int, seed: int) -> list[tuple[Cell, Category]]:
    """Return a cell and a category for every product: clusters of 4-7, in random order."""
    rng = stream(seed, "cells")
    assigned: list[tuple[Cell, Category]] = []
    waiting: list[Cell] = []
    while len(assigned) < items:
        waiting = waiting or shuffled(all_cells(), rng)
        cell, size = waiting.pop(), int(rng.integers(4, 8))
        if items - len(assigned) - size < 4:
            size = items - len(assigned)  # no cluster of one to three is left over
        categories = [c for c in CATEGORIES if c.group == cell.group]
        favourite = pick(rng, categories)
        for _ in range(size):
            other = pick(rng, categories)
            assigned.append((cell, favourite if chance(rng, FAVOURITE_SHARE) else other))
    return shuffled(assigned, rng)


def _make_product(number: int, cell: Cell, category: Category, seed: int) -> Product:
    rng = stream(seed, "item", number)
    brand = pick(rng, BRANDS[cell.tier])
    silhouette = int(rng.integers(SILHOUETTES))
    look = make_look(
        category.name, silhouette, cell.pattern, cell.colourway, stream(seed, "look", number)
    )
    metadata = write_metadata(category, brand, cell.tier, stream(seed, "metadata", number))
    return Product(number, f"p{number:06d}", category, cell, brand, look, metadata)

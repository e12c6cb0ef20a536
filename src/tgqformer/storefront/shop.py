"""The shop itself, before any photo: which products there are and what shoppers could want.

A cell is what positives have in common: (group, tier, pattern, colourway), 960 of them. Products
come in clusters of four to seven of one cell, so that a product has mates in a shop of any size.

Where the drawing has families, the clusters come in ranges: two to four cells that differ in the
colourway alone. A family takes one product from each cell of a range, so that sisters have one
category, brand, shape, pattern and text, and nothing but the photo tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tgqformer.corruption.canvas import chance, pick, shuffled, stream
from tgqformer.storefront.metadata import (
    BRANDS,
    CATEGORIES,
    GROUPS,
    Category,
    Metadata,
    stuff_title,
    write_metadata,
)
from tgqformer.storefront.product import COLOURWAYS, PATTERNS, SILHOUETTES, Look, make_look
from tgqformer.storefront.regimes import DRAWINGS, LATEST, Drawing

FAVOURITE_SHARE = 0.35
"""Of a cluster's products, how many are of one category on purpose; shops specialise."""
_FLATTENING = 0.01
"""Of the law of popularity, in sizes of the shop: how far its head is cut."""
_RANGES = ((2, 2, 4), (2, 4, 2), (4, 2, 2), (2, 3, 3), (3, 2, 3), (3, 3, 2), (4, 4))
"""How the eight colourways of one group, tier and pattern are dealt out to ranges."""
_CLUSTER = (4, 8)
_MEAN_CLUSTER = 5.5


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
        family: the number of the first product of its family; its own where it has no sisters.
        popularity: how eagerly it is clicked on, relative to the others.
        stuffing: the things of other categories that its title names.
    """

    number: int
    item_id: str
    category: Category
    cell: Cell
    brand: str
    look: Look
    metadata: Metadata
    family: int
    popularity: float
    stuffing: tuple[str, ...]


class _Place(NamedTuple):
    """What is settled about a product before it is drawn; `family` is None without sisters."""

    cell: Cell
    category: Category
    family: int | None = None


def all_cells() -> list[Cell]:
    """Return the 960 cells in a fixed order."""
    return [
        Cell(group, tier, pattern, colourway)
        for group in GROUPS
        for tier in range(len(BRANDS))
        for pattern in PATTERNS
        for colourway in COLOURWAYS
    ]


def make_products(items: int, seed: int, drawing: Drawing = DRAWINGS[LATEST]) -> list[Product]:
    """Return the products of a shop; the same for the same seed, number of items and drawing."""
    share = drawing.families
    places = _assign_families(items, seed, share) if share else _assign(items, seed)
    heads: dict[int | None, int] = {}
    for number, place in enumerate(places):
        heads.setdefault(place.family, number)
    popularity = draw_popularity(items, seed) if drawing.popularity else [1.0] * items
    return [
        _make_product(
            number,
            place,
            number if place.family is None else heads[place.family],
            popularity[number],
            drawing,
            seed,
        )
        for number, place in enumerate(places)
    ]


def draw_popularity(items: int, seed: int) -> list[float]:
    """Return how popular every product is: 1 / (rank + items / 100), the ranks 1, 2, ... by lot.

    Zipf's law with Mandelbrot's flattened head: in a shop of any size a tenth of the products has
    half of the whole, the first 100 times as much as the last, and none is everybody's.
    """
    ranks = shuffled(range(1, items + 1), stream(seed, "popularity"))
    return [1 / (rank + _FLATTENING * items) for rank in ranks]


def _assign(items: int, seed: int) -> list[_Place]:
    """Return a cell and a category for every product: clusters of 4-7, in random order."""
    rng = stream(seed, "cells")
    assigned: list[_Place] = []
    waiting: list[Cell] = []
    while len(assigned) < items:
        waiting = waiting or shuffled(all_cells(), rng)
        cell, size = waiting.pop(), _cluster_size(items - len(assigned), rng)
        categories = [c for c in CATEGORIES if c.group == cell.group]
        assigned += [_Place(cell, c) for c in _draw_categories(categories, size, rng)]
    return shuffled(assigned, rng)


def _assign_families(items: int, seed: int, share: float) -> list[_Place]:
    """Return places as `_assign` does, in ranges of colourways that share families."""
    rng = stream(seed, "ranges")
    assigned: list[_Place] = []
    waiting: list[list[Cell]] = []
    begun = 0
    while len(assigned) < items:
        waiting = waiting or shuffled(_all_ranges(rng), rng)
        cells = waiting.pop()
        categories = [c for c in CATEGORIES if c.group == cells[0].group]
        wanted = share * _MEAN_CLUSTER
        count = int(wanted) + chance(rng, wanted % 1)  # fewer than any cluster has products
        shared = _draw_categories(categories, count, rng)
        for cell in cells:
            if len(assigned) == items:
                break
            size = _cluster_size(items - len(assigned), rng)
            others = _draw_categories(categories, size - count, rng)
            assigned += [_Place(cell, c, begun + k) for k, c in enumerate(shared)]
            assigned += [_Place(cell, c) for c in others]
        begun += count
    return shuffled(assigned, rng)


def _all_ranges(rng: np.random.Generator) -> list[list[Cell]]:
    """Return the 960 cells in lists of two to four that differ in the colourway alone."""
    ranges: list[list[Cell]] = []
    for group in GROUPS:
        for tier in range(len(BRANDS)):
            for pattern in PATTERNS:
                left = shuffled(tuple(COLOURWAYS), rng)
                for size in pick(rng, _RANGES):
                    ranges.append([Cell(group, tier, pattern, left.pop()) for _ in range(size)])
    return ranges


def _cluster_size(left: int, rng: np.random.Generator) -> int:
    """Return how many products the next cluster has, if `left` are still to be placed."""
    size = int(rng.integers(*_CLUSTER))
    return left if left - size < _CLUSTER[0] else size  # no cluster of one to three is left over


def _draw_categories(
    categories: list[Category], count: int, rng: np.random.Generator
) -> list[Category]:
    favourite = pick(rng, categories)
    drawn = []
    for _ in range(count):
        other = pick(rng, categories)
        drawn.append(favourite if chance(rng, FAVOURITE_SHARE) else other)
    return drawn


def _make_product(
    number: int, place: _Place, family: int, popularity: float, drawing: Drawing, seed: int
) -> Product:
    """Sisters are drawn from the streams of their family's first product."""
    cell, category = place.cell, place.category
    rng = stream(seed, "item", family)
    brand = pick(rng, BRANDS[cell.tier])
    silhouette = int(rng.integers(SILHOUETTES))
    look = make_look(
        category.name, silhouette, cell.pattern, cell.colourway, stream(seed, "look", family)
    )
    metadata = write_metadata(category, brand, cell.tier, stream(seed, "metadata", family))
    metadata, stuffing = stuff_title(
        metadata, category, drawing.stuffed, stream(seed, "stuffing", family)
    )
    return Product(
        number=number,
        item_id=f"p{number:06d}",
        category=category,
        cell=cell,
        brand=brand,
        look=look,
        metadata=metadata,
        family=family,
        popularity=popularity,
        stuffing=stuffing,
    )

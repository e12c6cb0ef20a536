"""Shoppers: sessions of clicks that follow group, brand tier and hidden style, with some noise.

A session has an intent, the cell of some product. A click goes, most of the time, to a product of
that cell (of the same category about half the time); sometimes to the same style in a neighbouring
tier, or to another colourway; and now and then to anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from tgqformer.corruption.canvas import chance, pick
from tgqformer.storefront.shop import Cell, Product
from tgqformer.storefront.streams import stream
from tgqformer.storefront.style import COLOURWAYS
from tgqformer.storefront.taxonomy import BRANDS

IN_CELL, DRIFT = 0.74, 0.16  # the rest, 0.1, is a click on anything
SESSIONS_PER_ITEM = 1.2
_OPENING = 1_735_689_600  # 1 January 2025, UTC
_YEAR = 365 * 24 * 3600


def shop_sessions(products: Sequence[Product], seed: int) -> pl.DataFrame:
    """Return the clicks: columns user, item, time (seconds since 1970), by user."""
    cells: dict[Cell, list[int]] = {}
    for product in products:
        cells.setdefault(product.cell, []).append(product.number)
    users: list[str] = []
    clicked: list[str] = []
    times: list[int] = []
    for session in range(round(SESSIONS_PER_ITEM * len(products))):
        rng = stream(seed, "session", session)
        now = _OPENING + int(rng.integers(_YEAR))
        # Round robin over the products: every one opens a session sooner or later.
        start = products[session % len(products)]
        for number in _visit(start, products, cells, rng):
            users.append(f"u{session:07d}")
            clicked.append(products[number].item_id)
            times.append(now)
            now += int(rng.integers(10, 240))
    return pl.DataFrame(
        {"user": users, "item": clicked, "time": times},
        schema={"user": pl.String, "item": pl.String, "time": pl.Float64},
    )


def _visit(
    start: Product,
    products: Sequence[Product],
    cells: dict[Cell, list[int]],
    rng: np.random.Generator,
) -> list[int]:
    seen = [start.number]
    for _ in range(int(rng.integers(3, 8))):
        u = float(rng.random())
        if u < IN_CELL:
            candidates = cells[start.cell]
            if chance(rng, 0.5):
                alike = [n for n in candidates if products[n].category == start.category]
                candidates = alike if set(alike) - set(seen) else candidates
        elif u < IN_CELL + DRIFT:
            candidates = cells.get(_drifted(start.cell, rng), [])
        else:
            candidates = [int(rng.integers(len(products)))]
        fresh = [n for n in candidates if n not in seen]
        if fresh:
            seen.append(pick(rng, fresh))
    return seen


def _drifted(cell: Cell, rng: np.random.Generator) -> Cell:
    if chance(rng, 0.6):
        tier = cell.tier + pick(rng, (-1, 1))
        return cell._replace(tier=min(len(BRANDS) - 1, max(0, tier)))
    return cell._replace(colourway=pick(rng, tuple(COLOURWAYS)))

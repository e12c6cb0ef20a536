"""Shoppers: sessions of clicks that follow group, brand tier and style, and the pairs they make.

A session has an intent, the cell of some product. A click goes, most of the time, to a product of
that cell (of the same category about half the time); sometimes to the same style in a neighbouring
tier, or to another colourway; and now and then to anything.

Where the drawing has popularity, shoppers follow the crowd: popular products open more of the
sessions, of the products that a click may go to each has its chance in proportion, and who drifts
meets the bestsellers of all tiers, or of all colourways. Such shoppers look at fewer products each,
so that what few look at has fewer positives, or none. Sisters get no clicks for being sisters: who
drifts to another colourway may meet one like any other product there.

What is clicked on in one session becomes pairs; the evaluation asks for the neighbours of items
that no training pair has.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Hashable, Sequence
from itertools import accumulate

import numpy as np
import polars as pl

from tgqformer.catalog.items import Pair
from tgqformer.catalog.sessions import pairs_from_log
from tgqformer.corruption.canvas import chance, pick, sample, shuffled, stream
from tgqformer.storefront.metadata import BRANDS, CATEGORIES
from tgqformer.storefront.product import COLOURWAYS
from tgqformer.storefront.regimes import DRAWINGS, LATEST, Drawing
from tgqformer.storefront.shop import Cell, Product

_OPENING = 1_735_689_600  # 1 January 2025, UTC
_YEAR = 365 * 24 * 3600
_MIN_COUNT = 2  # two sessions: what random clicks share stays below
_TARGETS = 10
_VAL_SHARE, _TEST_SHARE = 0.05, 0.2
_ORDER = {"train": 0, "val": 1, "test": 2}
_IN_CELL, _DRIFT = 0.74, 0.16  # the rest, 0.1, is a click on anything


def shop_sessions(
    products: Sequence[Product], seed: int, drawing: Drawing = DRAWINGS[LATEST]
) -> pl.DataFrame:
    """Return the clicks: columns user, item, time (seconds since 1970), by user."""
    shoppers = Crowd(products) if drawing.popularity else Shoppers(products)
    users: list[str] = []
    clicked: list[str] = []
    times: list[int] = []
    for session in range(round(shoppers.sessions_per_item * len(products))):
        rng = stream(seed, "session", session)
        now = _OPENING + int(rng.integers(_YEAR))
        for number in shoppers.visit(session, rng):
            users.append(f"u{session:07d}")
            clicked.append(products[number].item_id)
            times.append(now)
            now += int(rng.integers(10, 240))
    return pl.DataFrame(
        {"user": users, "item": clicked, "time": times},
        schema={"user": pl.String, "item": pl.String, "time": pl.Float64},
    )


class Shoppers:
    """Shoppers to whom all products are alike."""

    sessions_per_item = 1.2
    clicks = (3, 8)  # from and below, after the first

    def __init__(self, products: Sequence[Product]) -> None:
        self.products = products
        self.cells: dict[Cell, list[int]] = {}
        for product in products:
            self.cells.setdefault(product.cell, []).append(product.number)

    def visit(self, session: int, rng: np.random.Generator) -> list[int]:
        """Return the numbers of the products that a session clicks on, in order."""
        start = self.products[self.opening(session, rng)]
        seen = [start.number]
        for _ in range(int(rng.integers(*self.clicks))):
            u = float(rng.random())
            if u < _IN_CELL:
                candidates = self.cells[start.cell]
                if chance(rng, 0.5):
                    alike = [n for n in candidates if self.products[n].category == start.category]
                    candidates = alike if set(alike) - set(seen) else candidates
            elif u < _IN_CELL + _DRIFT:
                candidates = self.drifted(start.cell, rng)
            else:
                candidates = [self.anything(rng)]
            fresh = [n for n in candidates if n not in seen]
            if fresh:
                seen.append(self.choice(fresh, rng))
        return seen

    def opening(self, session: int, rng: np.random.Generator) -> int:
        """Round robin over the products: every one opens a session sooner or later."""
        return session % len(self.products)

    def drifted(self, cell: Cell, rng: np.random.Generator) -> list[int]:
        """Return the products of a cell beside the given one."""
        if chance(rng, 0.6):
            tier = cell.tier + pick(rng, (-1, 1))
            beside = cell._replace(tier=min(len(BRANDS) - 1, max(0, tier)))
        else:
            beside = cell._replace(colourway=pick(rng, tuple(COLOURWAYS)))
        return self.cells.get(beside, [])

    def anything(self, rng: np.random.Generator) -> int:
        """Return any product."""
        return int(rng.integers(len(self.products)))

    def choice(self, numbers: Sequence[int], rng: np.random.Generator) -> int:
        """Return one of some products."""
        return pick(rng, numbers)


class Crowd(Shoppers):
    """Shoppers who go where the others go."""

    sessions_per_item = 2.0
    clicks = (2, 6)

    def __init__(self, products: Sequence[Product]) -> None:
        super().__init__(products)
        self.sums = list(accumulate(product.popularity for product in products))
        self.lines: dict[Hashable, list[int]] = {}
        for product in products:
            for line in _lines(product.cell):
                self.lines.setdefault(line, []).append(product.number)

    def opening(self, session: int, rng: np.random.Generator) -> int:
        """One session in four opens with any product, the others by popularity."""
        return super().anything(rng) if session % 4 == 0 else self.anything(rng)

    def drifted(self, cell: Cell, rng: np.random.Generator) -> list[int]:
        """Return the products of the cell's style in any tier, or of its tier in any colourway."""
        any_tier, any_colourway = _lines(cell)
        return self.lines[any_tier if chance(rng, 0.6) else any_colourway]

    def anything(self, rng: np.random.Generator) -> int:
        """Return any product, by popularity."""
        return _find(self.sums, rng)

    def choice(self, numbers: Sequence[int], rng: np.random.Generator) -> int:
        """Return one of some products, by popularity."""
        sums = list(accumulate(self.products[n].popularity for n in numbers))
        return numbers[_find(sums, rng)]


def _lines(cell: Cell) -> tuple[Hashable, Hashable]:
    return (cell.group, cell.pattern, cell.colourway), (cell.group, cell.tier, cell.pattern)


def _find(sums: Sequence[float], rng: np.random.Generator) -> int:
    """Return a place, each as likely as what it adds to the running sums."""
    return min(bisect(sums, sums[-1] * float(rng.random())), len(sums) - 1)


def cold_items(item_ids: list[str], seed: int) -> dict[str, str]:
    """Return the split of every item: 5 % "val", 20 % "test", the others "train"."""
    order = shuffled(item_ids, stream(seed, "split"))
    val = max(1, round(_VAL_SHARE * len(order)))
    test = max(1, round(_TEST_SHARE * len(order)))
    split = dict.fromkeys(order, "train")
    split.update(dict.fromkeys(order[:val], "val"))
    split.update(dict.fromkeys(order[val : val + test], "test"))
    return split


def hold_out(count: int, seed: int) -> frozenset[str]:
    """Return the names of so many categories, drawn from all."""
    return frozenset(sample([c.name for c in CATEGORIES], count, stream(seed, "held-out")))


def split_products(
    products: Sequence[Product], held_out: frozenset[str], seed: int
) -> dict[str, str]:
    """Return the split of every item: `cold_items`, and "test" in the categories held out."""
    split = cold_items([p.item_id for p in products], seed)
    split.update({p.item_id: "test" for p in products if p.category.name in held_out})
    return split


def sessions_to_pairs(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return item-to-item cosine over sessions: columns query_id, target_id, weight.

    Pairs of fewer than _MIN_COUNT common sessions are left out, and _TARGETS targets kept for each
    query.
    """
    return pairs_from_log(sessions, method="cosine", top_k=_TARGETS, min_users=_MIN_COUNT)


def split_pairs(pairs: pl.DataFrame, split: dict[str, str]) -> list[Pair]:
    """Return the pairs with their splits, each pair in one split alone.

    A test pair has a test query and any target; a val pair has a val query and a target that is no
    test item; a train pair has both ends outside the cold items. The others are left out.
    """
    return [
        Pair(query, target, float(weight), split[query])
        for query, target, weight in pairs.iter_rows()
        if _ORDER[split[target]] <= _ORDER[split[query]]
    ]


def pool_of(split: str) -> str:
    """Return the label `pool` of an item: test items are unknown before the test.

    So a val query searches among the items that its targets come from, and a test query among all.
    """
    return "test" if split == "test" else "train,val,test"

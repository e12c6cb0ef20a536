"""From sessions to pairs, and the cold items whose neighbours the evaluation asks for."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tgqformer.catalog.items import Pair
from tgqformer.catalog.sessions import pairs_from_log
from tgqformer.storefront.shop import Product
from tgqformer.storefront.streams import sample, shuffled, stream
from tgqformer.storefront.taxonomy import CATEGORIES

MIN_COUNT = 2  # two sessions: what random clicks share stays below
TARGETS = 10
VAL_SHARE, TEST_SHARE = 0.05, 0.2
_ORDER = {"train": 0, "val": 1, "test": 2}


def cold_items(item_ids: list[str], seed: int) -> dict[str, str]:
    """Return the split of every item: 5 % "val", 20 % "test", the others "train"."""
    order = shuffled(item_ids, stream(seed, "split"))
    val = max(1, round(VAL_SHARE * len(order)))
    test = max(1, round(TEST_SHARE * len(order)))
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

    Pairs of fewer than MIN_COUNT common sessions are left out, and TARGETS targets kept for each
    query.
    """
    return pairs_from_log(sessions, method="cosine", top_k=TARGETS, min_users=MIN_COUNT)


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

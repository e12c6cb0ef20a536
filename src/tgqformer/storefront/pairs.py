"""From sessions to pairs, and the cold items whose neighbours the evaluation asks for."""

from __future__ import annotations

import polars as pl

from tgqformer.catalog.items import Pair
from tgqformer.storefront.streams import shuffled, stream

MIN_COUNT = 2  # two sessions: what random clicks share stays below
TARGETS = 10
VAL_SHARE, TEST_SHARE = 0.05, 0.2


def cold_items(item_ids: list[str], seed: int) -> dict[str, str]:
    """Return the split of every item: 5 % "val", 20 % "test", the others "train"."""
    order = shuffled(item_ids, stream(seed, "split"))
    val = max(1, round(VAL_SHARE * len(order)))
    test = max(1, round(TEST_SHARE * len(order)))
    split = dict.fromkeys(order, "train")
    split.update(dict.fromkeys(order[:val], "val"))
    split.update(dict.fromkeys(order[val : val + test], "test"))
    return split


def sessions_to_pairs(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return item-to-item cosine over sessions: columns query_id, target_id, weight.

    The weight of (i, j) is n_ij / sqrt(n_i n_j), n counting sessions; pairs of fewer than
    MIN_COUNT common sessions are dropped, and TARGETS targets kept for each query.
    """
    clicks = sessions.select("user_id", "item_id").unique()
    counts = clicks.group_by("item_id").len("n")
    return (
        clicks.join(clicks, on="user_id", suffix="_b")
        .filter(pl.col("item_id") != pl.col("item_id_b"))
        .group_by("item_id", "item_id_b")
        .len("common")
        .filter(pl.col("common") >= MIN_COUNT)
        .join(counts, on="item_id")
        .join(counts, left_on="item_id_b", right_on="item_id", suffix="_b")
        .with_columns(weight=pl.col("common") / (pl.col("n") * pl.col("n_b")).sqrt())
        .sort("item_id", "weight", "item_id_b", descending=[False, True, False])
        .group_by("item_id", maintain_order=True)
        .head(TARGETS)
        .select(query_id="item_id", target_id="item_id_b", weight="weight")
    )


def split_pairs(pairs: pl.DataFrame, split: dict[str, str]) -> list[Pair]:
    """Return the pairs with their splits.

    A train pair has both ends outside the cold items; a val or test pair has a query of that split
    and any target; the other pairs, from a warm query to a cold target, are left out.
    """
    result = []
    for query, target, weight in pairs.iter_rows():
        if split[query] != "train" or split[target] == "train":
            result.append(Pair(query, target, float(weight), split[query]))
    return result

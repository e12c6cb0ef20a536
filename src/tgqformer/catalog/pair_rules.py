"""The rules for pairs. What breaks one goes to quarantine with its reason; the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from tgqformer.catalog.columns import number_column, require_columns, text_column
from tgqformer.catalog.ids import Twins, id_column
from tgqformer.catalog.items import Pair
from tgqformer.catalog.quarantine import DROPPED, Quarantine, shown
from tgqformer.catalog.tables import Table

SPLITS = ("train", "val", "test")
"""What a pair's `split` may be."""

PAIR_SCHEMA = {"query": pl.Int64, "target": pl.Int64, "weight": pl.Float32, "split": pl.String}
"""Pairs as a Catalog keeps them: positions in its items."""

_NO_ITEM = "no item has the id {}"
_WEIGHT = pl.col("weight")
_RULES: tuple[tuple[str, str, pl.Expr, str], ...] = (
    ("query_id", "names no item", pl.col("query").is_null(), _NO_ITEM),
    ("target_id", "names no item", pl.col("target").is_null(), _NO_ITEM),
    (
        "target_id",
        "pair of an item with itself",
        pl.col("query") == pl.col("target"),
        "the query and the target are both {}; an item is no neighbour of itself, so remove the "
        "pair",
    ),
    (
        "weight",
        "bad weight",
        ~(_WEIGHT.is_finite() & (_WEIGHT > 0)),
        "the weight is {}; a weight is a finite number over 0, so correct it or leave it empty",
    ),
    (
        "split",
        "unknown split",
        ~pl.col("split").is_in(SPLITS),
        f"the split is {{}}; use one of {', '.join(SPLITS)}",
    ),
)
"""Field, name of the rule, which rows break it, and what to say, {} standing for the value."""


def pair_frame(pairs: Iterable[Pair], index: Mapping[str, int]) -> pl.DataFrame:
    """Return pairs that should be sound with the columns of PAIR_SCHEMA.

    Raises:
        CatalogError: a pair breaks a rule.
    """
    listed = list(pairs)
    columns: dict[str, pl.Series | list[Any]] = {
        "query_id": [pair.query_id for pair in listed],
        "target_id": [pair.target_id for pair in listed],
        "weight": [pair.weight for pair in listed],
        "split": [pair.split for pair in listed],
    }
    rows = np.arange(1, len(listed) + 1, dtype=np.int64)
    faults = Quarantine()
    frame = check_pairs(Table("pairs", rows, columns), index, faults)
    faults.raise_first("A pair cannot be in the catalog")
    return frame


def check_pairs(table: Table, index: Mapping[str, int], quarantine: Quarantine) -> pl.DataFrame:
    """Return the pairs that keep the rules, with the columns of PAIR_SCHEMA.

    Args:
        table: columns query_id, target_id and, if they are there, weight (1 where empty) and split
            ("train" where empty).
        index: the position of each item by its id.
        quarantine: takes what breaks a rule.

    Raises:
        CatalogError: there is no column `query_id` or `target_id`.
    """
    require_columns(
        table,
        ["query_id", "target_id"],
        "a pair names two items by their ids, so rename the columns",
    )
    before = len(quarantine)
    weights = number_column(table, "weight", quarantine, action=DROPPED)
    unread = [entry.row for entry in list(quarantine)[before:]]
    frame = pl.DataFrame(
        {
            "row": table.rows,
            "query_id": id_column(table, "query_id", quarantine),
            "target_id": id_column(table, "target_id", quarantine),
            "weight": weights.fill_null(1.0),
            "split": text_column(table, "split", quarantine),
        }
    ).filter(~pl.col("row").is_in(unread))
    frame = frame.with_columns(
        split=pl.when(pl.col("split") == "").then(pl.lit("train")).otherwise("split")
    )
    known = pl.DataFrame(
        {
            "id": pl.Series(list(index), dtype=pl.String),
            "position": pl.Series(list(index.values()), dtype=pl.Int64),
        }
    )
    frame = frame.join(
        known.rename({"id": "query_id", "position": "query"}),
        on="query_id",
        how="left",
        maintain_order="left",
    ).join(
        known.rename({"id": "target_id", "position": "target"}),
        on="target_id",
        how="left",
        maintain_order="left",
    )
    twins = Twins(index)
    for field, rule, broken, reason in _RULES:
        for entry in frame.filter(broken).iter_rows(named=True):
            told = reason.replace("{}", shown(entry[field]))
            if reason == _NO_ITEM:
                told += f"; {twins.remedy(entry[field]) or 'add the item or remove the pair'}"
            quarantine.add("pairs", entry["row"], entry["query_id"], field, rule, told)
        frame = frame.filter(~broken)
    first = pl.struct("query", "target", "split").is_first_distinct()
    for entry in frame.filter(~first).iter_rows(named=True):
        quarantine.add(
            "pairs",
            entry["row"],
            entry["query_id"],
            "target_id",
            "pair told twice",
            f"the pair with {shown(entry['target_id'])} stands in split {entry['split']!r} "
            "already; add the weights up in one row",
        )
    return frame.filter(first).select("query", "target", pl.col("weight").cast(pl.Float32), "split")

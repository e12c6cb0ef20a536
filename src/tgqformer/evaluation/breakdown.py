"""Figures broken down by what is known of a query: category, noise, faults, missing, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.evaluation.intervals import Interval, mean_intervals
from tgqformer.retrieval.scores import Rows

NONE = "(none)"
DIMENSIONS = ("category", "noise", "faults", "missing", "history", "interactions")
LABELLED = ("noise", "faults")
"""Which of them only the labels tell: a word each, or a list of words."""
COLD, WARM = "cold", "warm"
"""Of a query that was never seen with another item in training, and of one that was."""
_SEEN = {0: "0", 1: "1-2", 3: "3-5", 6: "6-10", 11: "11-20", 21: "21-50", 51: "51-100", 101: ">100"}
"""How often an item was seen: from so many times on, the group's name."""


def top_category(category: str) -> str:
    """``"Home > Lighting > Lamp"`` -> ``"Home"``; "(none)" where unknown."""
    return category.split(">")[0].strip() or NONE


def missing_part(item: Item) -> str:
    """ "nothing", "photo", "title" or "photo and title"."""
    known = {"photo": bool(item.images), "title": bool(item.title.strip())}
    parts = [name for name, there in known.items() if not there]
    return " and ".join(parts) or "nothing"


def describe_queries(items: Sequence[Item], labels: pl.DataFrame | None) -> pl.DataFrame:
    """One row for each item: query_id, category, missing, and of LABELLED what the labels tell."""
    table = pl.DataFrame(
        {
            "query_id": [item.item_id for item in items],
            "category": [top_category(item.category) for item in items],
            "missing": [missing_part(item) for item in items],
        },
        schema={"query_id": pl.String, "category": pl.String, "missing": pl.String},
    )
    told = [] if labels is None else [name for name in LABELLED if name in labels.columns]
    if labels is None or not told:
        return table
    words = labels.select(
        pl.col("item_id").alias("query_id"), *(_words(labels[name]) for name in told)
    ).unique("query_id", keep="first")
    joined = table.join(words, on="query_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(told).fill_null(NONE))


def describe_history(seen: Rows) -> pl.DataFrame:
    """One row for each query that was `seen` [M] so often in training: history, interactions."""
    names = pl.Series(list(_SEEN.values()), dtype=pl.String)
    groups = np.searchsorted(list(_SEEN), seen, side="right") - 1
    warm = pl.Series("history", [WARM if count else COLD for count in seen], dtype=pl.String)
    return pl.DataFrame([warm, names.gather(pl.Series(groups)).alias("interactions")])


def in_order(dimension: str, counts: Mapping[str, int]) -> list[str]:
    """The groups of a dimension as tables show them: by falling number of queries, then by name.

    Interactions go from few to many.
    """
    if dimension == "interactions":
        return sorted(counts, key=list(_SEEN.values()).index)
    return sorted(counts, key=lambda value: (-counts[value], value))


def _words(column: pl.Series) -> pl.Series:
    """A label as one text each; several words are joined, none is null."""
    if isinstance(column.dtype, pl.List):
        column = column.list.eval(pl.element().cast(pl.String)).list.join(" + ")
    text = column.cast(pl.String)
    return text.set(text == "", None)


def break_down(
    table: pl.DataFrame, metrics: Sequence[str], *, samples: int, seed: int
) -> dict[str, dict[str, tuple[int, dict[str, Interval]]]]:
    """Dimension -> value -> (queries, figures), values as `in_order`.

    A dimension with a single value says nothing that the whole does not, and is left out.
    """
    found: dict[str, dict[str, tuple[int, dict[str, Interval]]]] = {}
    for dimension in DIMENSIONS:
        if dimension not in table.columns or table[dimension].n_unique() < 2:
            continue
        parts = {str(v): part for (v,), part in table.partition_by(dimension, as_dict=True).items()}
        found[dimension] = {
            value: (
                len(parts[value]),
                mean_intervals(
                    {name: parts[value][name].to_numpy() for name in metrics},
                    samples=samples,
                    seed=seed,
                ),
            )
            for value in in_order(dimension, {value: len(part) for value, part in parts.items()})
        }
    return found

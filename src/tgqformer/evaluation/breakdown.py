"""Figures broken down by what is known of a query: category, noise, faults, missing parts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.evaluation.intervals import Interval, mean_intervals

NONE = "(none)"
DIMENSIONS = ("category", "noise", "faults", "missing")
LABELLED = ("noise", "faults")
"""Which of them only the labels tell: a word each, or a list of words."""


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


def _words(column: pl.Series) -> pl.Series:
    """A label as one text each; several words are joined, none is null."""
    if isinstance(column.dtype, pl.List):
        column = column.list.eval(pl.element().cast(pl.String)).list.join(" + ")
    text = column.cast(pl.String)
    return text.set(text == "", None)


def break_down(
    table: pl.DataFrame, metrics: Sequence[str], *, samples: int, seed: int
) -> dict[str, dict[str, tuple[int, dict[str, Interval]]]]:
    """Dimension -> value -> (queries, figures), values by falling number of queries.

    A dimension with a single value says nothing that the whole does not, and is left out.
    """
    found: dict[str, dict[str, tuple[int, dict[str, Interval]]]] = {}
    for dimension in DIMENSIONS:
        if dimension not in table.columns or table[dimension].n_unique() < 2:
            continue
        parts = table.partition_by(dimension, as_dict=True)
        order = sorted(parts.items(), key=lambda part: (-len(part[1]), part[0]))
        found[dimension] = {
            str(value): (
                len(part),
                mean_intervals(
                    {name: part[name].to_numpy() for name in metrics}, samples=samples, seed=seed
                ),
            )
            for (value,), part in order
        }
    return found

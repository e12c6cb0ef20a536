"""Figures broken down by what is known of a query: category, noise, missing photo or title."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.evaluation.intervals import Interval, mean_intervals

NONE = "(none)"
DIMENSIONS = ("category", "noise", "missing")


def top_category(category: str) -> str:
    """``"Home > Lighting > Lamp"`` -> ``"Home"``; "(none)" where unknown."""
    return category.split(">")[0].strip() or NONE


def missing_part(item: Item) -> str:
    """ "nothing", "photo", "title" or "photo and title"."""
    known = {"photo": bool(item.images), "title": bool(item.title.strip())}
    parts = [name for name, there in known.items() if not there]
    return " and ".join(parts) or "nothing"


def describe_queries(items: Sequence[Item], labels: pl.DataFrame | None) -> pl.DataFrame:
    """One row for each item: query_id, category, missing, and noise where the labels tell it."""
    table = pl.DataFrame(
        {
            "query_id": [item.item_id for item in items],
            "category": [top_category(item.category) for item in items],
            "missing": [missing_part(item) for item in items],
        },
        schema={"query_id": pl.String, "category": pl.String, "missing": pl.String},
    )
    if labels is None or "noise" not in labels.columns:
        return table
    noise = labels.select(
        pl.col("item_id").alias("query_id"), pl.col("noise").cast(pl.String)
    ).unique("query_id", keep="first")
    joined = table.join(noise, on="query_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("noise").fill_null(NONE))


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

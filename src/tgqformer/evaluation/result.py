"""The outcome of one evaluation: figures with intervals, and the table they are means of.

Figures are broken down by what is known of a query: category, noise, faults, missing, history.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.errors import StorageError
from tgqformer.evaluation.intervals import Interval, mean_intervals
from tgqformer.files import atomic_path, write_text
from tgqformer.retrieval.scores import Rows

_SUMMARY = "evaluation.json"
_QUERIES = "queries.parquet"
DIMENSIONS = ("category", "noise", "faults", "missing", "history", "interactions")
_LABELLED = ("noise", "faults")
"""Which of them only the labels tell: a word each, or a list of words."""
_NONE = "(none)"
_COLD, _WARM = "cold", "warm"
"""Of a query that was never seen with another item in training, and of one that was."""
_SEEN = {0: "0", 1: "1-2", 3: "3-5", 6: "6-10", 11: "11-20", 21: "21-50", 51: "51-100", 101: ">100"}
"""How often an item was seen: from so many times on, the group's name."""


@dataclass(frozen=True)
class Group:
    """The figures of a part of the queries."""

    queries: int
    metrics: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        return {"queries": self.queries, "metrics": _dicts(self.metrics)}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        name: of the model, as tables show it.
        split: whose pairs were asked for.
        ks: the K of hit@K, recall@K and ndcg@K.
        queries: how many queries the figures are means over.
        pool: how many items each query was ranked against, itself included.
        targets: how many (query, target) pairs were ranked.
        masked: how many known partners were left out of a query's pool, on average.
        metrics: "hit@10", "recall@10", "ndcg@10", ..., "mrr", "map@r"; values in 0..1. Ties count
            with their expected value (see `metrics.py`).
        bounds: the same figures with every tie resolved against the model, and for it.
        ties: "share" of targets that score the same as something else, "mean" number of others a
            target ties with, "largest" such number.
        dropped: pairs that could not be ranked, by reason.
        breakdown: dimension (DIMENSIONS) -> value -> Group.
        settings: bootstrap samples, seed, confidence.
        per_query: a row for each query: query_id, targets, rank (of the best target), ties, the
            breakdown's columns and every figure. Paired tests need it.
    """

    name: str
    split: str
    ks: tuple[int, ...]
    queries: int
    pool: int
    targets: int
    metrics: dict[str, Interval]
    bounds: dict[str, tuple[float, float]]
    ties: dict[str, float]
    dropped: dict[str, int]
    breakdown: dict[str, dict[str, Group]]
    settings: dict[str, float]
    per_query: pl.DataFrame = field(repr=False)
    masked: float = 0.0

    def __getitem__(self, metric: str) -> float:
        """The mean of one figure: ``evaluation["hit@10"]``."""
        return self.metrics[metric].value

    def to_dict(self) -> dict[str, Any]:
        """All but the per-query table, ready for JSON."""
        return {
            "name": self.name,
            "split": self.split,
            "ks": list(self.ks),
            "queries": self.queries,
            "pool": self.pool,
            "targets": self.targets,
            **({"masked": self.masked} if self.masked else {}),
            "metrics": _dicts(self.metrics),
            "bounds": {
                name: {"pessimistic": low, "optimistic": high}
                for name, (low, high) in self.bounds.items()
            },
            "ties": self.ties,
            "dropped": self.dropped,
            "breakdown": {
                dimension: {value: group.to_dict() for value, group in groups.items()}
                for dimension, groups in self.breakdown.items()
            },
            "settings": self.settings,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write evaluation.json and queries.parquet; StorageError where they cannot be."""
        root = Path(folder)
        with atomic_path(root / _QUERIES, refusals=(pl.exceptions.PolarsError,)) as temporary:
            self.per_query.write_parquet(temporary)
        write_text(root / _SUMMARY, self.to_json() + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Evaluation:
        """Read what `save` wrote; StorageError where it is absent or of another make."""
        root = Path(folder)
        try:
            data = json.loads((root / _SUMMARY).read_text(encoding="utf-8"))
            return cls(
                name=data["name"],
                split=data["split"],
                ks=tuple(data["ks"]),
                queries=data["queries"],
                pool=data["pool"],
                targets=data["targets"],
                masked=data.get("masked", 0.0),
                metrics=_intervals(data["metrics"]),
                bounds={
                    name: (bound["pessimistic"], bound["optimistic"])
                    for name, bound in data["bounds"].items()
                },
                ties=data["ties"],
                dropped=data["dropped"],
                breakdown={
                    dimension: {
                        value: Group(group["queries"], _intervals(group["metrics"]))
                        for value, group in groups.items()
                    }
                    for dimension, groups in data["breakdown"].items()
                },
                settings=data["settings"],
                per_query=pl.read_parquet(root / _QUERIES),
            )
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise StorageError(
                f"{root} holds no readable evaluation ({type(error).__name__}: {error}); "
                "run `tgqformer evaluate` again."
            ) from error


def _dicts(metrics: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in metrics.items()}


def _intervals(metrics: dict[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**interval) for name, interval in metrics.items()}


def top_category(category: str) -> str:
    """``"Home > Lighting > Lamp"`` -> ``"Home"``; "(none)" where unknown."""
    return category.split(">")[0].strip() or _NONE


def missing_part(item: Item) -> str:
    """ "nothing", "photo", "title" or "photo and title"."""
    known = {"photo": bool(item.images), "title": bool(item.title.strip())}
    parts = [name for name, there in known.items() if not there]
    return " and ".join(parts) or "nothing"


def describe_queries(items: Sequence[Item], labels: pl.DataFrame | None) -> pl.DataFrame:
    """One row for each item: query_id, category, missing, and of _LABELLED what the labels tell."""
    table = pl.DataFrame(
        {
            "query_id": [item.item_id for item in items],
            "category": [top_category(item.category) for item in items],
            "missing": [missing_part(item) for item in items],
        },
        schema={"query_id": pl.String, "category": pl.String, "missing": pl.String},
    )
    told = [] if labels is None else [name for name in _LABELLED if name in labels.columns]
    if labels is None or not told:
        return table
    words = labels.select(
        pl.col("item_id").alias("query_id"), *(_words(labels[name]) for name in told)
    ).unique("query_id", keep="first")
    joined = table.join(words, on="query_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(told).fill_null(_NONE))


def describe_history(seen: Rows) -> pl.DataFrame:
    """One row for each query that was `seen` [M] so often in training: history, interactions."""
    names = pl.Series(list(_SEEN.values()), dtype=pl.String)
    groups = np.searchsorted(list(_SEEN), seen, side="right") - 1
    warm = pl.Series("history", [_WARM if count else _COLD for count in seen], dtype=pl.String)
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
) -> dict[str, dict[str, Group]]:
    """Dimension -> value -> its queries and figures, values as `in_order`.

    A dimension with a single value says nothing that the whole does not, and is left out.
    """
    found: dict[str, dict[str, Group]] = {}
    for dimension in DIMENSIONS:
        if dimension not in table.columns or table[dimension].n_unique() < 2:
            continue
        parts = {str(v): part for (v,), part in table.partition_by(dimension, as_dict=True).items()}
        found[dimension] = {
            value: Group(
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

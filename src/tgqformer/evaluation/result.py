"""The outcome of one evaluation: figures with intervals, and the table they are means of."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.errors import StorageError
from tgqformer.evaluation.intervals import Interval
from tgqformer.files import atomic_path, write_text

_SUMMARY = "evaluation.json"
_QUERIES = "queries.parquet"


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
        breakdown: dimension (`breakdown.DIMENSIONS`) -> value -> Group.
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

"""How good the current model is, quick enough to be looked at during training.

A fixed sample of queries is asked of a fixed pool, as it is and with every item as a noise view
that training does not draw, and the run is chosen by both. A catalog without any pairs is asked
which item a view shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Vectors
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.errors import ConfigError
from tgqformer.evaluation.evaluate import concat_normalised
from tgqformer.evaluation.intervals import Difference, paired_difference
from tgqformer.evaluation.metrics import Values, per_query, rank_targets
from tgqformer.training.config import TrainingConfig
from tgqformer.training.data import Index
from tgqformer.training.noise import NoiseViews

KS = (1, 10, 50, 100)
FACTORS = (1.0, 0.5, 2.0, 4.0, 8.0)
"""By which the strength of the streams is multiplied at an evaluation: what is right for the pairs
that are trained on is not quite right for others. The first of equals is taken."""
OTHER_SEED = 1_000_003
"""Added to a run's seed: the views of validation are others than those of training."""
HELD_OUT = 0.1
"""Share of the queries that is held out of training where there are no validation pairs."""
MOST_HELD_OUT = 500
LEAST_PAIRS = 40
"""Training pairs below which none is held out."""


def hold_out(catalog: Catalog, seed: int) -> tuple[Catalog, int]:
    """Make validation pairs of some training pairs where there are none.

    The chosen queries are in no training pair any more, on either side.

    Returns:
        The catalog, itself where it has validation pairs or too few pairs, or where none would be
        left to train on; and how many queries were held out.
    """
    query, target, _ = catalog.pair_indices("train")
    if len(catalog.pair_indices("val")[0]) or len(query) < LEAST_PAIRS:
        return catalog, 0
    queries = np.unique(query)
    count = min(MOST_HELD_OUT, max(1, round(HELD_OUT * len(queries))))
    chosen = np.random.default_rng([seed, 7]).permutation(queries)[:count]
    asks, wanted = np.isin(query, chosen), np.isin(target, chosen)
    split = np.where(asks, "val", "train")
    kept = asks | ~wanted
    if not (kept & ~asks).any():
        return catalog, 0
    train = catalog.pair_table.filter(pl.col("split") == "train")
    train = train.with_columns(split=pl.Series(split.tolist(), dtype=pl.String)).filter(kept)
    rest = catalog.pair_table.filter(pl.col("split") != "train")
    return catalog.with_pairs(pl.concat([train, rest])), count


@dataclass(frozen=True)
class Gain:
    """What training added to the frozen base on the validation sample.

    Attributes:
        metric: which figure.
        base, model: its means.
        difference: model less base, paired over queries.
    """

    metric: str
    base: float
    model: float
    difference: Difference

    def to_dict(self) -> dict[str, object]:
        """For summary.json."""
        return {
            "metric": self.metric,
            "base": self.base,
            "model": self.model,
            "difference": self.difference.absolute.to_dict(),
        }


class Validation:
    """A fixed sample: queries, all their targets, and random others up to `eval_pool` items.

    A small pool is easier than the full one, so these figures compare steps of a run and nothing
    else; `tgqformer evaluate` is the judge.

    Attributes:
        by_views: there are no pairs; a query is a view, and its target the item itself.
    """

    def __init__(self, catalog: Catalog, config: TrainingConfig) -> None:
        query, target, _ = catalog.pair_indices("val")
        rng = np.random.default_rng([config.seed, 2])
        self.by_views = bool(
            config.noise.views and not len(query) and not len(catalog.pair_indices("train")[0])
        )
        if self.by_views:
            query = target = np.arange(len(catalog), dtype=np.int64)
        chosen = np.unique(query)
        if len(chosen) > config.eval_queries:
            chosen = np.sort(rng.permutation(chosen)[: config.eval_queries])
        keep = np.isin(query, chosen)
        query, target = query[keep], target[keep]
        named = np.union1d(query, target)
        others = np.setdiff1d(catalog.pool_indices("val"), named)
        rest = rng.permutation(others)[: max(0, config.eval_pool - len(named))]
        self.rows: Index = np.sort(np.concatenate([named, rest])).astype(np.int64)
        self.items = [catalog.items[i] for i in self.rows]
        self.query = np.searchsorted(self.rows, chosen)
        self.pairs = np.searchsorted(chosen, query), np.searchsorted(self.rows, target)
        self.noisy: list[Item] = []
        if config.noise.views and self:
            one = replace(config.noise, views=1)
            self.noisy = NoiseViews(self.items, one, config.seed + OTHER_SEED).views[0]
        self.metric = config.metric
        if self:
            self._check_metric(config.metric)

    def _check_metric(self, metric: str) -> None:
        known = self.figures(np.zeros((len(self.rows), 1), dtype=np.float32))
        if metric not in known:
            raise ConfigError(
                f"training.metric '{metric}' is unknown; choose one of: {', '.join(known)}."
            )

    def __bool__(self) -> bool:
        return len(self.query) > 0

    def per_query(
        self, vectors: npt.NDArray[np.float32], asking: npt.NDArray[np.float32] | None = None
    ) -> dict[str, Values]:
        """Metric name to its value for each query, for [N, D] vectors of `self.items`.

        Args:
            asking: the vectors that queries ask with, where they are others.
        """
        asks = (vectors if asking is None else asking)[self.query]
        exclude = None if self.by_views else self.query
        return per_query(rank_targets(asks, vectors, *self.pairs, exclude=exclude), KS)

    def figures(self, vectors: npt.NDArray[np.float32]) -> dict[str, float]:
        """Metric name to mean over queries."""
        return {name: float(values.mean()) for name, values in self.per_query(vectors).items()}

    def gain(self, embedder: ItemEmbedder, metric: str) -> dict[str, Gain]:
        """What the model adds to its base: "clean" and "noisy"; {} where it has no base."""
        if embedder.model.base is None:
            return {}
        base = {"clean": embedder.encode_base(self.items)}
        model = {"clean": embedder.encode(self.items, errors="ignore")}
        if self.noisy:
            base["noisy"] = embedder.encode_base(self.noisy)
            model["noisy"] = embedder.encode(self.noisy, errors="ignore")
        found = {}
        for name in ("noisy",) if self.by_views else tuple(base):
            values = [self._asked(them, name)[metric] for them in (base, model)]
            found[name] = Gain(
                metric,
                float(values[0].mean()),
                float(values[1].mean()),
                paired_difference(values[0], values[1]),
            )
        return found

    def _asked(self, vectors: dict[str, Vectors], name: str) -> dict[str, Values]:
        if self.by_views:
            return self.per_query(vectors["clean"], vectors["noisy"])
        return self.per_query(vectors[name])

    def run(
        self, embedder: ItemEmbedder, *, connector_only: bool, batch_size: int = 64
    ) -> dict[str, float]:
        """Figures of the model, of its visual view as "visual_*", and under noise as "noisy_*".

        Where there is no embedding yet (an alignment stage without a base) the visual view stands
        for it. Where the streams are added to a base, their strength is tried times each of
        FACTORS: the figures are those of the best, which "factor" tells.
        """

        def encoded(items: list[Item]) -> dict[str, Vectors]:
            return embedder.encode_views(
                items, batch_size=batch_size, connector_only=connector_only, parts=True
            )

        clean = encoded(self.items)
        noisy = encoded(self.noisy) if self.noisy else None
        if self.by_views:
            assert noisy is not None
            asked = self.per_query(_main(clean), _main(noisy))
            return {name: float(values.mean()) for name, values in asked.items()}
        factors = FACTORS if "said" in clean else FACTORS[:1]
        tried = [self._with_factor(clean, noisy, factor) for factor in factors]
        best = max(range(len(tried)), key=lambda i: score(tried[i], self.metric))
        figures = tried[best] | {"factor": factors[best]}
        figures |= {f"visual_{k}": v for k, v in self.figures(clean["visual"]).items()}
        return figures

    def _with_factor(
        self, clean: dict[str, Vectors], noisy: dict[str, Vectors] | None, factor: float
    ) -> dict[str, float]:
        figures = self.figures(_main(clean, factor))
        if noisy is not None:
            found = self.figures(_main(noisy, factor))
            figures |= {f"noisy_{name}": value for name, value in found.items()}
        return figures


def _main(views: dict[str, Vectors], factor: float = 1.0) -> Vectors:
    """The embedding, with what the streams say times `factor`; where there is none, their view."""
    if factor == 1.0 or "said" not in views:
        return views.get("embedding", views["visual"])
    return concat_normalised([views["rest"] + factor * views["said"]])


def score(figures: dict[str, float], metric: str, prefix: str = "") -> float:
    """What the best step is chosen by: the metric, or its mean with the one under noise."""
    clean = figures[prefix + metric]
    return (clean + figures.get(f"{prefix}noisy_{metric}", clean)) / 2

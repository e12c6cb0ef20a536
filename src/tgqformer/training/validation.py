"""H@K on a sample of the validation queries, quick enough to be looked at during training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.errors import ConfigError
from tgqformer.evaluation.metrics import per_query
from tgqformer.evaluation.ranks import rank_targets
from tgqformer.training.config import TrainingConfig

KS = (1, 10, 50)


class Validation:
    """A fixed sample: queries, all their targets, and random others up to `eval_pool` items.

    A small pool is easier than the full one, so these figures compare steps of a run and nothing
    else; `tgqformer evaluate` is the judge.
    """

    def __init__(self, catalog: Catalog, config: TrainingConfig) -> None:
        query, target, _ = catalog.pair_indices("val")
        rng = np.random.default_rng([config.seed, 2])
        chosen = np.unique(query)
        if len(chosen) > config.eval_queries:
            chosen = np.sort(rng.permutation(chosen)[: config.eval_queries])
        keep = np.isin(query, chosen)
        query, target = query[keep], target[keep]
        named = np.union1d(query, target)
        others = np.setdiff1d(catalog.pool_indices("val"), named)
        rest = rng.permutation(others)[: max(0, config.eval_pool - len(named))]
        self.rows = np.sort(np.concatenate([named, rest])).astype(np.int64)
        self.items = [catalog.items[i] for i in self.rows]
        self.query = np.searchsorted(self.rows, chosen)
        self.pairs = np.searchsorted(chosen, query), np.searchsorted(self.rows, target)
        if self:
            self._check_metric(config.metric)

    def _check_metric(self, metric: str) -> None:
        known = self.figures(np.zeros((len(self.rows), 1), dtype=np.float32))
        names = [*known, *(f"visual_{name}" for name in known)]
        if metric not in names:
            raise ConfigError(
                f"training.metric '{metric}' is unknown; choose one of: {', '.join(names)}."
            )

    def __bool__(self) -> bool:
        return len(self.query) > 0

    def figures(self, vectors: npt.NDArray[np.float32]) -> dict[str, float]:
        """Metric name to mean over queries, for [N, D] vectors of `self.items`."""
        ranks = rank_targets(vectors[self.query], vectors, *self.pairs, exclude=self.query)
        return {name: float(values.mean()) for name, values in per_query(ranks, KS).items()}

    def run(
        self, embedder: ItemEmbedder, *, connector_only: bool, batch_size: int = 64
    ) -> dict[str, float]:
        """Figures of the current model, and of its visual streams alone as "visual_*".

        With `connector_only` (alignment stage) the visual streams stand for the model.
        """
        outputs = embedder.encode_views(
            self.items, batch_size=batch_size, connector_only=connector_only
        )
        figures = {f"visual_{k}": v for k, v in self.figures(outputs["visual"]).items()}
        if "embedding" in outputs:
            return self.figures(outputs["embedding"]) | figures
        return {k.removeprefix("visual_"): v for k, v in figures.items()} | figures

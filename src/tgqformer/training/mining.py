"""Hard negatives: near neighbours by the current model that are no known positives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.training.config import TrainingConfig
from tgqformer.training.data import Index, StepDataset
from tgqformer.training.distributed import from_first

NEIGHBOURS = 50
SKIPPED = 5
"""The very nearest are left out: among them are the positives that no log has seen yet."""
FILE = "hard_negatives.npy"


class HardNegatives:
    """Mines every `mine_every` steps, after the alignment stage, and remembers for a resume."""

    def __init__(
        self, embedder: ItemEmbedder, dataset: StepDataset, config: TrainingConfig
    ) -> None:
        self.embedder, self.dataset, self.config = embedder, dataset, config
        self.mined_at = -1

    def before_step(self, step: int) -> None:
        """Mine where it is time to."""
        c = self.config
        start = c.alignment_steps + c.mine_every
        if not c.hard_negatives or step < start or (step - start) % c.mine_every:
            return
        if self.mined_at != step:
            self.dataset.hard, self.mined_at = from_first(lambda: self._mine(step)), step

    def _mine(self, step: int) -> Index:
        data = self.dataset
        rng = np.random.default_rng([self.config.seed, 3, step])
        rows = np.sort(rng.permutation(data.batches.items)[: self.config.mine_pool])
        items = [data.catalog.items[i] for i in rows]
        training = self.embedder.model.training
        vectors = self.embedder.encode_views(items)["embedding"]
        self.embedder.model.train(training)
        index = ExactIndex([item.item_id for item in items], vectors)
        _, near = index.search(
            vectors, min(NEIGHBOURS, len(rows) - 1), exclude=np.arange(len(rows))
        )
        hard = np.full((len(data.catalog), NEIGHBOURS - SKIPPED), -1, dtype=np.int64)
        for i, row in enumerate(rows):
            found = rows[near[i][near[i] >= 0]]
            known = data.known.mask(np.concatenate([[row], found]))[0, 1:]
            kept = found[~known][SKIPPED:]
            hard[row, : len(kept)] = kept
        return hard

    def save(self, folder: Path) -> None:
        """Keep the table beside a checkpoint."""
        if self.dataset.hard is not None:
            np.save(folder / FILE, self.dataset.hard, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Take the table of a checkpoint."""
        if (folder / FILE).is_file():
            self.dataset.hard = np.load(folder / FILE, allow_pickle=False)

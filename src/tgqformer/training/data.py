"""The batch of a step: a pure function of (catalog, configuration, step, process)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import ConfigError
from tgqformer.training.batches import Index, KnownPositives, PairBatches
from tgqformer.training.config import TrainingConfig
from tgqformer.training.losses import BatchFacts


@dataclass
class StepBatch:
    """One step's input for one process.

    Attributes:
        chunks: this process's items, cut into forward passes.
        facts: what is known of all items of the step.
        order: [M] int64; row i of the whole batch is row order[i] of the joined processes.
    """

    chunks: list[ItemBatch]
    facts: BatchFacts
    order: Tensor


class StepDataset(Dataset[StepBatch]):
    """`dataset[step]` is the batch of that step: queries, targets, hard negatives."""

    def __init__(
        self,
        embedder: ItemEmbedder,
        catalog: Catalog,
        config: TrainingConfig,
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """Plan the batches of this process.

        Raises:
            ConfigError: the batch cannot be shared evenly among the processes.
            CatalogError: the training pairs cannot fill a batch.
        """
        if config.batch_size % processes:
            raise ConfigError(
                f"training.batch_size ({config.batch_size}) must be a multiple of the number of "
                f"processes ({processes})."
            )
        query, target, _ = catalog.pair_indices("train")
        self.embedder, self.catalog, self.config = embedder, catalog, config
        self.rank, self.processes = rank, processes
        self.batches = PairBatches(query, target, config.batch_size, config.seed)
        self.known = KnownPositives(query, target, len(catalog))
        self.texts = [embedder.text(item) for item in catalog.items]
        self.hard: Index | None = None
        """[N, K] rows of hard negatives of each item, -1 for none; None before mining."""

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> StepBatch:
        if not 0 <= step < len(self):
            raise IndexError(step)
        rng = np.random.default_rng([self.config.seed, 1, step])
        query, target = self.batches.batch(step)
        parts = [query, target, self._negatives(query, target, rng)]
        rows = np.concatenate(parts)
        mine, order = share([len(part) for part in parts], self.rank, self.processes)
        told = self._told(rows, rng)
        read = [
            self.embedder.connector_text(self.catalog.items[row], self.texts[i])
            for row, i in zip(rows, told, strict=True)
        ]
        facts = BatchFacts(
            pairs=len(query),
            known=torch.from_numpy(self.known.mask(rows)),
            same_text=_equal(read),
            own_text=torch.from_numpy(told == rows),
        )
        return StepBatch(self._chunks(rows, told, mine, rng), facts, torch.from_numpy(order))

    def _told(self, rows: Index, rng: np.random.Generator) -> Index:
        """[M] rows of the items whose metadata each item of the batch is given: mostly its own."""
        share = self.config.dropout.swap
        if not share:
            return rows
        swapped = rng.random(len(rows)) < share
        return np.where(swapped, rng.choice(self.batches.items, size=len(rows)), rows)

    def _chunks(
        self, rows: Index, told: Index, mine: Index, rng: np.random.Generator
    ) -> list[ItemBatch]:
        """Draw what is hidden for the whole batch, so that it is the same for any process count."""
        hide = self.config.dropout
        draw = rng.random((3, len(rows)))
        no_text, no_prompt, no_image = (
            draw[0] < hide.metadata,
            draw[1] < hide.prompt,
            draw[2] < hide.image,
        )
        size = self.config.chunk_size or len(mine)
        chunks = []
        for start in range(0, len(mine), size):
            part = mine[start : start + size]
            items = [self.catalog.items[rows[i]] for i in part]
            items = [
                replace(item, images=()) if no_image[i] else item
                for i, item in zip(part, items, strict=True)
            ]
            texts = ["" if no_text[i] else self.texts[told[i]] for i in part]
            prompts = ["" if no_prompt[i] else t for i, t in zip(part, texts, strict=True)]
            chunks.append(self.embedder.batch(items, texts=texts, prompt_texts=prompts))
        return chunks

    def _negatives(self, query: Index, target: Index, rng: np.random.Generator) -> Index:
        """Hard negatives of the queries, none of them in the batch already, none twice."""
        count = self.config.hard_negatives * len(query)
        if self.hard is None or not count:
            return np.empty(0, dtype=np.int64)
        candidates = self.hard[query].ravel()
        candidates = np.unique(candidates[candidates >= 0])
        candidates = np.setdiff1d(candidates, np.concatenate([query, target]))
        usable = min(count, len(candidates)) // self.processes * self.processes
        chosen: Index = rng.permutation(candidates)[:usable]
        return chosen


def share(sizes: Sequence[int], rank: int, processes: int) -> tuple[Index, Index]:
    """Cut each part of a batch evenly among the processes.

    Args:
        sizes: lengths of the parts (queries, targets, negatives), each divisible by `processes`.

    Returns:
        The rows of the whole batch that `rank` takes, and for each row of the whole batch its
        place among the joined processes' rows.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    shares = [
        np.concatenate(
            [
                np.arange(start + r * (size // processes), start + (r + 1) * (size // processes))
                for start, size in zip(starts, sizes, strict=True)
            ]
        )
        for r in range(processes)
    ]
    return shares[rank].astype(np.int64), np.argsort(np.concatenate(shares)).astype(np.int64)


def _equal(texts: Sequence[str]) -> Tensor:
    """[M, M] bool: which texts are equal."""
    _, codes = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
    return torch.from_numpy(codes[:, None] == codes[None, :])

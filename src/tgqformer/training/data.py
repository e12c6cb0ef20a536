"""The batch of a step: a pure function of (catalog, configuration, step, process)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.training.config import TrainingConfig
from tgqformer.training.losses import BatchFacts
from tgqformer.training.noise import NoiseViews

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PATIENCE = 20
"""Random orders of all pairs that are tried in a row before they are said to make no batch."""


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
    """`dataset[step]` is the batch of that step: queries, targets, hard negatives.

    Some of its pairs are the shop's, the others an item and a noise view of itself (`noise.py`); an
    item of the shop's pairs may appear as a view too.
    """

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
            CatalogError: the training pairs and the views cannot fill a batch.
        """
        if config.batch_size % processes:
            raise ConfigError(
                f"training.batch_size ({config.batch_size}) must be a multiple of the number of "
                f"processes ({processes})."
            )
        query, target, _ = catalog.pair_indices("train")
        self.embedder, self.catalog, self.config = embedder, catalog, config
        self.rank, self.processes = rank, processes
        self.views = NoiseViews(catalog.items, config.noise, config.seed)
        self.own_pairs = own_pairs(config, len(query))
        self.batches = PairBatches(
            query, target, config.batch_size, config.seed, own=self.own_pairs, items=len(catalog)
        )
        self.known = KnownPositives(query, target, len(catalog), catalog.groups)
        forms = [catalog.items, *self.views.views]
        self.texts = [[embedder.text(item) for item in items] for items in forms]
        """texts[form][row]: form 0 is the item itself, the others are its views."""
        self.log_odds = self._log_odds(query, target)
        teacher = config.noise.teacher
        self.base_teaches = teacher == "base" or (teacher == "auto" and not len(query))
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
        forms = self._forms(query, target, len(rows), rng)
        told = self._told(rows, rng)
        texts = [
            self.texts[form][row] if row == other else self.texts[0][other]
            for form, row, other in zip(forms, rows, told, strict=True)
        ]
        read = [
            self.embedder.connector_text(self.catalog.items[row], text)
            for row, text in zip(rows, texts, strict=True)
        ]
        own = [text == self.texts[0][row] for row, text in zip(rows, texts, strict=True)]
        facts = BatchFacts(
            pairs=len(query),
            known=torch.from_numpy(self.known.mask(rows)),
            same_text=_equal(read),
            own_text=torch.tensor(own, dtype=torch.bool),
            log_odds=None if self.log_odds is None else self.log_odds[rows],
            own=torch.from_numpy(query == target) if self.base_teaches else None,
        )
        chunks = self._chunks(rows, forms, texts, mine, rng)
        return StepBatch(chunks, facts, torch.from_numpy(order))

    def _forms(self, query: Index, target: Index, size: int, rng: np.random.Generator) -> Index:
        """[M] which form of each item is seen: 0 itself, n its n-th view."""
        views = self.config.noise.views
        forms = np.zeros(size, dtype=np.int64)
        if not views:
            return forms
        pairs = len(query)
        drawn = rng.integers(1, views + 1, size=size)
        of_shop = np.ones(size, dtype=bool)
        of_shop[: 2 * pairs] = np.tile(query != target, 2)
        appears = of_shop & (rng.random(size) < self.config.noise.appear)
        forms[appears] = drawn[appears]
        of_view = np.flatnonzero(query == target) + pairs  # the target's side is the view
        forms[of_view] = drawn[of_view]
        return forms

    def _log_odds(self, query: Index, target: Index) -> Tensor | None:
        """[N] log of how often an item is drawn, against one that only views draw."""
        if not self.config.popularity:
            return None
        batch, items = self.config.batch_size, len(self.catalog)
        shop = batch - self.own_pairs
        counts = np.bincount(np.concatenate([query, target]), minlength=items)
        often = shop * counts / max(len(query), 1) + 2 * self.own_pairs / items
        often = np.maximum(often, often[often > 0].min())
        return torch.from_numpy(self.config.popularity * np.log(often / often.mean())).float()

    def _told(self, rows: Index, rng: np.random.Generator) -> Index:
        """[M] rows of the items whose metadata each item of the batch is given: mostly its own."""
        share = self.config.dropout.swap
        if not share:
            return rows
        swapped = rng.random(len(rows)) < share
        return np.where(swapped, rng.choice(self.batches.items, size=len(rows)), rows)

    def _chunks(
        self,
        rows: Index,
        forms: Index,
        texts: Sequence[str],
        mine: Index,
        rng: np.random.Generator,
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
            items = [self._item(rows[i], forms[i]) for i in part]
            items = [
                replace(item, images=()) if no_image[i] else item
                for i, item in zip(part, items, strict=True)
            ]
            shown = ["" if no_text[i] else texts[i] for i in part]
            prompts = ["" if no_prompt[i] else t for i, t in zip(part, shown, strict=True)]
            chunks.append(self.embedder.batch(items, texts=shown, prompt_texts=prompts))
        return chunks

    def _item(self, row: int, form: int) -> Item:
        return self.views.views[form - 1][row] if form else self.catalog.items[row]

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


def own_pairs(config: TrainingConfig, shop_pairs: int) -> int:
    """Pairs of a batch that are an item and a view of itself; all of them without a shop's pair."""
    if not config.noise.views:
        return 0
    return round(config.noise.share * config.batch_size) if shop_pairs else config.batch_size


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


class PairBatches:
    """Batches of pairs as a function of (seed, step): nothing to save, nothing to restore.

    Each epoch is a random order of all pairs. A pair that shares an item with the batch under way
    waits for a later batch; the pairs left over at the end of an epoch open the next. A pair that
    was left over twice (its item is in every other pair, say) is not queued a third time.

    Of each batch `own` pairs are of an item with itself (its noise view is to be the other side):
    the next items of a random order of all that are not in the batch yet.
    """

    def __init__(
        self,
        query: Index,
        target: Index,
        batch_size: int,
        seed: int,
        *,
        own: int = 0,
        items: int = 0,
    ) -> None:
        """Take M pairs of item rows.

        Args:
            own: pairs of a batch that are of an item with itself.
            items: N, the rows that those are drawn from.

        Raises:
            CatalogError: where no batch of `batch_size` disjoint pairs can be made.
        """
        self.query, self.target = query, target
        self.full_size, self.batch_size, self.seed = batch_size, batch_size - own, seed
        self.own, self.own_items = own, items
        self._turn, self._order = -1, np.empty(0, dtype=np.int64)
        if items < batch_size + self.batch_size and own:
            raise CatalogError(
                f"A batch of {batch_size} pairs needs {batch_size + self.batch_size} different "
                f"items, and the catalog has {items}; lower training.batch_size."
            )
        batch_size = self.batch_size
        self._plan: list[Index] = []
        self._epoch = self._idle = 0
        self._waiting: deque[int] = deque()
        self.items: Index = np.unique(np.concatenate([query, target]))
        """The item rows that are trained on, ascending."""
        if own:
            self.items = np.arange(items)
        named = np.unique(np.concatenate([query, target]))
        if batch_size and len(named) < 2 * batch_size:
            raise CatalogError(
                f"A batch of {batch_size} pairs needs {2 * batch_size} different items, and the "
                f"training pairs name only {len(named)}; lower training.batch_size."
            )

    def batch(self, step: int) -> tuple[Index, Index]:
        """Item rows (query [B], target [B]) of the batch at `step`, counted from 0.

        The shop's pairs come first, then those of an item with itself.
        """
        while self.batch_size and len(self._plan) <= step:
            self._plan_epoch()
        rows = self._plan[step] if self.batch_size else np.empty(0, dtype=np.int64)
        query, target = self.query[rows], self.target[rows]
        own = self._own(step, np.concatenate([query, target]))
        return np.concatenate([query, own]), np.concatenate([target, own])

    def _own(self, step: int, taken: Index) -> Index:
        """`own` items of a random order, those of the batch left out."""
        if not self.own:
            return np.empty(0, dtype=np.int64)
        wide = self.full_size + self.batch_size  # enough for any overlap with the shop's pairs
        turns = self.own_items // wide
        turn, place = divmod(step, max(turns, 1))
        if self._turn != turn:  # one order serves many steps, and may hold millions of items
            rng = np.random.default_rng([self.seed, 6, turn])
            self._turn, self._order = turn, rng.permutation(self.own_items)
        some: Index = self._order[place * wide : (place + 1) * wide]
        return some[~np.isin(some, taken)][: self.own]

    def _plan_epoch(self) -> None:
        order = np.random.default_rng([self.seed, self._epoch]).permutation(len(self.query))
        self._epoch += 1
        left_over = Counter(self._waiting)
        rest = (row for row in order.tolist() if left_over[row] < 2)
        pending = deque(order.tolist() if self._idle else [*self._waiting, *rest])
        made = len(self._plan)
        while len(pending) >= self.batch_size:
            rows = self._take(pending)
            if rows is None:
                break
            self._plan.append(np.array(rows, dtype=np.int64))
        self._waiting = pending
        self._idle = 0 if len(self._plan) > made else self._idle + 1
        if self._idle == PATIENCE:
            raise CatalogError(
                f"No batch of {self.batch_size} pairs without a shared item can be made from "
                f"{len(self.query)} training pairs; lower training.batch_size."
            )

    def _take(self, pending: deque[int]) -> list[int] | None:
        """Pull one batch off `pending`; None, with `pending` whole again, where it cannot fill."""
        rows: list[int] = []
        used: set[int] = set()
        passed: list[int] = []
        while pending and len(rows) < self.batch_size:
            row = pending.popleft()
            pair = {int(self.query[row]), int(self.target[row])}
            if pair & used or len(pair) < 2:
                passed.append(row)
            else:
                rows.append(row)
                used |= pair
        if len(rows) < self.batch_size:
            pending.extend([*rows, *passed])
            return None
        pending.extendleft(reversed(passed))
        return rows


class KnownPositives:
    """Which items are known to belong together, in either direction: no negatives of one another.

    Args:
        query, target: [M] item rows of the training pairs.
        items: N.
        groups: [N] equal for variants of one product, -1 for an item without (`Catalog.groups`).
    """

    def __init__(
        self, query: Index, target: Index, items: int, groups: Index | None = None
    ) -> None:
        self.items = items
        self.groups = groups if groups is not None and (groups >= 0).any() else None
        codes = np.concatenate([query * items + target, target * items + query])
        self.codes = np.unique(codes)

    def mask(self, rows: Index) -> Mask:
        """[M] item rows -> [M, M] bool: the same item, a known pair, or variants of one product."""
        grid = rows[:, None] * self.items + rows[None, :]
        place = np.searchsorted(self.codes, grid.ravel()).clip(max=max(len(self.codes) - 1, 0))
        found = (
            self.codes[place].reshape(grid.shape) == grid
            if len(self.codes)
            else np.zeros_like(grid, dtype=bool)
        )
        known: Mask = found | (rows[:, None] == rows[None, :])
        if self.groups is not None:
            codes = self.groups[rows]
            known |= (codes[:, None] == codes[None, :]) & (codes >= 0)[:, None]
        return known

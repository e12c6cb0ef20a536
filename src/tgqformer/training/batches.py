"""Which pairs make a batch: no item twice, known positives never negatives, all from one seed."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import numpy.typing as npt

from tgqformer.errors import CatalogError

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PATIENCE = 20
"""Random orders of all pairs that are tried in a row before they are said to make no batch."""


class PairBatches:
    """Batches of pairs as a function of (seed, step): nothing to save, nothing to restore.

    Each epoch is a random order of all pairs. A pair that shares an item with the batch under way
    waits for a later batch; the pairs left over at the end of an epoch open the next. A pair that
    was left over twice (its item is in every other pair, say) is not queued a third time.
    """

    def __init__(self, query: Index, target: Index, batch_size: int, seed: int) -> None:
        """Take M pairs of item rows.

        Raises:
            CatalogError: where no batch of `batch_size` disjoint pairs can be made.
        """
        self.query, self.target = query, target
        self.batch_size, self.seed = batch_size, seed
        self._plan: list[Index] = []
        self._epoch = self._idle = 0
        self._waiting: deque[int] = deque()
        self.items: Index = np.unique(np.concatenate([query, target]))
        """The item rows that the pairs name, ascending."""
        if len(self.items) < 2 * batch_size:
            raise CatalogError(
                f"A batch of {batch_size} pairs needs {2 * batch_size} different items, and the "
                f"training pairs name only {len(self.items)}; lower training.batch_size."
            )

    def batch(self, step: int) -> tuple[Index, Index]:
        """Item rows (query [B], target [B]) of the batch at `step`, counted from 0."""
        while len(self._plan) <= step:
            self._plan_epoch()
        rows = self._plan[step]
        return self.query[rows], self.target[rows]

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
    """Which items are known to belong together, in either direction."""

    def __init__(self, query: Index, target: Index, items: int) -> None:
        self.items = items
        codes = np.concatenate([query * items + target, target * items + query])
        self.codes = np.unique(codes)

    def mask(self, rows: Index) -> Mask:
        """[M] item rows -> [M, M] bool: the same item, or a known pair."""
        grid = rows[:, None] * self.items + rows[None, :]
        place = np.searchsorted(self.codes, grid.ravel()).clip(max=max(len(self.codes) - 1, 0))
        found = (
            self.codes[place].reshape(grid.shape) == grid
            if len(self.codes)
            else np.zeros_like(grid, dtype=bool)
        )
        known: Mask = found | (rows[:, None] == rows[None, :])
        return known

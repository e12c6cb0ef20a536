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

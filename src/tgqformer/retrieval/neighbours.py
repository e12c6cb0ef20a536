"""The k nearest rows of every row: exact, in blocks of bounded memory.

Candidates come from a sweep that multiplies each pair of rows once (`sweep.py`) and are scored
again by the definition in `scores.py`. Where float32 error could have hidden a better row, or a
rule leaves out more than may stand among the candidates, the row is searched as `ExactIndex` would.
So the answer is that of `ExactIndex`, ties in row order included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.exact import diversify, exact_top
from tgqformer.retrieval.scores import (
    Rows,
    Vectors,
    as_vectors,
    blocks,
    lengths,
    pair_products,
    rounding,
)
from tgqformer.retrieval.sweep import Sweep

_LARGEST = 128  # members of a group that a list has room for, to be left out in the end
_SPARE = 6  # candidates beyond those wanted, so that float32 error seldom decides
_LONGEST = 1e18
_DIVERSITY_POOL = 3  # candidates for each neighbour that is chosen for diversity


@dataclass(frozen=True)
class Rules:
    """Which rows may be neighbours of which, beside that no row is its own.

    Codes are int [N], one for each row; a negative code stands for "unknown" and compares equal to
    nothing.

    Attributes:
        apart: rows of equal code are never neighbours (items that show the same photo).
        other: the same for a second property (items of one brand).
        within: only rows of equal code are neighbours (items of one category); a row of unknown
            code has none.
    """

    apart: Rows | None = None
    other: Rows | None = None
    within: Rows | None = None

    def allow(self, row: int, candidates: Rows) -> npt.NDArray[np.bool_]:
        """Which of some rows [n] may be neighbours of `row`: [n]."""
        allowed: npt.NDArray[np.bool_] = candidates != row
        for codes in (self.apart, self.other):
            if codes is not None and codes[row] >= 0:
                allowed &= codes[candidates] != codes[row]
        if self.within is not None:
            allowed &= (self.within[candidates] == self.within[row]) & (self.within[row] >= 0)
        return allowed


def text_codes(texts: Sequence[str]) -> tuple[list[str], Rows]:
    """The different texts in their order, and [N] the place of each among them; -1 for ""."""
    names = sorted(set(texts) - {""})
    places = {name: place for place, name in enumerate(names)}
    codes = (places.get(text, -1) for text in texts)
    return names, np.fromiter(codes, dtype=np.int64, count=len(texts))


class NeighbourSearch:
    """Finds the neighbours of stored rows, block by block.

    Args:
        vectors: [N, D], kept by reference.
        k: neighbours of each row.
        rules: what is left out.
        relevance: the weight of relevance in maximal marginal relevance (`diversity.py`), in
            (0, 1]; 1 is the plain order.
        block: rows in one block, the unit of work.

    Raises:
        ConfigError: an option is out of its range.
        StorageError: the codes of a rule are not one for each vector.
    """

    def __init__(
        self,
        vectors: npt.ArrayLike,
        k: int,
        *,
        rules: Rules | None = None,
        relevance: float = 1.0,
        block: int = 4096,
    ) -> None:
        self.vectors: Vectors = as_vectors(vectors)
        self.k, self.block, self.relevance = k, block, relevance
        self.rules = rules or Rules()
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        if block < 1:
            raise ConfigError(f"block is {block}, but must be at least 1.")
        if not 0 < relevance <= 1:
            raise ConfigError(f"relevance is {relevance}, but must lie above 0 and at most at 1.")
        for codes in (self.rules.apart, self.rules.other, self.rules.within):
            if codes is not None and len(codes) != len(self.vectors):
                raise StorageError(
                    f"{len(codes)} codes came with {len(self.vectors)} vectors, but each row needs "
                    "one; read both from the same catalog."
                )
        self.width = k if relevance == 1 else _DIVERSITY_POOL * k
        self._apart, self._largest = _groups(self.rules.apart)
        self._longest = float(np.max(lengths(self.vectors), initial=0.0))
        if self._longest > _LONGEST:
            raise StorageError(
                f"a vector is {self._longest:.0e} long, and products of such are beyond float32; "
                "scale the vectors down."
            )

    def blocks(self) -> list[Rows]:
        """The rows of each block: every row once, those of one `within` code together."""
        return [rows for part in self._parts() for rows in _cut(part, self.block)]

    def search(self, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, Vectors, Rows]]:
        """The neighbours of some blocks, best first (with diversity: in the order of choice).

        Args:
            numbers: places in `blocks()`; None for all. Those asked for together cost less than
                one by one: a pair of rows of theirs is scored once.

        Yields:
            The number of a block, ascending; scores float32 [n, k] and rows int64 [n, k]; where a
            row has fewer neighbours, its last entries are -inf and -1.
        """
        asked = None if numbers is None else set(numbers)
        first = 0
        for part in self._parts():
            cuts = list(_cut(part, self.block))
            todo = [n for n in range(len(cuts)) if asked is None or first + n in asked]
            for n, some, places in self._search(cuts, todo):
                scores = np.full((len(cuts[n]), self.k), -np.inf, dtype=np.float32)
                found = np.full((len(cuts[n]), self.k), -1, dtype=np.int64)
                scores[:, : places.shape[1]], found[:, : places.shape[1]] = some, places
                yield first + n, scores, found
            first += len(cuts)

    def _search(
        self, cuts: Sequence[Rows], todo: Sequence[int]
    ) -> Iterator[tuple[int, Vectors, Rows]]:
        """The same for blocks of one part, as wide as its pool allows."""
        members = self._members(cuts[0]) if todo else None
        pool = self.vectors if members is None else self.vectors[members]
        for n, some, places in self._nearest(cuts, todo, pool, members):
            if self.relevance < 1:
                some, places = diversify(some, places, pool, self.k, self.relevance)
            if members is not None:
                places = np.where(places >= 0, members[places], -1)
            yield n, some, places

    def _parts(self) -> Iterator[Rows]:
        within = self.rules.within
        if within is None:
            yield np.arange(len(self.vectors), dtype=np.int64)
            return
        order = np.argsort(within, kind="stable").astype(np.int64)
        yield from np.split(order, np.flatnonzero(np.diff(within[order])) + 1)

    def _members(self, rows: Rows) -> Rows | None:
        """The pool of a block, None for all rows."""
        within = self.rules.within
        if within is None:
            return None
        code = within[rows[0]]
        if code < 0:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(within == code).astype(np.int64)

    def _nearest(
        self, cuts: Sequence[Rows], todo: Sequence[int], pool: Vectors, members: Rows | None
    ) -> Iterator[tuple[int, Vectors, Rows]]:
        """Scores and places in the pool [n, min(width, pool)] of each block, best first."""
        width = min(self.width, len(pool))
        wanted = width + _SPARE
        if self.rules.other is None and self._largest <= _LARGEST < len(pool) - wanted:
            sweep = Sweep(pool, wanted + self._largest)
            stretches = [(n * self.block, n * self.block + len(cuts[n])) for n in todo]
            for n, (rough, places, reach) in zip(todo, sweep.run(stretches)):
                self._leave_out(rough, places, cuts[n], members)
                yield n, *self._settled(cuts[n], pool, members, rough, places, reach, width)
            return
        for n in todo:
            yield n, *self._of_whole_rows(cuts[n], pool, members, width)

    def _of_whole_rows(
        self, rows: Rows, pool: Vectors, members: Rows | None, width: int
    ) -> tuple[Vectors, Rows]:
        def forbid(scores: Vectors, start: int) -> None:
            self._forbid(scores, rows[start : start + len(scores)], members)

        return exact_top(self.vectors[rows], pool, width, self._longest, forbid)

    def _settled(
        self,
        rows: Rows,
        pool: Vectors,
        members: Rows | None,
        rough: Vectors,
        places: Rows,
        reach: Vectors,
        width: int,
    ) -> tuple[Vectors, Rows]:
        """Candidates [n, C] scored again, best first; where `reach` leaves a doubt, whole rows."""
        queries = self.vectors[rows]
        of = np.repeat(np.arange(len(rows)), places.shape[1])
        exact = pair_products(queries, of, places.reshape(-1), lambda near: pool[near])
        scores = np.where(np.isneginf(rough), rough, exact.reshape(rough.shape))
        ranked = np.lexsort((places, -scores), axis=1)[:, :width]
        best, order = np.take_along_axis(scores, ranked, 1), np.take_along_axis(places, ranked, 1)
        order[np.isneginf(best)] = -1
        # A row that was passed over scores at most `reach`, give or take what float32 loses.
        sure = (best[:, -1] > reach + rounding(queries, self._longest)) | np.isneginf(reach)
        open_ = np.flatnonzero(~sure)
        best[open_], order[open_] = self._of_whole_rows(rows[open_], pool, members, width)
        return best, order

    def _leave_out(self, scores: Vectors, places: Rows, rows: Rows, members: Rows | None) -> None:
        """Set to -inf, among candidates [n, C], the rows themselves and those kept apart."""
        shown = places if members is None else members[places]
        scores[shown == rows[:, None]] = -np.inf
        if self._apart is not None:
            own = self._apart[rows][:, None]
            scores[(self._apart[shown] == own) & (own >= 0)] = -np.inf

    def _forbid(self, scores: Vectors, rows: Rows, members: Rows | None) -> None:
        """Set to -inf what a rule leaves out, in scores [n, N] against the pool."""
        own = rows if members is None else np.searchsorted(members, rows)
        here = np.flatnonzero(own < scores.shape[1])
        scores[here, own[here]] = -np.inf
        for codes in (self._apart, self.rules.other):
            if codes is None:
                continue
            pool = codes if members is None else codes[members]
            for row in np.flatnonzero(codes[rows] >= 0):
                scores[row, pool == codes[rows[row]]] = -np.inf


def _groups(codes: Rows | None) -> tuple[Rows | None, int]:
    """Codes with -1 for those that stand alone, and the size of the largest group, 1 at least."""
    if codes is None or not len(codes):
        return None, 1
    _, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    sizes = np.where(codes < 0, 1, counts[places])
    return np.where(sizes > 1, codes, -1).astype(np.int64), int(sizes.max())


def _cut(rows: Rows, size: int) -> Iterator[Rows]:
    for start, stop in blocks(len(rows), size):
        yield rows[start:stop]

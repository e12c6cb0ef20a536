"""Candidates for the nearest rows of every row, each pair of rows multiplied once.

A score belongs to two rows, so half of the matrix of scores is enough: a tile of it is looked
through along its rows for the lists of the one side and along its columns for those of the other.
What is worth keeping is told by a bound for each row, at first a likely one from a sample of the
rows, later the lowest of what its list holds (`Candidates`). The lists of all rows that are
still open lie in memory; where they would be too many, rows are swept window by window, and only
pairs within a window are spared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Event, Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from tgqformer.cores import product_threads
from tgqformer.retrieval.scores import Rows, Vectors, blocks

Stretch = tuple[int, int]

_LIST_BYTES = 1 << 31  # of the lists of a window: at k = 100, of 1.6 million rows
_TILE = 4096  # columns of a tile: 64 MB of scores for a block of 4,096 rows, shared by threads
_AT_ONCE = 512  # rows scored against the sample
_SAMPLED = 11  # times the root of the rows: then sampling costs about what it spares


class Sweep:
    """Finds the candidates of some stretches of rows among all of them.

    Args:
        vectors: [N, D].
        wanted: candidates of each row, its own self among them.
    """

    def __init__(self, vectors: Vectors, wanted: int) -> None:
        self.vectors, self.wanted = vectors, wanted
        self._threads = product_threads()
        self._memory = [_Memory() for _ in range(self._threads)]
        self._lock = Lock()  # of the lists that several threads may add to
        self._stopped = Event()

    def run(self, stretches: Sequence[Stretch]) -> Iterator[tuple[Vectors, Rows, Vectors]]:
        """For each (start, stop), in their order and apart from each other: its candidates.

        Yields:
            float32 scores [n, wanted], rows [n, wanted], and [n] what a row's score that is not
            among them is at most. A list may be short, by a likely bound that was too high: then
            its scores end in -inf, its rows in -1.
        """
        with ThreadPoolExecutor(self._threads) as threads:
            for window in self._windows(stretches):
                yield from self._window(window, threads)

    def _windows(self, stretches: Sequence[Stretch]) -> Iterator[Sequence[Stretch]]:
        most = _LIST_BYTES // bytes_of_a_list(self.wanted)
        window: list[Stretch] = []
        for start, stop in sorted(stretches):
            if window and sum(b - a for a, b in window) + stop - start > most:
                yield window
                window = []
            window.append((start, stop))
        if window:
            yield window

    def _window(
        self, window: Sequence[Stretch], threads: ThreadPoolExecutor
    ) -> Iterator[tuple[Vectors, Rows, Vectors]]:
        offsets = np.cumsum([0, *(stop - start for start, stop in window)]).tolist()
        lists = Candidates(offsets[-1], self.wanted)
        self._sample(window, offsets, lists)
        outside = list(pairwise([0, *(row for stretch in window for row in stretch)]))[::2]
        outside.append((window[-1][1], len(self.vectors)))
        for number, (rows, offset) in enumerate(zip(window, offsets)):
            columns = [(stretch, None) for stretch in (*outside, rows)]
            columns += [(window[n], offsets[n]) for n in range(number + 1, len(window))]
            shares = list(blocks(rows[1] - rows[0], -(-(rows[1] - rows[0]) // self._threads)))
            # a product in each thread, not one in all: threads of BLAS wait by spinning
            with _blas().limit(limits=1):
                works = [
                    threads.submit(self._strip, memory, lists, rows[0], offset, share, columns)
                    for memory, share in zip(self._memory, shares)
                ]
                try:
                    for work in works:
                        work.result()
                except BaseException:  # an interrupt, too
                    self._stopped.set()
                    raise
            yield lists.take(offset, offsets[number + 1])

    def _sample(self, window: Sequence[Stretch], offsets: Sequence[int], lists: Candidates) -> None:
        count = len(self.vectors)
        size = min(count, int(_SAMPLED * count**0.5))
        drawn = np.sort(np.random.default_rng(0).choice(count, size, replace=False))
        sample = self.vectors[drawn]
        for (start, stop), offset in zip(window, offsets):
            for first, last in blocks(stop - start, _AT_ONCE):
                scores = self.vectors[start + first : start + last] @ sample.T
                bounds = likely_bounds(scores, self.wanted, count)
                lists.bounds[offset + first : offset + last] = bounds

    def _strip(
        self,
        memory: _Memory,
        lists: Candidates,
        row: int,
        offset: int,
        share: Stretch,
        columns: Sequence[tuple[Stretch, int | None]],
    ) -> None:
        """Score a share of a block of rows with stretches of columns, and look through the scores.

        `row` and `offset` are where the block and its lists begin; with each stretch comes where
        the lists of its rows do, None if the scores are not for them.
        """
        rows = slice(row + share[0], row + share[1])
        queries, mine = self.vectors[rows], slice(offset + share[0], offset + share[1])
        for (begin, end), across in columns:
            for first, last in blocks(end - begin, _TILE):
                if self._stopped.is_set():
                    return
                start, stop = begin + first, begin + last
                tile, marks = memory.of(len(queries), last - first)
                self._multiply(queries, self.vectors[start:stop], tile)
                hits = np.flatnonzero(np.greater(tile, lists.bounds[mine, None], out=marks))
                ours, theirs = np.divmod(hits, last - first)
                lists.add(ours + mine.start, theirs + start, tile.reshape(-1)[hits])
                if across is None:
                    continue
                others = slice(across + first, across + last)
                hits = np.flatnonzero(np.greater(tile, lists.bounds[others], out=marks))
                ours, theirs = np.divmod(hits, last - first)
                order = np.argsort(theirs.astype(np.uint16), kind="stable")
                ours, theirs, hits = ours[order], theirs[order], hits[order]
                with self._lock:
                    lists.add(theirs + others.start, ours + rows.start, tile.reshape(-1)[hits])

    def _multiply(self, queries: Vectors, pool: Vectors, tile: Vectors) -> None:
        np.matmul(queries, pool.T, out=tile)


@cache
def _blas() -> Any:
    """The libraries of matrix products in this process; to look for them takes a while."""
    return ThreadpoolController().select(user_api="blas")


class _Memory:
    """The scores of a tile and the marks on them: fresh pages for each would cost a fifth."""

    def __init__(self) -> None:
        self._scores = np.empty(0, dtype=np.float32)
        self._marks = np.empty(0, dtype=np.bool_)

    def of(self, rows: int, columns: int) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        size = rows * columns
        if self._scores.size < size:
            self._scores = np.empty(size, dtype=np.float32)
            self._marks = np.empty(size, dtype=np.bool_)
        shape = rows, columns
        return self._scores[:size].reshape(shape), self._marks[:size].reshape(shape)


# -- candidates ------------------------------------------------------------------------------------
# Lists of the best seen so far, one for each of many rows, that are fed in any order.
#
# Each row has a bound, and only scores above it are taken. A list that is full keeps its best and
# raises the bound to the lowest of them. So a list holds, at any time, every score above its bound
# that was ever offered: nothing is compared twice, and memory is that of the lists.


class Candidates:
    """The best `wanted` of each of `count` rows, at least.

    Args:
        count: rows.
        wanted: scores that a full list keeps; it has room for half as many again.

    Attributes:
        bounds: float32 [count]; a score that is not above its row's bound is of no interest.
            A caller may raise them before the first `add`, and owes the check then: `take` may
            give fewer than are wanted.
    """

    def __init__(self, count: int, wanted: int) -> None:
        self.wanted, self.room = wanted, room(wanted)
        self.bounds: Vectors = np.full(count, -np.inf, dtype=np.float32)
        self._scores: Vectors = np.full((count, self.room), -np.inf, dtype=np.float32)
        self._places = np.full((count, self.room), -1, dtype=np.int32)
        self._filled = np.zeros(count, dtype=np.int32)

    def add(self, rows: Rows, places: Rows, scores: Vectors) -> None:
        """Put each score, of the thing at `places`, into the list of its row; [n] all three.

        Those that share a row stand together. Threads may add at once if their rows differ.
        """
        while len(rows):
            first = np.flatnonzero(np.diff(rows, prepend=-1))  # of each row's own
            counts = np.diff(first, append=len(rows))
            slots = np.arange(len(rows)) + np.repeat(self._filled[rows[first]] - first, counts)
            fits = slots < self.room
            at = rows[fits] * self.room + slots[fits]
            self._scores.reshape(-1)[at] = scores[fits]
            self._places.reshape(-1)[at] = places[fits]
            self._filled[rows[first]] = np.minimum(self._filled[rows[first]] + counts, self.room)
            if fits.all():
                return
            rows, places, scores = rows[~fits], places[~fits], scores[~fits]
            self._thin(np.unique(rows))
            above = scores > self.bounds[rows]
            rows, places, scores = rows[above], places[above], scores[above]

    def take(self, start: int, stop: int) -> tuple[Vectors, Rows, Vectors]:
        """The lists of a stretch of rows.

        Returns:
            scores [n, wanted] and places [n, wanted], in no order, -inf and -1 where a list is
            short; and [n] what a score that is not among them is at most.
        """
        rows = np.arange(start, stop, dtype=np.int64)
        self._thin(rows[self._filled[start:stop] > self.wanted])
        part = slice(start, stop)
        found = self._places[part, : self.wanted].astype(np.int64)
        return self._scores[part, : self.wanted].copy(), found, self.bounds[part].copy()

    def _thin(self, rows: Rows) -> None:
        """Keep the best of each list and raise its bound to the lowest of them."""
        scores = self._scores[rows]
        best = np.argpartition(scores, self.room - self.wanted, axis=1)[:, -self.wanted :]
        kept = np.take_along_axis(scores, best, axis=1)
        self._scores[rows, : self.wanted] = kept
        self._scores[rows, self.wanted :] = -np.inf
        self._places[rows, : self.wanted] = np.take_along_axis(self._places[rows], best, axis=1)
        self._filled[rows] = self.wanted
        self.bounds[rows] = kept.min(axis=1)


def room(wanted: int) -> int:
    """Places in a list that keeps `wanted`."""
    return wanted + max(32, wanted // 2)


def bytes_of_a_list(wanted: int) -> int:
    return room(wanted) * (np.dtype(np.float32).itemsize + np.dtype(np.int32).itemsize)


def likely_bounds(scores: Vectors, wanted: int, of: int) -> npt.NDArray[np.float32]:
    """Bounds that some `wanted` or more of a row's scores exceed, judged by a sample of them.

    Args:
        scores: [n, sampled] scores of things drawn at random from `of`.

    Returns:
        [n]: the `m`-th largest of each row. Of the `wanted` best, a Poisson number of mean
        `wanted * sampled / of` is in the sample; `m` lies four deviations and two above it, so
        that few bounds in a hundred thousand are too high. -inf where the sample is too small.
    """
    count, sampled = scores.shape
    expected = wanted * sampled / max(1, of)
    place = int(np.ceil(expected + 4 * np.sqrt(expected) + 2))
    if place > sampled:
        return np.full(count, -np.inf, dtype=np.float32)
    bounds: Vectors = np.partition(scores, sampled - place, axis=1)[:, sampled - place]
    return bounds

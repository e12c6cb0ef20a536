"""Candidates for the nearest rows of every row, each pair of rows multiplied once.

A score belongs to two rows, so half of the matrix of scores is enough: a tile of it is looked
through along its rows for the lists of the one side and along its columns for those of the other.
What is worth keeping is told by a bound for each row, at first a likely one from a sample of the
rows, later the lowest of what its list holds (`candidates.py`). The lists of all rows that are
still open lie in memory; where they would be too many, rows are swept window by window, and only
pairs within a window are spared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Event, Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from tgqformer.cores import product_threads
from tgqformer.retrieval.candidates import Candidates, bytes_of_a_list, likely_bounds
from tgqformer.retrieval.scores import Rows, Vectors, blocks, top

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


# -- dense -----------------------------------------------------------------------------------------
# Candidates from whole rows of scores, for rules that leave out more than a list has room for.
#
# The best few of a row are picked by a bound from its maxima, in two passes (`selection.py`; a full
# partition costs ten).

QUERIES = 256  # scored at once,
_POOL = 131_072  # against so many rows: 128 MB of scores
_DENSE_TILE = 16_384  # in one product: a fifth faster than all at once, which leaves the caches


class DenseScores:
    """Scores blocks of at most `QUERIES` rows; its memory for scores is used again and again."""

    def __init__(self) -> None:
        self._memory: Vectors = np.empty(0, dtype=np.float32)
        self._threads = product_threads()

    def candidates(
        self, queries: Vectors, pool: Vectors, wanted: int, forbid: Callable[[Vectors, int], None]
    ) -> tuple[Vectors, Rows, Vectors]:
        """The best `wanted` of the pool by float32 scores.

        Args:
            queries: [n, D].
            pool: [N, D].
            forbid: sets to -inf what is left out, in scores [n, m] against the pool from a row on.

        Returns:
            scores [n, C], places [n, C], and [n] the best score that a row left out may have.
        """
        scores, places = [], []
        reach = np.full(len(queries), -np.inf, dtype=np.float32)
        stretches = -(-len(pool) // _POOL)
        for start, stop in blocks(len(pool), -(-len(pool) // stretches)):
            part = self._buffer(len(queries), stop - start)
            for first, last in blocks(stop - start, _DENSE_TILE):
                tile = pool[start + first : start + last]
                np.matmul(queries, tile.T, out=part[:, first:last])
            forbid(part, start)
            picked = self._in_threads(part, wanted)
            values = np.take_along_axis(part, picked, axis=1)
            if part.shape[1] > wanted:
                reach = np.maximum(reach, values.min(axis=1))
            scores.append(values)
            places.append(picked + start)
        rough, found = np.concatenate(scores, axis=1), np.concatenate(places, axis=1)
        if found.shape[1] > wanted:
            best = top(rough, wanted)
            rough = np.take_along_axis(rough, best, axis=1)
            found = np.take_along_axis(found, best, axis=1)
            reach = np.maximum(reach, rough.min(axis=1))
        return rough, found, reach

    def _buffer(self, count: int, size: int) -> Vectors:
        """Scores [count, size]; one piece of memory for all, since fresh pages cost a fifth."""
        if self._memory.size < count * size:
            self._memory = np.empty(count * size, dtype=np.float32)
        return self._memory[: count * size].reshape(count, size)

    def _in_threads(self, scores: Vectors, wanted: int) -> Rows:
        cuts = list(blocks(len(scores), -(-len(scores) // self._threads)))
        with ThreadPoolExecutor(self._threads) as threads:
            return np.concatenate(
                list(threads.map(lambda c: top(scores[c[0] : c[1]], wanted), cuts))
            )

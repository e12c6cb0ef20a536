"""Candidates for the nearest rows of every row, each pair of rows multiplied once.

A score belongs to two rows, so half of the matrix of scores is enough: a tile of it is looked
through along its rows for the lists of the one side and along its columns for those of the other.
What is worth keeping is told by a bound for each row, at first a likely one from a sample of the
rows, later the lowest of what its list holds (`candidates.py`). The lists of all rows that are
still open lie in memory; where they would be too many, rows are swept window by window, and only
pairs within a window are spared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from tgqformer.retrieval.candidates import Candidates, bytes_of_a_list, likely_bounds
from tgqformer.retrieval.scores import Rows, Vectors, blocks

Stretch = tuple[int, int]

_LIST_BYTES = 1 << 30  # of the lists of a window
_TILE = 2048  # columns of a tile: 32 MB of scores against a block of 4,096 rows
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
        self._threads = min(16, os.cpu_count() or 1)
        self._memory: Vectors = np.empty(0, dtype=np.float32)

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
            for stretch in (*outside, rows):
                self._along(rows, offset, stretch, None, lists, threads)
            for later in range(number + 1, len(window)):
                self._along(rows, offset, window[later], offsets[later], lists, threads)
            yield lists.take(offset, offsets[number + 1])

    def _sample(
        self, window: Sequence[Stretch], offsets: Sequence[int], lists: Candidates
    ) -> None:
        count = len(self.vectors)
        size = min(count, int(_SAMPLED * count**0.5))
        drawn = np.sort(np.random.default_rng(0).choice(count, size, replace=False))
        sample = self.vectors[drawn]
        for (start, stop), offset in zip(window, offsets):
            for first, last in blocks(stop - start, _AT_ONCE):
                scores = self.vectors[start + first : start + last] @ sample.T
                bounds = likely_bounds(scores, self.wanted, count)
                lists.bounds[offset + first : offset + last] = bounds

    def _along(
        self,
        rows: Stretch,
        offset: int,
        columns: Stretch,
        across: int | None,
        lists: Candidates,
        threads: ThreadPoolExecutor,
    ) -> None:
        """Multiply a block of rows with other rows, and look through the scores.

        `offset` is where the lists of `rows` begin, `across` where those of `columns` do, None
        if the scores are not for them.
        """
        for first, last in blocks(columns[1] - columns[0], _TILE):
            start, stop = columns[0] + first, columns[0] + last
            tile = self._tile(rows, (start, stop))
            looks: list[Callable[[], None]] = [
                lambda a=a, b=b, at=start: _look(tile, a, b, offset, at, lists)
                for a, b in self._shares(len(tile))
            ]
            if across is not None:
                looks += [
                    lambda a=a, b=b, at=across + first: _look_down(
                        tile, a, b, at, rows[0], lists
                    )
                    for a, b in self._shares(stop - start)
                ]
            list(threads.map(lambda look: look(), looks))

    def _shares(self, count: int) -> Iterator[Stretch]:
        """One for each thread: the fewer the calls, the less they wait for the interpreter."""
        return blocks(count, -(-count // self._threads))

    def _tile(self, rows: Stretch, columns: Stretch) -> Vectors:
        """The scores, in one piece of memory for all, since fresh pages cost a fifth."""
        shape = rows[1] - rows[0], columns[1] - columns[0]
        if self._memory.size < shape[0] * shape[1]:
            self._memory = np.empty(shape[0] * shape[1], dtype=np.float32)
        tile = self._memory[: shape[0] * shape[1]].reshape(shape)
        return np.matmul(self.vectors[slice(*rows)], self.vectors[slice(*columns)].T, out=tile)


def _look(tile: Vectors, a: int, b: int, offset: int, start: int, lists: Candidates) -> None:
    """Take what is above the bounds of the tile's rows [a, b)."""
    part = tile[a:b]
    hits = np.flatnonzero(part > lists.bounds[offset + a : offset + b, None])
    rows, columns = np.divmod(hits, tile.shape[1])
    lists.add(rows + (offset + a), columns + start, part.reshape(-1)[hits])


def _look_down(tile: Vectors, a: int, b: int, offset: int, start: int, lists: Candidates) -> None:
    """The same for its columns [a, b)."""
    hits = np.flatnonzero(tile[:, a:b] > lists.bounds[offset + a : offset + b])
    rows, columns = np.divmod(hits, b - a)
    order = np.argsort(columns.astype(np.uint16), kind="stable")
    rows, columns = rows[order], columns[order]
    lists.add(columns + (offset + a), rows + start, tile[rows, columns + a])

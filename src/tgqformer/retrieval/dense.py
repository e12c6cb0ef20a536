"""Candidates from whole rows of scores, for rules that leave out more than a list has room for.

The best few of a row are picked by a bound from its maxima, in two passes (`selection.py`; a full
partition costs ten).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tgqformer.cores import product_threads
from tgqformer.retrieval.scores import Rows, Vectors, blocks
from tgqformer.retrieval.selection import top

QUERIES = 256  # scored at once,
_POOL = 131_072  # against so many rows: 128 MB of scores
_TILE = 16_384  # in one product: a fifth faster than all at once, which leaves the caches


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
            for first, last in blocks(stop - start, _TILE):
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

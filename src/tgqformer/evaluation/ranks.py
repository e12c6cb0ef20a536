"""Where each right answer stands in the full pool.

rank = 1 + how many of the pool score strictly higher, the query itself left out. Scores are those
of `retrieval/scores.py` (float32), so equal vectors tie exactly. Ties are counted, not broken:
`metrics.py` says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError
from tgqformer.retrieval.scores import Rows, Vectors, blocks, inner_products, queries_at_once


@dataclass(frozen=True)
class Ranks:
    """One entry for each (query, target), ordered by query, then by target.

    Attributes:
        query: int64 [T], 0..queries-1.
        target: int64 [T], the row in the pool.
        rank: int64 [T], from 1.
        ties: int64 [T], how many others of the pool, the query left out, score the same.
        score: float32 [T].
        candidates: int64 [M], the size of each query's pool without itself.
    """

    query: Rows
    target: Rows
    rank: Rows
    ties: Rows
    score: Vectors
    candidates: Rows

    @property
    def queries(self) -> int:
        return len(self.candidates)


def rank_targets(
    queries: Vectors,
    pool: Vectors,
    query: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    exclude: npt.ArrayLike | None = None,
    chunk: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Ranks:
    """Rank every target of every query among the whole pool.

    Args:
        queries: float32 [M, D].
        pool: float32 [N, D].
        query: [T], which query (0..M-1) ...
        target: [T], ... wants which row of the pool. No pair twice, and none that is excluded.
        exclude: [M], the pool row that is the query itself, or -1.
        chunk: queries at once; None keeps the scores within about 64 MB. The ranks do not depend
            on it.
        on_progress: called with the number of queries done after each chunk.

    Raises:
        ConfigError: `chunk` is below 1, or a target is excluded for its query.
    """
    size = queries_at_once(len(pool)) if chunk is None else chunk
    if size < 1:
        raise ConfigError(f"chunk is {chunk}, but must be at least 1; leave it out for the usual.")
    pairs = np.stack([np.asarray(query, np.int64), np.asarray(target, np.int64)])
    which, wanted = pairs[:, np.lexsort(pairs[::-1])]
    skip = np.full(len(queries), -1, dtype=np.int64)
    if exclude is not None:
        skip[:] = np.asarray(exclude, dtype=np.int64)
    if (wanted == skip[which]).any():
        row = int(which[np.argmax(wanted == skip[which])])
        raise ConfigError(f"query {row} is its own target; remove the pair from the catalog.")
    starts = np.searchsorted(which, np.arange(len(queries) + 1))
    rank, ties = np.empty_like(which), np.empty_like(which)
    score = np.empty(len(which), dtype=np.float32)
    for start, stop in blocks(len(queries), size):
        scores = inner_products(queries[start:stop], pool)  # [m, N]
        alone = np.flatnonzero(skip[start:stop] >= 0)
        scores[alone, skip[start:stop][alone]] = -np.inf
        part = slice(starts[start], starts[stop])
        score[part] = scores[which[part] - start, wanted[part]]
        # Sorted once, every target of a query is counted by two binary searches.
        scores.sort(axis=1)
        for row, line in enumerate(scores, start):
            mine = slice(starts[row], starts[row + 1])
            above = np.searchsorted(line, score[mine], side="right")
            rank[mine] = len(pool) - above + 1
            ties[mine] = above - np.searchsorted(line, score[mine], side="left") - 1
        if on_progress is not None:
            on_progress(stop)
    return Ranks(which, wanted, rank, ties, score, len(pool) - (skip >= 0))

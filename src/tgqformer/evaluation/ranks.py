"""Where each right answer stands in the full pool.

rank = 1 + how many of the pool score strictly higher, the query itself and what is masked for it
left out. Scores are float32: the inner products of `retrieval/scores.py`, so equal vectors tie
exactly, or those of a `Scorer`, which needs no vectors. Ties are counted, not broken: `metrics.py`
says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tgqformer.config import whole_number
from tgqformer.errors import ConfigError
from tgqformer.retrieval.scores import Rows, Vectors, blocks, inner_products, queries_at_once


@dataclass(frozen=True)
class Ranks:
    """One entry for each (query, target), ordered by query, then by target.

    Attributes:
        query: int64 [T], 0..queries-1.
        target: int64 [T], the row in the pool.
        rank: int64 [T], from 1.
        ties: int64 [T], how many others of what the query is ranked among score the same.
        score: float32 [T].
        candidates: int64 [M], how many of the pool each query is ranked among: all but itself and
            what is masked for it.
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


@runtime_checkable
class Scorer(Protocol):
    """A model that scores items of a catalog without vectors: co-engagement, say, or a blend.

    Attributes:
        name: as tables show it.
    """

    name: str

    def scores(self, queries: Rows) -> Vectors:
        """Score the items at `queries` [m] against all N of the catalog: float32 [m, N], finite."""
        ...


def rank_targets(
    queries: Vectors,
    pool: Vectors,
    query: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    exclude: npt.ArrayLike | None = None,
    masked: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
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
        masked: ([X], [X]), queries (0..M-1) and rows of the pool that are left out for them, any
            number for each query, in any order.
        chunk: queries at once; None keeps the scores within about 64 MB. The ranks do not depend
            on it.
        on_progress: called with the number of queries done after each chunk.

    Raises:
        ConfigError: as `rank_scores`.
    """
    return rank_scores(
        lambda start, stop: inner_products(queries[start:stop], pool),
        len(queries),
        len(pool),
        query,
        target,
        exclude=exclude,
        masked=masked,
        chunk=chunk,
        on_progress=on_progress,
    )


def rank_scores(
    score_of: Callable[[int, int], Vectors],
    queries: int,
    pool: int,
    query: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    exclude: npt.ArrayLike | None = None,
    masked: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    chunk: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Ranks:
    """Rank every target of every query among the whole pool, by whatever scores them.

    Args:
        score_of: the scores of queries start..stop-1 against the pool, float32 [m, N], which are
            overwritten here.
        queries, pool: how many there are, M and N.
        query, target, exclude, masked, chunk, on_progress: as for `rank_targets`.

    Raises:
        ConfigError: `chunk` is below 1, a masked row is none of the pool, a target is excluded or
            masked for its query, or a score is not finite.
    """
    size = queries_at_once(pool) if chunk is None else whole_number(chunk, "chunk")
    pairs = np.stack([np.asarray(query, np.int64), np.asarray(target, np.int64)])
    which, wanted = pairs[:, np.lexsort(pairs[::-1])]
    left_out, rows = _left_out(exclude, masked, queries, pool)
    _check_targets(which, wanted, left_out, rows, pool)
    starts = np.searchsorted(which, np.arange(queries + 1))
    outs = np.searchsorted(left_out, np.arange(queries + 1))
    rank, ties = np.empty_like(which), np.empty_like(which)
    score = np.empty(len(which), dtype=np.float32)
    for start, stop in blocks(queries, size):
        scores = score_of(start, stop)  # [m, N]
        if not np.isfinite(scores).all():
            raise ConfigError(
                "a score is NaN or infinite, but every item needs a finite one; correct the model "
                "that scores them."
            )
        out = slice(outs[start], outs[stop])
        scores[left_out[out] - start, rows[out]] = -np.inf
        part = slice(starts[start], starts[stop])
        score[part] = scores[which[part] - start, wanted[part]]
        # Sorted once, every target of a query is counted by two binary searches.
        scores.sort(axis=1)
        for row, line in enumerate(scores, start):
            mine = slice(starts[row], starts[row + 1])
            above = np.searchsorted(line, score[mine], side="right")
            rank[mine] = pool - above + 1
            ties[mine] = above - np.searchsorted(line, score[mine], side="left") - 1
        if on_progress is not None:
            on_progress(stop)
    return Ranks(which, wanted, rank, ties, score, pool - np.diff(outs))


def _left_out(
    exclude: npt.ArrayLike | None,
    masked: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    queries: int,
    pool: int,
) -> tuple[Rows, Rows]:
    """Queries and the rows that are left out for them, by query, none twice: [X], [X]."""
    itself = np.full(queries, -1, dtype=np.int64)
    if exclude is not None:
        itself[:] = np.asarray(exclude, dtype=np.int64)
    inside = np.flatnonzero(itself >= 0)
    keys = inside * pool + itself[inside]
    if masked is not None:
        which, rows = (np.asarray(side, dtype=np.int64) for side in masked)
        if len(rows) and (rows.min() < 0 or rows.max() >= pool):
            raise ConfigError(
                f"masked rows lie in {rows.min()}..{rows.max()}, but must be rows of the pool, "
                f"0..{pool - 1}; leave out items that are not in it."
            )
        keys = np.concatenate([keys, which * pool + rows])
    return np.divmod(np.unique(keys), pool)


def _check_targets(which: Rows, wanted: Rows, left_out: Rows, rows: Rows, pool: int) -> None:
    lost = np.flatnonzero(np.isin(which * pool + wanted, left_out * pool + rows))
    if len(lost):
        query, row = int(which[lost[0]]), int(wanted[lost[0]])
        raise ConfigError(
            f"query {query} wants row {row} of the pool, which is itself or masked for it; remove "
            "the pair from the catalog, or the row from what is masked."
        )

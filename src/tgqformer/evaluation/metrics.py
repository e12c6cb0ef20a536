"""Where each right answer stands in the full pool, and the figures of each query that follow.

rank = 1 + how many of the pool score strictly higher, the query itself and what is masked for it
left out. Scores are float32: the inner products of `retrieval/scores.py`, so equal vectors tie
exactly, or those of a `Scorer`, which needs no vectors.

H@K: is any right one among the first K. recall@K: which share of the right ones is. MRR: one over
the place of the first right one. nDCG@K: binary gains, discount 1/log2(place + 1). mAP@R: precision
at each right one among the first R, divided by R, the number of right ones (Musgrave et al., "A
Metric Learning Reality Check", arXiv 2003.08505).

Ties are counted, not broken. Items that score the same have no order of their own, and a figure
that depends on one is arbitrary: identical vectors for the whole shop would have every target at
rank 1. Each figure here is the mean over all orders of the tied items, in closed form (McSherry &
Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores", ECIR 2008). `ties="optimistic"` puts the right ones first within a tie, which for H@K is
"rank <= K"; `"pessimistic"` puts them last. Without ties all three agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from tgqformer.config import whole_number
from tgqformer.errors import ConfigError
from tgqformer.retrieval.scores import Rows, Vectors, blocks, inner_products, queries_at_once

Ties: TypeAlias = Literal["expected", "optimistic", "pessimistic"]
Values: TypeAlias = npt.NDArray[np.float64]
_Counts: TypeAlias = npt.NDArray[np.int64]


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
) -> Ranks:
    """Rank every target of every query among the whole pool, by whatever scores them.

    Args:
        score_of: the scores of queries start..stop-1 against the pool, float32 [m, N], which are
            overwritten here.
        queries, pool: how many there are, M and N.
        query, target, exclude, masked, chunk: as for `rank_targets`.

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


@dataclass(frozen=True)
class TieGroups:
    """The targets of each query, gathered by equal score, best first: G groups of M queries.

    Attributes:
        query: [G], 0..M-1, ascending.
        above: [G], how many of the pool score strictly higher.
        size: [G], how many of the pool share this score.
        right: [G], how many of those are targets.
        before: [G], how many targets score strictly higher.
        first: [M], the best group of each query.
        targets: [M], targets of each query, at least 1.
    """

    query: _Counts
    above: _Counts
    size: _Counts
    right: _Counts
    before: _Counts
    first: _Counts
    targets: _Counts

    @classmethod
    def of(cls, ranks: Ranks, ties: Ties = "expected") -> TieGroups:
        """Gather `ranks`; every query must have a target."""
        keys = np.stack([ranks.query, ranks.rank, ranks.ties + 1], axis=1)
        unique, right = np.unique(keys, axis=0, return_counts=True)
        query, rank, size = unique.T
        above = rank - 1
        targets = np.bincount(query, weights=right, minlength=ranks.queries).astype(np.int64)
        before = np.cumsum(right) - right - (np.cumsum(targets) - targets)[query]
        if ties == "pessimistic":
            above = above + size - right
        if ties != "expected":
            size = right
        first = np.searchsorted(query, np.arange(ranks.queries))
        return cls(query, above, size, right, before, first, targets)

    def total(self, values: Values) -> Values:
        """Sum [G] over the groups of each query: [M]."""
        sums = np.zeros(len(self.targets))
        np.add.at(sums, self.query, values)
        return sums

    def within(self, k: int | _Counts) -> _Counts:
        """How many places of each group lie among the first k: [G]."""
        return np.clip(k - self.above, 0, self.size)


def per_query(ranks: Ranks, ks: Sequence[int], ties: Ties = "expected") -> dict[str, Values]:
    """All figures of all queries, each [M]: hit@K, recall@K, ndcg@K for each K, mrr, map@r."""
    groups = TieGroups.of(ranks, ties)
    table = {f"hit@{k}": hit_rate(groups, k) for k in ks}
    table |= {f"recall@{k}": recall(groups, k) for k in ks}
    table |= {f"ndcg@{k}": ndcg(groups, k) for k in ks}
    table["mrr"] = reciprocal_rank(groups)
    table["map@r"] = average_precision_at_r(groups)
    return table


def hit_rate(groups: TieGroups, k: int) -> Values:
    """Chance that a right one is among the first k: [M] in 0..1."""
    places = groups.within(k)[groups.first]
    size, right = groups.size[groups.first], groups.right[groups.first]
    hits = (places > 0).astype(np.float64)
    for row in np.flatnonzero((places > 0) & (places < size)):
        # None of the right ones in `places` draws without putting back.
        draws = np.arange(places[row])
        wrong = np.maximum(size[row] - right[row] - draws, 0)
        hits[row] = 1 - np.prod(wrong / (size[row] - draws))
    return hits


def recall(groups: TieGroups, k: int) -> Values:
    """Share of the right ones that is among the first k: [M] in 0..1."""
    found = groups.right * (groups.within(k) / groups.size)
    return groups.total(found) / groups.targets


def reciprocal_rank(groups: TieGroups) -> Values:
    """One over the place of the first right one: [M] in 0..1."""
    above, size = groups.above[groups.first], groups.size[groups.first]
    right = groups.right[groups.first]
    values = 1 / (above + 1.0)
    for row in np.flatnonzero(size > right):
        # Chance that the first right one comes at place 1, 2, ... of its group.
        places = np.arange(size[row] - right[row] + 1)
        later = (size[row] - right[row] - places[:-1]) / (size[row] - places[:-1])
        chance = np.concatenate([[1.0], np.cumprod(later)]) * right[row] / (size[row] - places)
        values[row] = np.sum(chance / (above[row] + 1 + places))
    return values


def ndcg(groups: TieGroups, k: int) -> Values:
    """Discounted gain of the first k over the best possible: [M] in 0..1."""
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    top = np.minimum(groups.above, k)
    gain = (discounts[top + groups.within(k)] - discounts[top]) / groups.size
    best: Values = discounts[np.minimum(groups.targets, k)]
    return groups.total(groups.right * gain) / best


def average_precision_at_r(groups: TieGroups) -> Values:
    """mAP@R's term for each query: [M] in 0..1."""
    limit = groups.targets[groups.query]
    places = groups.within(limit)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, groups.targets.max() + 1))])
    top = np.minimum(groups.above, limit)
    inverse = harmonic[top + places] - harmonic[top]  # sum of 1 / place
    # At place i, the right ones before it are `before` and those of the group's earlier places,
    # each of which is right with chance (right - 1) / (size - 1).
    share = (groups.right - 1) / np.maximum(groups.size - 1, 1)
    earlier = places - (groups.above + 1) * inverse  # sum of (i - above - 1) / i
    precision = (groups.before + 1) * inverse + share * earlier
    return groups.total(groups.right / groups.size * precision) / groups.targets

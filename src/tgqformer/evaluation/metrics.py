"""Figures for each query, from ranks.

H@K: is any right one among the first K. recall@K: which share of the right ones is. MRR: one over
the place of the first right one. nDCG@K: binary gains, discount 1/log2(place + 1). mAP@R: precision
at each right one among the first R, divided by R, the number of right ones (Musgrave et al., "A
Metric Learning Reality Check", arXiv 2003.08505).

Ties. Items that score the same have no order of their own, and a figure that depends on one is
arbitrary: identical vectors for the whole shop would have every target at rank 1. Each figure here
is the mean over all orders of the tied items, in closed form (McSherry & Najork, "Computing
Information Retrieval Performance Measures Efficiently in the Presence of Tied Scores", ECIR 2008).
`ties="optimistic"` puts the right ones first within a tie, which for H@K is "rank <= K" with rank =
1 + how many score strictly higher; `"pessimistic"` puts them last. Without ties all three agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tgqformer.evaluation.ranks import Ranks

Ties: TypeAlias = Literal["expected", "optimistic", "pessimistic"]
Values: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]


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

    query: Counts
    above: Counts
    size: Counts
    right: Counts
    before: Counts
    first: Counts
    targets: Counts

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

    def within(self, k: int | Counts) -> Counts:
        """How many places of each group lie among the first k: [G]."""
        return np.clip(k - self.above, 0, self.size)


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


def per_query(ranks: Ranks, ks: Sequence[int], ties: Ties = "expected") -> dict[str, Values]:
    """All figures of all queries, each [M]: hit@K, recall@K, ndcg@K for each K, mrr, map@r."""
    groups = TieGroups.of(ranks, ties)
    table = {f"hit@{k}": hit_rate(groups, k) for k in ks}
    table |= {f"recall@{k}": recall(groups, k) for k in ks}
    table |= {f"ndcg@{k}": ndcg(groups, k) for k in ks}
    table["mrr"] = reciprocal_rank(groups)
    table["map@r"] = average_precision_at_r(groups)
    return table

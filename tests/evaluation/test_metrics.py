"""Laws of the figures: pytrec_eval's without ties, the mean over all orders with them."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from tgqformer.evaluation.metrics import (
    Ranks,
    TieGroups,
    average_precision_at_r,
    hit_rate,
    per_query,
    rank_targets,
)
from tgqformer.retrieval.scores import unit


def ranked(scores: np.ndarray, wanted: np.ndarray) -> Ranks:
    """Ranks for given scores [M, N] and wanted bool [M, N]."""
    query, target = np.nonzero(wanted)
    score = scores[query, target]
    above = (scores[query] > score[:, None]).sum(axis=1)
    ties = (scores[query] == score[:, None]).sum(axis=1) - 1
    candidates = np.full(len(scores), scores.shape[1])
    return Ranks(query, target, above + 1, ties, score, candidates)


@pytest.fixture(scope="module")
def without_ties() -> tuple[Ranks, list[dict[str, float]]]:
    """Ranks of 80 queries with 1..30 targets in a pool of 300, and pytrec_eval's answer."""
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((300, 24)))
    wanted = np.zeros((80, 300), bool)
    for row, line in enumerate(wanted):
        others = np.delete(np.arange(300), row)
        line[rng.choice(others, rng.integers(1, 31), replace=False)] = True
    query, target = np.nonzero(wanted)
    ranks = rank_targets(vectors[:80], vectors, query, target, exclude=np.arange(80))
    assert not ranks.ties.any()
    scores = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    run = {str(q): {str(d): float(scores[q, d]) for d in range(300) if d != q} for q in range(80)}
    judged = {str(q): {str(t): 1 for t in np.flatnonzero(wanted[q])} for q in range(80)}
    cuts = ",".join(str(k) for k in range(1, 101))
    measures = {f"{name}.{cuts}" for name in ("success", "recall", "ndcg_cut", "map_cut")}
    found = pytrec_eval.RelevanceEvaluator(judged, measures | {"recip_rank"}).evaluate(run)
    return ranks, [found[str(q)] for q in range(80)]


@pytest.mark.parametrize("ties", ["expected", "optimistic", "pessimistic"])
def test_equals_pytrec_eval_without_ties(without_ties, ties):
    ranks, reference = without_ties
    ours = per_query(ranks, (1, 10, 50, 100), ties)
    names = {"hit": "success", "recall": "recall", "ndcg": "ndcg_cut"}
    for name, theirs in names.items():
        for k in (1, 10, 50, 100):
            expected = [line[f"{theirs}_{k}"] for line in reference]
            np.testing.assert_allclose(ours[f"{name}@{k}"], expected, atol=1e-12)
    np.testing.assert_allclose(ours["mrr"], [r["recip_rank"] for r in reference], atol=1e-12)
    targets = np.bincount(ranks.query)
    expected = [line[f"map_cut_{r}"] for line, r in zip(reference, targets)]
    np.testing.assert_allclose(ours["map@r"], expected, atol=1e-12)


def by_definition(right: list[bool], ks: tuple[int, ...]) -> dict[str, float]:
    """The figures of one query from an ordered list, written as their definitions read."""
    total, places = sum(right), [p for p, hit in enumerate(right, 1) if hit]
    found: dict[str, float] = {}
    for k in ks:
        top = [p for p in places if p <= k]
        found[f"hit@{k}"] = float(bool(top))
        found[f"recall@{k}"] = len(top) / total
        ideal = sum(1 / np.log2(p + 1) for p in range(1, min(k, total) + 1))
        found[f"ndcg@{k}"] = sum(1 / np.log2(p + 1) for p in top) / ideal
    found["mrr"] = 1 / places[0]
    precise = [sum(right[:p]) / p for p in places if p <= total]
    found["map@r"] = sum(precise) / total
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6))
def test_expected_is_the_mean_over_all_orders_of_the_tied(pool):
    if not any(right for _, right in pool):
        pool = [*pool[:-1], (pool[-1][0], True)]
    ks = (1, 2, 3, 9)
    ranks = ranked(
        np.array([[float(score) for score, _ in pool]]), np.array([[right for _, right in pool]])
    )
    orders = [
        by_definition([right for _, right in order], ks)
        for order in permutations(pool)
        if all(a[0] >= b[0] for a, b in pairwise(order))
    ]
    expected, worst, best = (
        per_query(ranks, ks, ties) for ties in ("expected", "pessimistic", "optimistic")
    )
    for name in orders[0]:
        values = [order[name] for order in orders]
        np.testing.assert_allclose(expected[name][0], np.mean(values), atol=1e-12, err_msg=name)
        np.testing.assert_allclose(worst[name][0], min(values), atol=1e-12, err_msg=name)
        np.testing.assert_allclose(best[name][0], max(values), atol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_bounds_enclose_and_hits_grow_with_k(count, levels, seed):
    rng = np.random.default_rng(seed)
    wanted = rng.random((6, count)) < 0.3
    wanted[:, 0] = True
    ranks = ranked(rng.integers(0, levels, (6, count)).astype(float), wanted)
    ks = tuple(range(1, count + 1))
    low, middle, high = (
        per_query(ranks, ks, ties) for ties in ("pessimistic", "expected", "optimistic")
    )
    for name in middle:
        assert (low[name] <= middle[name] + 1e-12).all()
        assert (middle[name] <= high[name] + 1e-12).all()
        assert (low[name] >= 0).all()
        assert (high[name] <= 1 + 1e-12).all()
    for name in ("hit", "recall"):
        steps = np.diff([middle[f"{name}@{k}"] for k in ks], axis=0)
        assert (steps >= -1e-12).all()
        np.testing.assert_allclose(middle[f"{name}@{count}"], 1)


def test_optimistic_hit_rate_is_rank_at_most_k():
    rng = np.random.default_rng(0)
    wanted = np.eye(30, dtype=bool)
    ranks = ranked(rng.integers(0, 4, (30, 30)).astype(float), wanted)
    for k in (1, 5, 20):
        hits = hit_rate(TieGroups.of(ranks, "optimistic"), k)
        np.testing.assert_array_equal(hits, ranks.rank <= k)


def test_a_model_that_gives_every_item_one_vector_is_no_better_than_chance():
    same = np.ones((101, 8), np.float32)
    query = np.arange(20)
    ranks = rank_targets(same[:20], same, query, query + 1, exclude=query)
    assert (ranks.rank == 1).all()
    assert (ranks.ties == 99).all()
    found = per_query(ranks, (1, 10))
    np.testing.assert_allclose(found["hit@1"], 0.01)
    np.testing.assert_allclose(found["hit@10"], 0.10)
    np.testing.assert_allclose(found["mrr"], np.mean(1 / np.arange(1, 101)))


def test_perfect_ranks_give_one_everywhere():
    wanted = np.zeros((3, 9), bool)
    wanted[0, :1] = wanted[1, :4] = wanted[2, :9] = True
    scores = -np.arange(9.0)[None].repeat(3, axis=0)
    found = per_query(ranked(scores, wanted), (1, 9))
    for name in ("hit@1", "hit@9", "recall@9", "ndcg@1", "ndcg@9", "mrr", "map@r"):
        np.testing.assert_allclose(found[name], 1, err_msg=name)


def test_average_precision_looks_no_further_than_r():
    wanted = np.array([[True, False, True, True]])
    found = average_precision_at_r(TieGroups.of(ranked(np.array([[4.0, 3, 2, 1]]), wanted)))
    np.testing.assert_allclose(found, [(1 / 1 + 2 / 3) / 3])

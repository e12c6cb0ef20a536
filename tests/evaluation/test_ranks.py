"""Laws of ranks: they count what scores strictly higher, and no chunking changes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgqformer.errors import ConfigError
from tgqformer.evaluation.metrics import rank_targets
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import unit


def shop(count: int, distinct: int, dims: int, seed: int) -> np.ndarray:
    """Vectors of which many are equal, so that ties abound."""
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((distinct, dims)))[rng.integers(0, distinct, count)]


def some_pairs(queries: int, pool: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + 1)
    wanted = rng.random((queries, pool)) < 0.2
    wanted[np.arange(queries), (np.arange(queries) + 1) % pool] = True
    wanted[np.arange(queries), np.arange(queries)] = False
    query, target = np.nonzero(wanted)
    order = rng.permutation(len(query))
    return query[order], target[order]


sizes = st.tuples(st.integers(3, 60), st.integers(1, 60), st.integers(1, 40), st.integers(0, 2**31))


@settings(max_examples=60, deadline=None)
@given(sizes)
def test_rank_is_one_and_those_strictly_above(size):
    count, distinct, dims, seed = size
    vectors, queries = shop(count, distinct, dims, seed), count // 2 + 1
    ranks = rank_targets(
        vectors[:queries], vectors, *some_pairs(queries, count, seed), exclude=np.arange(queries)
    )
    scores = (vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    for query, target, rank, ties, score in zip(
        ranks.query, ranks.target, ranks.rank, ranks.ties, ranks.score
    ):
        others = np.delete(scores[query], [query, target])
        assert score == scores[query, target]
        assert rank == 1 + (others > score).sum()
        assert ties == (others == score).sum()
    assert (ranks.candidates == count - 1).all()


def some_masked(
    queries: int, pool: int, pairs: tuple[np.ndarray, np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Up to a third of each query's pool, no targets; some twice, the query itself among them."""
    rng = np.random.default_rng(seed + 2)
    chosen = rng.random((queries, pool)) < 0.3
    chosen[pairs] = False
    query, row = np.nonzero(chosen)
    order = rng.permutation(np.concatenate([np.arange(len(query)), np.arange(len(query) // 3)]))
    return query[order], row[order]


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 70))
def test_what_is_masked_is_as_if_it_were_not_in_the_pool(size, chunk):
    count, distinct, dims, seed = size
    vectors, queries = shop(count, distinct, dims, seed), count // 2 + 1
    pairs = some_pairs(queries, count, seed)
    masked = some_masked(queries, count, pairs, seed)
    ranks = rank_targets(
        vectors[:queries], vectors, *pairs, exclude=np.arange(queries), masked=masked, chunk=chunk
    )
    for query in range(queries):
        gone = set(masked[1][masked[0] == query].tolist()) | {query}
        kept = np.array([row for row in range(count) if row not in gone])
        mine = ranks.query == query
        alone = rank_targets(
            vectors[[query]],
            vectors[kept],
            np.zeros(mine.sum(), int),
            np.searchsorted(kept, ranks.target[mine]),
        )
        assert ranks.candidates[query] == len(kept)
        for name in ("rank", "ties", "score"):
            np.testing.assert_array_equal(getattr(ranks, name)[mine], getattr(alone, name))


def test_nothing_masked_changes_nothing():
    vectors = shop(60, 20, 8, 0)
    pairs = some_pairs(30, 60, 0)
    plain = rank_targets(vectors[:30], vectors, *pairs, exclude=np.arange(30))
    none = rank_targets(vectors[:30], vectors, *pairs, exclude=np.arange(30), masked=([], []))
    for name in ("query", "target", "rank", "ties", "score", "candidates"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(none, name))


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(1, 70))
def test_chunked_equals_full(size, chunk):
    count, distinct, dims, seed = size
    vectors, queries = shop(count, distinct, dims, seed), count // 2 + 1
    query, target = some_pairs(queries, count, seed)
    full = rank_targets(vectors[:queries], vectors, query, target, exclude=np.arange(queries))
    cut = rank_targets(
        vectors[:queries], vectors, query, target, exclude=np.arange(queries), chunk=chunk
    )
    for name in ("query", "target", "rank", "ties", "score", "candidates"):
        np.testing.assert_array_equal(getattr(full, name), getattr(cut, name))


def test_the_order_of_the_pool_does_not_matter():
    vectors = shop(200, 60, 16, 0)
    query, target = some_pairs(50, 200, 0)
    order = np.random.default_rng(1).permutation(200)
    place = np.argsort(order)
    straight = rank_targets(vectors[:50], vectors, query, target, exclude=np.arange(50))
    mixed = rank_targets(vectors[:50], vectors[order], query, place[target], exclude=place[:50])
    np.testing.assert_array_equal(np.sort(straight.rank), np.sort(mixed.rank))
    np.testing.assert_array_equal(np.sort(straight.ties), np.sort(mixed.ties))


def test_agrees_with_exact_search():
    vectors = unit(np.random.default_rng(0).standard_normal((300, 32)))
    ids = [str(row) for row in range(300)]
    scores, rows = ExactIndex(ids, vectors).search(vectors[:40], 299, exclude=np.arange(40))
    query, target = some_pairs(40, 300, 0)
    ranks = rank_targets(vectors[:40], vectors, query, target, exclude=np.arange(40))
    for query, target, rank, score in zip(ranks.query, ranks.target, ranks.rank, ranks.score):
        assert rows[query, rank - 1] == target
        assert scores[query, rank - 1] == score


def test_a_query_outside_the_pool_excludes_nothing():
    vectors = np.eye(3, dtype=np.float32)
    ranks = rank_targets(vectors[:1], vectors, [0], [2], exclude=[-1])
    assert ranks.rank.tolist() == [2]
    assert ranks.candidates.tolist() == [3]


def test_wrong_input_is_one_clear_sentence():
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(ConfigError, match=r"chunk \(0\) must be 1 or more"):
        rank_targets(vectors, vectors, [0], [1], chunk=0)
    with pytest.raises(ConfigError, match="query 1 wants row 1 of the pool, which is itself"):
        rank_targets(vectors, vectors, [0, 1], [1, 1], exclude=[0, 1, 2])
    with pytest.raises(ConfigError, match="query 0 wants row 1 of the pool, .* masked for it"):
        rank_targets(vectors, vectors, [0], [1], masked=([0], [1]))
    with pytest.raises(ConfigError, match=r"masked rows lie in -1..2, but must be .* 0..2"):
        rank_targets(vectors, vectors, [0], [1], masked=([0, 1], [2, -1]))

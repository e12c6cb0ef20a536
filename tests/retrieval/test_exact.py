"""Laws of exact search: it is the full sort, ties go by row, and blocks do not matter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval import exact, scores
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import unit


def vectors(count: int, dims: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dims)))


def names(count: int) -> list[str]:
    return [f"item-{row}" for row in range(count)]


def full_sort(queries, stored, k, exclude):
    """The definition, without FAISS: all scores in float64, then (score, row)."""
    scores = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    for row, skip in enumerate(exclude):
        if skip >= 0:
            scores[row, skip] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return best, np.where(np.isneginf(best), -1, order)


@pytest.mark.parametrize(("count", "k"), [(40, 5), (2000, 1), (2000, 10), (2000, 99), (2000, 2000)])
def test_equals_the_full_sort(count, k):
    stored = vectors(count)
    exclude = np.arange(30) - 5
    found = ExactIndex(names(count), stored).search(stored[:30], k, exclude)
    expected = full_sort(stored[:30], stored, k, exclude)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 60), st.integers(1, 8), st.integers(0, 2**31), st.booleans()
)
def test_ties_come_in_row_order(count, k, distinct, seed, negative_zero):
    rng = np.random.default_rng(seed)
    stored = vectors(distinct, 8, seed)[rng.integers(0, distinct, count)]
    if negative_zero:
        stored[::3] = -0.0
    queries = stored[:20]
    exclude = np.arange(len(queries))
    scores, rows = ExactIndex(names(count), stored).search(queries, k, exclude)
    expected = full_sort(queries, stored, k, exclude)
    np.testing.assert_array_equal(rows, expected[1])
    np.testing.assert_array_equal(scores, expected[0])


def test_a_tie_wider_than_the_candidates_is_still_in_row_order():
    stored = np.repeat(vectors(4), 500, axis=0)
    scores, rows = ExactIndex(names(2000), stored).search(stored[[700]], 10)
    assert rows[0].tolist() == list(range(500, 510))
    assert len(set(scores[0].tolist())) == 1


def test_blocks_do_not_change_the_answer(monkeypatch):
    stored = vectors(3000)
    index = ExactIndex(names(3000), stored)
    whole = index.search(stored[:50], 20)
    monkeypatch.setattr(exact, "_SCORE_BYTES", 4 * 3000 * 7)
    for name, value in {"_TILE_ROWS": 100, "_PAIRS": 33, "_PAIRS_HELD": 50}.items():
        monkeypatch.setattr(scores, name, value)
    cut = index.search(stored[:50], 20)
    np.testing.assert_array_equal(whole[0], cut[0])
    np.testing.assert_array_equal(whole[1], cut[1])


@pytest.mark.parametrize("scale", [1e-22, 1e18])
def test_what_float32_loses_near_its_ends_costs_no_row(scale):
    stored = (np.random.default_rng(5).standard_normal((900, 16)) * scale).astype(np.float32)
    expected = full_sort(stored[:9], stored, 10, [-1] * 9)
    found = ExactIndex(names(900), stored).search(stored[:9], 10)
    np.testing.assert_array_equal(found[1], expected[1])


def test_similar_leaves_the_item_itself_out_and_stops_where_the_shop_ends():
    stored = vectors(4)
    found = ExactIndex(names(4), stored).similar("item-2", k=10)
    assert {n.item_id for n in found} == {"item-0", "item-1", "item-3"}
    assert [n.score for n in found] == sorted((n.score for n in found), reverse=True)


def test_an_empty_index_answers_with_nothing():
    scores, rows = ExactIndex([], np.empty((0, 4), np.float32)).search(vectors(3, 4), 5)
    assert scores.shape == rows.shape == (3, 0)


def test_wrong_input_is_one_clear_sentence():
    stored = vectors(3)
    index = ExactIndex(names(3), stored)
    with pytest.raises(StorageError, match="no vector for item 'nobody' among 3"):
        index.similar("nobody")
    with pytest.raises(StorageError, match="8 dimensions and the index 16"):
        index.search(vectors(2, 8), 1)
    with pytest.raises(ConfigError, match="k is 0"):
        index.search(stored, 0)
    with pytest.raises(StorageError, match="2 ids came with 3 vectors"):
        ExactIndex(names(2), stored)
    with pytest.raises(StorageError, match="item 'a' has more than one vector"):
        ExactIndex(["b", "a", "a"], stored)
    stored[1, 3] = np.nan
    with pytest.raises(StorageError, match="row 1 holds a NaN"):
        ExactIndex(names(3), stored)


def test_retrieval_never_imports_torch():
    code = (
        "import sys, numpy as np\n"
        "import tgqformer.retrieval.embeddings, tgqformer.retrieval.scores\n"
        "from tgqformer.retrieval.exact import ExactIndex\n"
        "ExactIndex(list('abc'), np.eye(3)).similar('a', 1)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Laws of the neighbour table: it is brute force, blocks and kills do not matter, rules hold."""

from __future__ import annotations

import errno
import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval import exact, neighbours, sweep
from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.neighbour_table import read_neighbours, write_neighbours
from tgqformer.retrieval.neighbours import NeighbourSearch, Rules
from tgqformer.retrieval.scores import unit
from tgqformer.retrieval.sweep import Candidates, likely_bounds


def vectors(count: int, dims: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dims)))


def table(search: NeighbourSearch) -> tuple[np.ndarray, np.ndarray]:
    scores = np.empty((len(search.vectors), search.k), np.float32)
    rows = np.empty((len(search.vectors), search.k), np.int64)
    for number, *found in search.search():
        scores[search.blocks()[number]], rows[search.blocks()[number]] = found
    return scores, rows


def brute_force(stored, k, allowed):
    """The definition: all scores in float64, the forbidden ones away, then (score, row)."""
    scores = (stored.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    scores = np.where(allowed, scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return best, np.where(np.isneginf(best), -1, order)


def others(count: int) -> np.ndarray:
    return ~np.eye(count, dtype=bool)


def same(found, expected) -> None:
    width = expected[0].shape[1]
    np.testing.assert_array_equal(found[0][:, :width], expected[0])
    np.testing.assert_array_equal(found[1][:, :width], expected[1])
    assert (found[1][:, width:] == -1).all()


@pytest.mark.parametrize(("count", "k"), [(1, 3), (7, 20), (300, 5), (3000, 10)])
def test_equals_brute_force_without_the_row_itself(count, k):
    stored = vectors(count)
    same(table(NeighbourSearch(stored, k)), brute_force(stored, k, others(count)))


@pytest.mark.parametrize("largest", [0, 128])
@pytest.mark.parametrize("groups", [2000, 30])
def test_sweep_and_whole_rows_give_the_same(monkeypatch, largest, groups):
    monkeypatch.setattr(neighbours, "_LARGEST", largest)
    apart = np.random.default_rng(2).integers(-1, groups, 2000)
    allowed = others(2000) & ((apart[:, None] != apart) | (apart[:, None] < 0))
    stored = vectors(2000)
    search = NeighbourSearch(stored, 9, rules=Rules(apart=apart))
    same(table(search), brute_force(stored, 9, allowed))


def test_blocks_do_not_change_it(monkeypatch):
    stored = vectors(2500)
    whole = table(NeighbourSearch(stored, 7))
    monkeypatch.setattr(neighbours, "_LARGEST", 0)
    monkeypatch.setattr(exact, "_SCORE_BYTES", 4 * 2500 * 33)
    same(table(NeighbourSearch(stored, 7, block=100)), whole)


@pytest.mark.parametrize("lists", [1, 40_000, 1 << 30])
@pytest.mark.parametrize("tile", [60, 5000])
def test_neither_tiles_nor_windows_change_it(monkeypatch, lists, tile):
    stored = vectors(1300)
    expected = brute_force(stored, 7, others(1300))
    monkeypatch.setattr(sweep, "_LIST_BYTES", lists)  # windows of one block, of a few, of all
    monkeypatch.setattr(sweep, "_TILE", tile)
    search = NeighbourSearch(stored, 7, block=100)
    same(table(search), expected)
    for number, *found in search.search([3, 4, 9]):  # as after a kill
        same(found, [part[search.blocks()[number]] for part in expected])


def test_a_bound_that_was_too_high_costs_time_and_no_neighbour(monkeypatch):
    stored = vectors(1000)
    too_high = lambda scores, wanted, of: np.full(len(scores), 0.9, np.float32)  # noqa: E731
    monkeypatch.setattr(sweep, "likely_bounds", too_high)
    same(table(NeighbourSearch(stored, 7)), brute_force(stored, 7, others(1000)))


def test_each_pair_of_rows_is_multiplied_once(monkeypatch):
    stored, multiplied = vectors(1200), []
    multiply = sweep.Sweep._multiply

    def counted(self, queries, pool, tile):
        multiplied.append(tile.size)
        multiply(self, queries, pool, tile)

    monkeypatch.setattr(sweep.Sweep, "_multiply", counted)
    list(NeighbourSearch(stored, 7, block=100).search())
    assert sum(multiplied) == 1200 * 1300 / 2


@given(
    st.integers(1, 6),
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=60), max_size=8),
)
def test_candidates_hold_the_best_of_what_came(wanted, rounds):
    lists, offered, place = Candidates(5, wanted), [[] for _ in range(5)], 0
    for entries in rounds:
        entries = sorted(entries, key=lambda entry: entry[0])
        rows = np.array([row for row, _ in entries], dtype=np.int64)
        scores = np.array([score for _, score in entries], dtype=np.float32)
        places = np.arange(place, place + len(rows))
        place += len(rows)
        for row, at, score in zip(rows, places, scores):
            offered[row].append((float(score), int(at)))
        lists.add(rows, places, scores)
    scores, places, reach = lists.take(0, 5)
    for row, known in enumerate(offered):
        held = [(float(s), int(p)) for s, p in zip(scores[row], places[row]) if p >= 0]
        assert len(set(held)) == len(held) == min(wanted, len(known))
        assert set(held) <= set(known)
        assert sorted(s for s, _ in held) == sorted(s for s, _ in known)[-len(held) or None :]
        assert all(score <= reach[row] for score, at in known if (score, at) not in held)


def test_likely_bounds_let_through_what_is_wanted_and_not_much_more():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((200, 20_000)).astype(np.float32)
    sampled = scores[:, rng.choice(20_000, 2000, replace=False)]
    above = (scores > likely_bounds(sampled, 100, 20_000)[:, None]).sum(axis=1)
    assert above.min() >= 100
    assert above.mean() < 300
    assert np.isneginf(likely_bounds(sampled[:, :2], 100, 20_000)).all()


@pytest.mark.parametrize("distinct", [1, 3, 40])
def test_ties_come_in_row_order_however_wide(distinct):
    stored = vectors(distinct, 8)[np.random.default_rng(1).integers(0, distinct, 900)]
    same(table(NeighbourSearch(stored, 6)), brute_force(stored, 6, others(900)))


def test_scores_are_those_of_the_exact_index():
    stored = vectors(1500, 48)
    scores, rows = table(NeighbourSearch(stored, 9))
    index = ExactIndex([str(row) for row in range(1500)], stored)
    expected = index.search(stored, 9, exclude=np.arange(1500))
    same((scores, rows), expected)


def test_rules_keep_apart_what_they_say_and_no_more():
    rng = np.random.default_rng(3)
    stored = vectors(400)
    apart, other, within = (rng.integers(-1, top, 400) for top in (60, 5, 4))
    unlike = lambda codes: (codes[:, None] != codes) | (codes[:, None] < 0)  # noqa: E731
    alike = (within[:, None] == within) & (within[:, None] >= 0)
    allowed = others(400) & unlike(apart) & unlike(other) & alike
    search = NeighbourSearch(stored, 12, rules=Rules(apart, other, within))
    assert sorted(np.concatenate(search.blocks()).tolist()) == list(range(400))
    same(table(search), brute_force(stored, 12, allowed))


# -- diversity -----------------------------------------------------------------------------------


def marginal_relevance(stored, query, candidates, scores, k, relevance):
    """Carbonell & Goldstein, word for word."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(candidates)):
        gains = {
            place: relevance * scores[place]
            - (1 - relevance)
            * max((float(stored[row] @ stored[candidates[s]]) for s in chosen), default=0.0)
            for place, row in enumerate(candidates)
            if place not in chosen
        }
        chosen.append(max(gains, key=lambda place: gains[place]))
    return [candidates[place] for place in chosen]


def test_full_relevance_is_the_plain_order():
    stored = vectors(300)
    plain = table(NeighbourSearch(stored, 10))
    near = table(NeighbourSearch(stored, 10, relevance=1 - 1e-9))
    same(near, plain)


def test_diversity_is_maximal_marginal_relevance():
    stored = vectors(200, 6)
    _, rows = table(NeighbourSearch(stored, 8, relevance=0.4))
    scores, pool = table(NeighbourSearch(stored, 24))
    for row in range(0, 200, 20):
        wanted = marginal_relevance(stored, row, pool[row].tolist(), scores[row], 8, 0.4)
        assert rows[row].tolist() == wanted


def test_diversity_takes_each_neighbour_once_where_there_are_few():
    stored = vectors(5)
    scores, rows = table(NeighbourSearch(stored, 8, relevance=0.5))
    for row in range(5):
        assert sorted(rows[row][rows[row] >= 0].tolist()) == [r for r in range(5) if r != row]
        assert np.isneginf(scores[row][4:]).all()


# -- the table on disk ---------------------------------------------------------------------------


@pytest.fixture
def stored() -> Embeddings:
    return Embeddings([f"i{n}" for n in range(500)], vectors(500), {"model": "m"})


def test_the_table_holds_what_the_search_found(stored, tmp_path):
    steps = list(write_neighbours(stored, tmp_path / "n.parquet", 6, block=120))
    assert steps[-1] == (5, 5)
    scores, rows = table(NeighbourSearch(stored.vectors, 6))
    read = read_neighbours(tmp_path / "n.parquet")
    assert read.ids == stored.ids
    assert read.neighbours == [[f"i{n}" for n in row] for row in rows]
    np.testing.assert_array_equal(np.stack(read.scores), scores)
    assert [path.name for path in tmp_path.iterdir()] == ["n.parquet"]


def test_a_stopped_search_goes_on_and_ends_in_the_same_bytes(stored, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
    list(write_neighbours(stored, whole, 6, block=50))
    steps = write_neighbours(stored, stopped, 6, block=50)
    for _ in range(5):
        next(steps)
    steps.close()
    assert not stopped.exists()
    with (tmp_path / ".stopped.parquet.work" / "done").open("a") as done:
        done.write("7")  # a kill in the middle of a line counts for nothing
    steps = list(write_neighbours(stored, stopped, 6, block=50))
    assert steps == [(done, 10) for done in range(4, 11)]
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_cut_entry_joins_no_other(stored, tmp_path):
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
    list(write_neighbours(stored, whole, 6, block=40))  # 13 blocks
    for count in (2, 3):
        steps = write_neighbours(stored, stopped, 6, block=40)
        for _ in range(count):
            next(steps)
        steps.close()
        with (tmp_path / ".stopped.parquet.work" / "done").open("a") as done:
            done.write("1")  # all that fitted of "1;": with that one behind it, block 11
    list(write_neighbours(stored, stopped, 6, block=40))
    assert stopped.read_bytes() == whole.read_bytes()


def refusing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_full_disk_is_told_and_left_as_it_was(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"\(No space left on device\); free some space"):
        next(write_neighbours(stored, tmp_path / "n.parquet", 6))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reserves", [True, False])
def test_the_arrays_have_their_space_before_they_are_mapped(
    stored, tmp_path, monkeypatch, reserves
):
    if not reserves:
        monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP))
    next(write_neighbours(stored, tmp_path / "n.parquet", 600, block=10))
    for name, width in (("rows", 8), ("scores", 4)):
        about = (tmp_path / ".n.parquet.work" / name).stat()
        assert about.st_size == 500 * 600 * width <= 512 * about.st_blocks


def test_other_vectors_or_options_begin_anew(stored, tmp_path):
    out = tmp_path / "n.parquet"
    steps = write_neighbours(stored, out, 6, block=50)
    assert [next(steps), next(steps)] == [(0, 10), (1, 10)]
    steps.close()
    other = Embeddings(stored.ids, vectors(500, seed=9), {"model": "m"})
    list(write_neighbours(other, out, 4))
    assert read_neighbours(out).neighbours[0] == [
        f"i{n}" for n in table(NeighbourSearch(other.vectors, 4))[1][0]
    ]


def test_one_search_at_a_time_writes_a_table(stored, tmp_path):
    out = tmp_path / "n.parquet"
    first = write_neighbours(stored, out, 6, block=50)
    next(first), next(first)
    for k in (6, 4):  # the same and another
        with pytest.raises(StorageError, match=r"n\.parquet is being written by another search"):
            next(write_neighbours(stored, out, k, block=50))
    assert list(first)[-1] == (10, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["n.parquet"]
    assert len(read_neighbours(out).neighbours[0]) == 6


def test_a_thread_that_fails_stops_the_others(monkeypatch):
    monkeypatch.setattr(sweep, "product_threads", lambda: 2)
    monkeypatch.setattr(sweep, "_TILE", 10)
    multiplied = []

    def multiply(self, queries, pool, tile):
        if queries[0, 0] == found.vectors[0, 0]:
            raise MemoryError
        multiplied.append(len(pool))
        time.sleep(0.001)

    monkeypatch.setattr(sweep.Sweep, "_multiply", multiply)
    found = NeighbourSearch(vectors(4000), 5)
    with pytest.raises(MemoryError):
        next(found.search())
    assert len(multiplied) < 100  # of 400


@pytest.mark.parametrize("scale", [1e-22, 3e-23, 1e15])
def test_what_float32_loses_near_its_ends_costs_no_neighbour(scale):
    stored = (np.random.default_rng(5).standard_normal((1500, 64)) * scale).astype(np.float32)
    same(table(NeighbourSearch(stored, 10)), brute_force(stored, 10, others(1500)))


def test_wrong_input_is_one_clear_sentence(stored, tmp_path):
    with pytest.raises(ConfigError, match="block is 0"):
        NeighbourSearch(stored.vectors, 1, block=0)
    with pytest.raises(StorageError, match=r"a vector is 1e\+19 long"):
        NeighbourSearch(stored.vectors * 1e19, 1)
    with pytest.raises(ConfigError, match="k is 0"):
        NeighbourSearch(stored.vectors, 0)
    with pytest.raises(ConfigError, match="relevance is 0"):
        NeighbourSearch(stored.vectors, 1, relevance=0)
    with pytest.raises(StorageError, match="3 codes came with 500 vectors"):
        NeighbourSearch(stored.vectors, 1, rules=Rules(apart=np.arange(3)))
    with pytest.raises(StorageError, match="nothing"):
        read_neighbours(tmp_path / "nothing.parquet")

"""Batches without a repeated item, each pair in its turn, all from one seed; known positives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tgqformer.errors import CatalogError
from tgqformer.training.data import KnownPositives, PairBatches, share


def random_pairs(pairs: int, items: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    query = rng.integers(0, items, pairs)
    return query, (query + rng.integers(1, items, pairs)) % items


def batches(query, target, size, seed, count) -> list[list[tuple[int, int]]]:
    made = PairBatches(query, target, size, seed)
    return [list(zip(*(x.tolist() for x in made.batch(step)))) for step in range(count)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("pairs", "items", "size"), [(40, 30, 5), (200, 40, 12), (300, 600, 64)])
def test_no_item_twice_in_a_batch(pairs, items, size, seed):
    query, target = random_pairs(pairs, items, seed)
    known = set(zip(query.tolist(), target.tolist()))
    for batch in batches(query, target, size, seed, 40):
        assert len(batch) == size
        assert set(batch) <= known
        assert len({row for pair in batch for row in pair}) == 2 * size


def test_every_pair_once_an_epoch_but_for_those_left_over():
    query, target = np.arange(10), np.arange(10, 20)  # no pair stands in another's way
    made = batches(query, target, 4, 0, 10)
    first = [pair for batch in made[:2] for pair in batch]
    assert len(set(first)) == 8
    left_over = set(zip(range(10), range(10, 20))) - set(first)
    assert left_over <= set(made[2])
    for epochs in (2, 4):
        seen = Counter(pair for batch in made[: epochs * 10 // 4] for pair in batch)
        assert len(seen) == 10
        assert max(seen.values()) - min(seen.values()) <= 1


def test_pairs_that_share_items_take_turns():
    query, target = random_pairs(120, 50)
    seen = Counter(pair for batch in batches(query, target, 10, 0, 120) for pair in batch)
    wanted = Counter(zip(query.tolist(), target.tolist()))
    assert seen.keys() == wanted.keys()
    turns = [seen[pair] / wanted[pair] for pair in wanted]
    assert max(turns) - min(turns) <= 3  # of 10 epochs


def test_a_popular_item_waits_and_nobody_is_forgotten():
    """Nine pairs of one item and one pair beside them: a batch of two holds one of the nine."""
    query = np.array([0] * 9 + [10])
    target = np.arange(1, 11)
    target[-1] = 11
    made = batches(query, target, 2, 0, 36)
    assert all((10, 11) in batch for batch in made)
    seen = Counter(pair for batch in made for pair in batch if pair != (10, 11))
    assert len(seen) == 9
    assert max(seen.values()) - min(seen.values()) <= 2


def test_a_seed_gives_one_order_however_it_is_asked_for():
    query, target = random_pairs(60, 40)
    forward = PairBatches(query, target, 8, seed=3)
    ahead = PairBatches(query, target, 8, seed=3)
    late = [ahead.batch(step) for step in (25, 3, 0, 25)]
    for got, step in zip(late, (25, 3, 0, 25)):
        assert all(np.array_equal(a, b) for a, b in zip(got, forward.batch(step)))
    other = PairBatches(query, target, 8, seed=4)
    assert not np.array_equal(other.batch(0)[0], forward.batch(0)[0])
    assert not np.array_equal(forward.batch(0)[0], forward.batch(1)[0])


def test_too_few_items_for_a_batch():
    query, target = random_pairs(100, 10)
    with pytest.raises(CatalogError, match="A batch of 8 pairs needs 16 different items, and the"):
        PairBatches(query, target, 8, 0)


def test_pairs_that_all_share_an_item():
    star = PairBatches(np.zeros(9, dtype=np.int64), np.arange(1, 10), 2, 0)
    with pytest.raises(CatalogError, match="No batch of 2 pairs .* lower training.batch_size"):
        star.batch(0)


def test_a_batch_of_all_pairs():
    query, target = np.arange(5), np.arange(5, 10)
    for batch in batches(query, target, 5, 0, 4):
        assert len(set(batch)) == 5


def test_known_positives_by_hand():
    query, target = random_pairs(50, 12, seed=1)
    known = KnownPositives(query, target, 12)
    rows = np.array([3, 7, 3, 0, 11, 5])
    pairs = set(zip(query.tolist(), target.tolist()))
    mask = known.mask(rows)
    for i, a in enumerate(rows.tolist()):
        for j, b in enumerate(rows.tolist()):
            assert mask[i, j] == (a == b or (a, b) in pairs or (b, a) in pairs)


def test_variants_are_no_negatives_of_one_another():
    query, target = random_pairs(20, 12, seed=2)
    groups = np.array([0, 0, 0, -1, -1, 3, 3, -1, 4, 5, 5, -1])
    rows = np.arange(12)
    alone = KnownPositives(query, target, 12).mask(rows)
    same = (groups[:, None] == groups[None, :]) & (groups >= 0)[:, None]
    assert np.array_equal(KnownPositives(query, target, 12, groups).mask(rows), alone | same)
    assert np.array_equal(KnownPositives(query, target, 12, np.full(12, -1)).mask(rows), alone)


def test_nothing_is_known_without_pairs():
    none = np.empty(0, dtype=np.int64)
    assert np.array_equal(KnownPositives(none, none, 5).mask(np.arange(5)), np.eye(5, dtype=bool))


def test_codes_do_not_overflow():
    items = 3_000_000_000
    known = KnownPositives(np.array([items - 1]), np.array([items - 2]), items)
    assert known.mask(np.array([items - 1, items - 2, 5]))[0].tolist() == [True, True, False]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_shares_make_up_the_batch(processes):
    sizes = [8, 8, 4]
    parts = [share(sizes, rank, processes) for rank in range(processes)]
    joined = np.concatenate([mine for mine, _ in parts])
    assert sorted(joined.tolist()) == list(range(20))
    assert len({len(mine) for mine, _ in parts}) == 1
    for _, order in parts:
        assert joined[order].tolist() == list(range(20))

"""Laws of splits: each keeps its promise on any catalog; the leak check names what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.photos import find_placeholders, photo_groups, placeholder_limit
from tgqformer.catalog.splits import (
    check_leaks,
    split_by_time,
    split_cold,
    split_random,
    split_warm,
    time_cuts,
)
from tgqformer.errors import CatalogError, ConfigError

# A shared machine may be slow at any moment; that is no fault of the code.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Few items, few distinct photos, many pairs: all that could go wrong does."""
    size = draw(st.integers(2, 14))
    photos = st.lists(st.sampled_from([b"one", b"two", b"six", b"four", b"five"]), max_size=2)
    items = [Item(f"i{i}", images=tuple(draw(photos))) for i in range(size)]
    position = st.integers(0, size - 1)
    edges = st.tuples(position, position).filter(lambda edge: edge[0] != edge[1])
    drawn = draw(st.lists(edges, unique=True, max_size=30))
    return Catalog(items, [Pair(f"i{query}", f"i{target}") for query, target in drawn])


SHARES = st.sampled_from([(0.1, 0.1), (0.3, 0.3), (0.0, 0.5), (0.4, 0.0)])


@given(catalogs(), SHARES, st.integers(0, 3))
@settings(RELAXED, max_examples=50)
def test_a_random_split_keeps_queries_apart(
    catalog: Catalog, shares: tuple[float, float], seed: int
) -> None:
    split = split_random(catalog, val=shares[0], test=shares[1], seed=seed)
    assert check_leaks(split, promise="query") == []
    assert {(p.query_id, p.target_id) for p in split.pairs} <= {
        (p.query_id, p.target_id) for p in catalog.pairs
    }
    assert split.pairs == split_random(catalog, val=shares[0], test=shares[1], seed=seed).pairs


@given(catalogs(), SHARES, st.integers(0, 3))
@settings(RELAXED, max_examples=50)
def test_a_cold_split_hides_items(catalog: Catalog, shares: tuple[float, float], seed: int) -> None:
    split = split_cold(catalog, val=shares[0], test=shares[1], seed=seed)
    assert check_leaks(split, promise="cold") == []


@given(catalogs(), SHARES, st.booleans(), st.data())
@settings(RELAXED, max_examples=50)
def test_a_split_by_time_keeps_the_order_of_time(
    catalog: Catalog, shares: tuple[float, float], new: bool, data: st.DataObject
) -> None:
    count = len(catalog.pairs)
    times = data.draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    split = split_by_time(catalog, times, val=shares[0], test=shares[1], new_queries=new)
    assert check_leaks(split, promise="query" if new else "warm") == []
    when = {(p.query_id, p.target_id): t for p, t in zip(catalog.pairs, times)}
    moments = {
        name: [when[p.query_id, p.target_id] for p in split.pairs if p.split == name]
        for name in ("train", "val", "test")
    }
    for earlier, later in (("train", "val"), ("val", "test"), ("train", "test")):
        if moments[earlier] and moments[later]:
            assert max(moments[earlier]) < min(moments[later])


def shop(size: int = 400) -> Catalog:
    rng = np.random.default_rng(0)
    items = [Item(f"i{i}", images=(b"photo %d" % i,)) for i in range(size)]
    edges = {(int(a), int(b)) for a, b in rng.integers(0, size, (2 * size, 2)) if a != b}
    return Catalog(items, [Pair(f"i{a}", f"i{b}") for a, b in sorted(edges)])


def test_the_shares_are_met() -> None:
    catalog = shop()
    queries = split_random(catalog, val=0.2, test=0.3).describe()["queries"]
    total = sum(queries.values())
    assert queries["test"] == pytest.approx(0.3 * total, abs=3)
    assert queries["val"] == pytest.approx(0.2 * total, abs=3)
    times = np.arange(len(catalog.pairs), dtype=np.float64)
    pairs = split_by_time(catalog, times, val=0.2, test=0.3, new_queries=False).describe()["pairs"]
    assert pairs["test"] == pytest.approx(0.3 * len(times), abs=3)


def test_a_test_query_keeps_all_its_targets() -> None:
    edges = [(f"i{a}", f"i{b}") for a in range(30) for b in range(30) if a != b]
    catalog = Catalog([Item(f"i{i}") for i in range(30)], [Pair(a, b) for a, b in edges])
    split = split_random(catalog, val=0.0, test=0.2)
    query, _, _ = split.pair_indices("test")
    assert set(np.bincount(query)[np.unique(query)].tolist()) == {29}


def test_another_seed_gives_another_split() -> None:
    assert split_random(shop(), seed=0).pairs != split_random(shop(), seed=1).pairs


def test_time_cuts_never_part_equal_times() -> None:
    cuts = time_cuts(np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 2, 3]), val=0.1, test=0.4)
    assert cuts.tolist() == [1.0, 1.0]
    assert time_cuts(np.arange(10.0), val=0.2, test=0.1).tolist() == [7.0, 9.0]
    assert time_cuts(np.arange(10.0), val=0.0, test=0.0).tolist() == [np.inf, np.inf]


LEAKS = {
    "pair in two splits": ([("a", "b", "train"), ("a", "b", "test")], "warm", "a -> b"),
    "reversed pair in two splits": ([("a", "b", "train"), ("b", "a", "test")], "warm", "b -> a"),
    "query in two splits": ([("a", "b", "train"), ("a", "c", "test")], "query", "a"),
    "photo of queries in two splits": (
        [("a", "b", "train"), ("twin", "c", "test")],
        "query",
        "twin",
    ),
    "cold query in pairs": ([("b", "a", "train"), ("a", "c", "test")], "cold", "a"),
    "photo of a cold query in pairs": (
        [("b", "a", "train"), ("twin", "c", "test")],
        "cold",
        "twin",
    ),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_each_leak_is_named(kind: str) -> None:
    edges, promise, example = LEAKS[kind]
    items = [Item("a", images=(b"same",)), Item("b"), Item("c"), Item("twin", images=(b"same",))]
    catalog = Catalog(items, [Pair(a, b, 1.0, split) for a, b, split in edges])
    found = {leak.kind: leak for leak in check_leaks(catalog, promise=promise)}
    assert str(found[kind]) == f"{kind}, train and test: 1 ({example})"


def test_variants_in_two_splits_are_leaks() -> None:
    items = [Item(name) for name in "abcde"]
    labels = pl.DataFrame({"item_id": list("abcde"), "item_group_id": ["P", "P", "Q", "Q", None]})
    pairs = [Pair("a", "c"), Pair("b", "e", 1.0, "test"), Pair("c", "e", 1.0, "test")]
    catalog = Catalog(items, pairs, labels)
    assert [str(leak) for leak in check_leaks(catalog)] == [
        "variant of queries in two splits, train and test: 1 (b)"
    ]
    cold = {leak.kind: leak.examples for leak in check_leaks(catalog, promise="cold")}
    assert cold["variant of a cold query in pairs"] == ("b",)
    assert cold["cold query in pairs"] == ("c",)
    twice = Catalog(items, [Pair("a", "c"), Pair("b", "d", 1.0, "test")], labels)
    assert [leak.kind for leak in check_leaks(twice, promise="warm")] == ["pair in two splits"]


def test_a_pair_told_by_twins_is_one_pair() -> None:
    items = [Item("a", images=(b"same",)), Item("twin", images=(b"same",)), Item("b")]
    catalog = Catalog(items, [Pair("a", "b"), Pair("twin", "b", 1.0, "test")])
    assert [leak.kind for leak in check_leaks(catalog, promise="warm")] == ["pair in two splits"]


def test_photo_groups_join_by_chains_and_by_bytes_alone(tmp_path: Path) -> None:
    for name, data in (("a", b"xx"), ("b", b"xx"), ("c", b"yy"), ("d", b"zzz")):
        (tmp_path / name).write_bytes(data)
    items = [
        Item("0", images=(tmp_path / "a",)),
        Item("1", images=(tmp_path / "b", tmp_path / "c")),
        Item("2", images=(b"yy",)),
        Item("3", images=(tmp_path / "d",)),
        Item("4", images=(tmp_path / "gone",)),
        Item("5"),
        Item("6", images=(b"ww", b"ww")),
    ]
    assert photo_groups(items).tolist() == [0, 0, 0, 3, 4, 5, 6]


def test_a_placeholder_joins_nothing() -> None:
    items = [Item(str(i), images=(b"no image yet",)) for i in range(5)]
    assert photo_groups(items, placeholder_after=5).tolist() == [0] * 5
    assert photo_groups(items, placeholder_after=4).tolist() == [0, 1, 2, 3, 4]


def test_bad_arguments() -> None:
    catalog = shop(10)
    for val, test in ((0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)):
        with pytest.raises(ConfigError, match="make their sum less than 1"):
            split_random(catalog, val=val, test=test)
    with pytest.raises(CatalogError, match="0 finite times for"):
        split_by_time(catalog, [])
    with pytest.raises(ConfigError, match="'luke' is no promise of a split"):
        check_leaks(catalog, promise="luke")


@pytest.mark.parametrize("carriers", [12, 18, 25, 90, 240])
@pytest.mark.parametrize("cut", [split_random, split_cold])
def test_a_photo_of_many_items_moves_no_share(carriers: int, cut: Callable[..., Catalog]) -> None:
    rng = np.random.default_rng(1)
    photos = [b"none yet" if i < carriers else b"photo %d" % i for i in range(300)]
    items = [Item(f"i{i}", images=(photo,)) for i, photo in enumerate(photos)]
    edges = {(int(a), int(b)) for a, b in rng.integers(0, 300, (2_000, 2)) if a != b}
    catalog = Catalog(items, [Pair(f"i{a}", f"i{b}") for a, b in sorted(edges)])
    for seed in range(5):
        queries = cut(catalog, val=0.1, test=0.1, seed=seed).describe()["queries"]
        assert queries["val"] == pytest.approx(30, abs=3)
        assert queries["test"] == pytest.approx(30, abs=3)


def test_what_counts_as_a_placeholder_goes_by_the_size_of_the_catalog() -> None:
    assert [placeholder_limit(size) for size in (10, 300, 1_000, 10_000)] == [20, 20, 50, 100]
    items = [Item(str(i), images=(b"none" if i < 21 else b"photo %d" % i,)) for i in range(300)]
    assert photo_groups(items).tolist() == list(range(300))
    assert [(p.photo, p.items) for p in find_placeholders(items)] == [("a photo of 4 bytes", 21)]
    assert find_placeholders(items[1:]) == []


def test_a_warm_split_holds_out_pairs_and_leaves_each_item_a_partner() -> None:
    names = [f"w{number}" for number in range(30)]
    pairs = [Pair(names[a], names[b], float(1 + (a + b) % 3)) for a in range(30) for b in range(a)]
    pairs += [Pair(pair.target_id, pair.query_id, pair.weight) for pair in pairs[:200]]
    pairs.append(Pair("cold", "w0", 1.0, "test"))
    catalog = Catalog([Item(name) for name in [*names, "cold", "lone", "pal"]], pairs)
    catalog = catalog.with_pairs([*catalog.pairs, Pair("lone", "pal", 3.0)])
    warm = split_warm(catalog, val=0.1, test=0.2, min_weight=2.0)
    assert sorted(map(_ends, warm.pairs)) == sorted(map(_ends, catalog.pairs))
    by_split = {
        split: {frozenset(_ends(p)) for p in warm.pairs if p.split == split}
        for split in ("train", "val", "test")
    }
    assert not by_split["train"] & by_split["test"], "a pair goes with its reverse"
    assert not by_split["train"] & by_split["val"]
    assert not by_split["val"] & by_split["test"]
    assert frozenset(("cold", "w0")) in by_split["test"], "what was held out before stays"
    heavy = {frozenset(_ends(p)) for p in catalog.pairs if p.split == "train" and p.weight >= 2}
    assert by_split["val"] | by_split["test"] <= heavy | {frozenset(("cold", "w0"))}
    assert len(by_split["test"]) - 1 == round(0.2 * len(heavy))
    assert frozenset(("lone", "pal")) in by_split["train"], "its only partner"
    kept = {name for ends in by_split["train"] for name in ends}
    assert set(names) <= kept
    again = split_warm(catalog, val=0.1, test=0.2, min_weight=2.0)
    assert again.pair_table.equals(warm.pair_table)


def _ends(pair: Pair) -> tuple[str, str]:
    return pair.query_id, pair.target_id

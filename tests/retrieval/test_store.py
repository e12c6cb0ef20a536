"""Laws of the store: what was acknowledged is there, and the folder stays small."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lancedb.table import LanceTable

from tgqformer.errors import StorageError
from tgqformer.retrieval.filters import Filter, Metadata
from tgqformer.retrieval.store import LanceStore

DIMS = 8


def vectors(count: int, seed: int = 0, dims: int = DIMS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def built(path: Path, count: int = 30, dims: int = DIMS) -> LanceStore:
    ids = [f"item-{row}" for row in range(count)]
    return LanceStore.build(path, [(ids, vectors(count, dims=dims), None)], dims=dims, model="m")


def contents(store: LanceStore) -> dict[str, list[float]]:
    rows = store.changes().rows
    return {i: v.tolist() for part in rows for i, v in zip(part.ids, part.vectors)}


def test_what_is_written_is_read_by_another_handle(tmp_path):
    store = built(tmp_path / "store")
    assert (len(store), store.dims, store.info().model) == (30, DIMS, "m")
    other = LanceStore(tmp_path / "store")
    lamp = Metadata("Lamp", "O'Hara", "Home > Light", 9.5, True)
    store.upsert(["item-3", "new"], vectors(2, 1), [lamp, Metadata()])
    assert store.delete(["item-4", "nobody", "item-4"]) == 1
    other.refresh()
    expected = {f"item-{row}": v.tolist() for row, v in enumerate(vectors(30))}
    expected |= {"item-3": vectors(2, 1)[0].tolist(), "new": vectors(2, 1)[1].tolist()}
    del expected["item-4"]
    assert contents(other) == expected
    assert other.metadata(["item-3", "new", "item-4"]) == {"item-3": lamp, "new": Metadata()}
    # vectors alone leave what is known of an item
    store.upsert(["item-3"], vectors(1, 2))
    assert store.metadata(["item-3"]) == {"item-3": lamp}


def test_changes_are_what_changed_and_no_more(tmp_path):
    store = built(tmp_path / "store")
    table, version = store.newest()
    store.upsert(["item-1"], vectors(1, 1))
    store.delete(["item-2"])
    store.optimize()
    changes = store.changes(table, version)
    assert [part.ids for part in changes.rows] == [["item-1"]]
    assert changes.count == 29
    assert store.changes(table, changes.version).rows == []


def test_a_batch_that_does_not_fit_changes_nothing(tmp_path):
    store = built(tmp_path / "store")
    version = store.version
    for ids, stored, message in [
        (["a"], vectors(2), "1 ids came with 2 vectors"),
        (["a"], vectors(1, dims=5), "5 dimensions and the store 8"),
        (["a", "a"], vectors(2), "item 'a' comes twice"),
        ([""], vectors(1), "at least one character"),
        (["\ud800"], vectors(1), "not valid Unicode"),
        (["a"], vectors(1) * np.nan, "holds a NaN"),
    ]:
        with pytest.raises(StorageError, match=message):
            store.upsert(ids, stored)
    assert store.newest()[1] == version


def test_a_build_that_fails_leaves_the_old_store(tmp_path):
    root = tmp_path / "store"
    with pytest.raises(StorageError, match="is no store; make one"):
        LanceStore(root)
    store = built(root)
    twice = [(["a"], vectors(1), None), (["a"], vectors(1), None)]
    with pytest.raises(StorageError, match="is a store already"):
        LanceStore.build(root, twice, dims=DIMS)
    with pytest.raises(StorageError, match="item 'a' comes twice"):
        LanceStore.build(root, twice, dims=DIMS, replace=True)
    assert len(LanceStore(root)) == 30
    assert len(list(root.glob("*.lance"))) == 1
    LanceStore.build(root, [(["b"], vectors(1, dims=3), None)], dims=3, replace=True)
    store.refresh()
    assert (len(store), store.dims) == (1, 3)
    assert len(list(root.glob("*.lance"))) == 1


@pytest.mark.parametrize("late", [False, True], ids=["", "with old versions that look new"])
def test_many_small_writes_keep_the_folder_small(tmp_path, monkeypatch, late):
    calls: list[int] = []
    optimize = LanceTable.optimize

    def sometimes(table, *, cleanup_older_than, **options):
        calls.append(1)
        age = timedelta(days=1) if late and len(calls) % 2 else cleanup_older_than
        optimize(table, cleanup_older_than=age, **options)

    monkeypatch.setattr(LanceTable, "optimize", sometimes)
    ids = [f"i{row}" for row in range(2000)]
    store = LanceStore.build(tmp_path / "store", [(ids, vectors(2000, dims=32), None)], dims=32)
    largest = 0
    for step in range(30):
        part = slice(step * 60, step * 60 + 150)
        store.upsert(ids[part], vectors(150, step, 32), [Metadata()] * 150)
        largest = max(largest, store.info().bytes)
    assert store.info().versions < 30, "nothing was ever tidied up"
    store.optimize()
    assert largest <= 3 * store.info().bytes
    assert store.info().versions == 1
    assert len(store) == 2000


def test_a_folder_shrinks_with_its_rows(tmp_path):
    ids = [f"i{row}" for row in range(4000)]
    store = LanceStore.build(tmp_path / "store", [(ids, vectors(4000, dims=64), None)], dims=64)
    before = store.info().bytes
    store.delete(ids[1000:])
    after = store.info()
    assert after.items == 1000
    assert after.bytes < 0.5 * before


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        ["'", "''", "' OR '1'='1", "\\'", "\\", "x') --", "'; DROP TABLE items; --", "%", "_", "\n",
         "/*", "\x00", '"', "`brand`", "' OR true OR '", "$1", "?", "{brand}"]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> LanceStore:
    return built(tmp_path_factory.mktemp("small") / "store", 3)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(hostile=st.lists(HOSTILE, min_size=2, max_size=2, unique=True))
def test_hostile_text_is_only_compared(small, hostile):
    """Ids, brands and categories come back as they went in, and match nothing but themselves."""
    one, two = hostile
    small.upsert([one], vectors(1), [Metadata(brand=one, category=one)])
    assert small.ids(Filter(brands=(one,))) == [one]
    assert small.ids(Filter(brands=(two,))) == []
    assert small.ids(Filter(categories=(one,))) == [one]
    assert small.delete([two]) == 0
    assert small.delete([one]) == 1
    assert sorted(small.ids()) == ["item-0", "item-1", "item-2"]

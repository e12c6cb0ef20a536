"""Laws of every VectorStore: what it answers is what a scan of its items would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.protocols import (
    Details,
    Filter,
    Metadata,
    VectorStore,
    build_store,
    open_index,
    open_store,
)

DIMS = 8
BRANDS = ("Acme", 'O\'Hara "x" %', "' OR 1=1 --", "")
CATEGORIES = ("Home", "Home > Light", "Homeware", "Ünï > ко", "")


def local(folder: Path) -> VectorStore:
    build_store(folder / "local", [], dims=DIMS)
    return open_index(folder / "local")


def qdrant(folder: Path) -> VectorStore:
    pytest.importorskip("qdrant_client")
    build_store(f"qdrant://{folder}/cluster/items", [], dims=DIMS, model="m").close()
    return open_index(f"qdrant://{folder}/cluster/items")


STORES = [local, qdrant]


@pytest.fixture(params=STORES, ids=["local", "qdrant"])
def store(request, tmp_path) -> Iterator[VectorStore]:
    made = request.param(tmp_path)
    yield made
    made.close()


def scan(state, query, k, where):
    passing = {i: v for i, (v, m) in state.items() if where is None or where.matches(m)}
    scores = {i: float(v @ query) for i, v in passing.items()}
    return sorted(scores.items(), key=lambda entry: -entry[1])[:k]


def test_a_store_answers_as_a_scan_of_its_items(store):
    rng = np.random.default_rng(0)
    state: dict[str, tuple[np.ndarray, Metadata]] = {}
    for step in range(4):
        ids = [f'it\'em "{row}" é' for row in rng.choice(60, 30, replace=False)]
        rows = rng.standard_normal((30, DIMS)).astype(np.float32)
        known = [
            Metadata(
                f"title {row}",
                BRANDS[rng.integers(len(BRANDS))],
                CATEGORIES[rng.integers(len(CATEGORIES))],
                [None, 0.0, 2.5, 4.0][rng.integers(4)],
                [None, True, False][rng.integers(3)],
            )
            for row in range(30)
        ]
        if step == 3:  # vectors alone leave what is known of an item
            store.upsert(ids, rows)
            known = [state[i][1] if i in state else Metadata() for i in ids]
        else:
            store.upsert(ids, rows, known)
        state |= dict(zip(ids, zip(rows, known)))
        gone = [*ids[:5], "nobody"]
        assert store.delete([*gone, ids[0]]) == 5
        state = {i: entry for i, entry in state.items() if i not in gone}
        assert len(store) == len(state)
    filters = [
        None,
        Filter(),
        Filter(categories=("Home",)),
        Filter(categories=("Ünï", "Homeware"), in_stock=True),
        Filter(brands=(BRANDS[1], BRANDS[2])),
        Filter(brands=("",), max_price=2.5),
        Filter(min_price=0.0, max_price=3.0),
        Filter(in_stock=False),
        Filter(brands=("nobody' OR '1'='1",)),
    ]
    queries = rng.standard_normal((3, DIMS)).astype(np.float32)
    for where in filters:
        for found, query in zip(store.search(queries, 7, where), queries):
            expected = scan(state, query, 7, where)
            assert [n.item_id for n in found] == [i for i, _ in expected], where
            assert [n.score for n in found] == pytest.approx([s for _, s in expected], abs=1e-5)
        passing = sorted(i for i, (_, m) in state.items() if where is None or where.matches(m))
        ids, total = store.listed(where or Filter(), 1, 4)
        assert (ids, total) == (passing[1:5], len(passing)), where
    ids, vectors = store.sample(1000)
    assert ids == sorted(state)
    np.testing.assert_allclose(vectors, np.stack([state[i][0] for i in ids]), rtol=1e-6)
    for own in ids[:5]:
        expected = scan({i: e for i, e in state.items() if i != own}, state[own][0], 6, None)
        assert [n.item_id for n in store.similar(own, 6)] == [i for i, _ in expected]
        assert own in store
    assert {i: one.metadata for i, one in store.records(ids).items()} == store.metadata(ids)
    assert store.metadata(ids) == {i: m for i, (_, m) in state.items()}
    assert (store.info().items, store.info().dims) == (len(state), DIMS)


def test_attributes_and_photos_go_with_their_item(store):
    rows = np.eye(DIMS, dtype=np.float32)[:2]
    told = Details({"colour": "red", "'": "x"}, (b"\xff one", b"two"))
    with store.writing():
        store.upsert(["a", "b"], rows, None, [told, Details({}, ())])
    assert (store.details("a"), store.details("b")) == (told, Details({}, ()))
    store.upsert(["a", "b"], rows, [Metadata("T")] * 2, [None, told])
    assert (store.details("a"), store.details("b")) == (told, told)
    store.upsert(["a"], rows[:1])
    assert (store.details("a"), store.details("c")) == (None, None)
    assert store.metadata(["a"]) == {"a": Metadata("T")}


def test_wrong_input_is_one_clear_sentence(store):
    assert store.dims == DIMS
    with pytest.raises(StorageError, match="3 dimensions and the store 8"):
        store.upsert(["a"], np.ones((1, 3)))
    with pytest.raises(StorageError, match="comes twice"):
        store.upsert(["a", "a"], np.ones((2, DIMS)))
    with pytest.raises(ConfigError, match="k is 0"):
        store.search(np.ones((1, DIMS)), 0)
    with pytest.raises(StorageError, match="no vector for item 'x'"):
        store.similar("x")
    with pytest.raises(StorageError, match="3 dimensions and the store 8"):
        store.search(np.ones((1, 3)), 1)
    assert len(store) == 0


def test_a_collection_is_made_opened_and_replaced_by_its_address(tmp_path):
    pytest.importorskip("qdrant_client")
    address = f"qdrant://{tmp_path}/cluster/items"
    for wrong in ("qdrant://host", "qdrant://", "qdrant://host:1/a/b"):
        with pytest.raises(ConfigError, match="write qdrant://HOST:PORT/COLLECTION"):
            open_store(wrong)
    with pytest.raises(StorageError, match="make it with `tgqformer index build`"):
        open_store(address)
    made = build_store(address, [(["a"], np.ones((1, 4)), None)], dims=4, model="digest")
    assert (len(made), made.dims, made.model) == (1, 4, "digest")
    made.close()
    with pytest.raises(StorageError, match="is a store already"):
        build_store(address, [], dims=4)
    replaced = build_store(address, [], dims=3, replace=True)
    assert (len(replaced), replaced.dims, replaced.model) == (0, 3, "")
    replaced.close()

"""Laws of every VectorStore: what it answers is what a scan of its items would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.protocols import Filter, Metadata, VectorStore
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store

DIMS = 8
BRANDS = ("Acme", 'O\'Hara "x" %', "' OR 1=1 --", "")
CATEGORIES = ("Home", "Home > Light", "Homeware", "Ünï > ко", "")


def lance(folder: Path) -> VectorStore:
    Store.build(folder / "lance", [], dims=DIMS)
    return LocalIndex(folder / "lance")


def qdrant(folder: Path) -> VectorStore:
    pytest.importorskip("qdrant_client")
    from tgqformer.retrieval.qdrant import QdrantStore

    return QdrantStore(":memory:", "items", DIMS, exact=True)


def milvus(folder: Path) -> VectorStore:
    pytest.importorskip("milvus_lite")
    pytest.importorskip("pymilvus")
    from tgqformer.retrieval.milvus import MilvusStore

    return MilvusStore(str(folder / "milvus.db"), "items", DIMS)


# Milvus Lite brings pandas and a server of its own, which takes seconds to load.
STORES = [lance, qdrant, pytest.param(milvus, marks=pytest.mark.slow)]


@pytest.fixture(params=STORES, ids=["lance", "qdrant", "milvus"])
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


def test_wrong_input_is_one_clear_sentence(store):
    assert store.dims == DIMS
    with pytest.raises(StorageError, match="3 dimensions and the store 8"):
        store.upsert(["a"], np.ones((1, 3)))
    with pytest.raises(StorageError, match="comes twice"):
        store.upsert(["a", "a"], np.ones((2, DIMS)))
    with pytest.raises(ConfigError, match="k is 0"):
        store.search(np.ones((1, DIMS)), 0)
    assert len(store) == 0

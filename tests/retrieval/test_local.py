"""Laws of the local index: whatever was done to it, it answers as one built just now."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval import ann as ann_module
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.flat import FlatIndex
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.retrieval.scores import from_int8, to_int8, unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Columns, Store

DIMS = 8
# Few different vectors, so that equal scores are common.
PALETTE = unit(np.random.default_rng(0).standard_normal((6, DIMS)))
BRANDS = ("Acme", "O'Hara", "")
CATEGORIES = ("Home", "Home > Light", "Homeware", "Toys > Blocks", "")


def drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[Metadata]]:
    rows = PALETTE[rng.integers(0, len(PALETTE), count)]
    known = [
        Metadata(
            brand=BRANDS[rng.integers(len(BRANDS))],
            category=CATEGORIES[rng.integers(len(CATEGORIES))],
            price=[None, 1.0, 2.5, 4.0][rng.integers(4)],
            in_stock=[None, True, False][rng.integers(3)],
        )
        for _ in range(count)
    ]
    return rows, known


def columns(ids, rows, known, first=0) -> Columns:
    seqs = range(first, first + len(ids))
    brands, categories, prices, stock = zip(
        *((m.brand, m.category, m.price, m.in_stock) for m in known)
    )
    return Columns(seqs, ids, brands, categories, prices, stock, rows)


def brute(state, query, k, where=None, exclude=None, precision="float32"):
    """The definition: a fresh exact index of what passes the filter, in id order."""
    ids = sorted(
        i for i, (_, m) in state.items() if i != exclude and (where is None or where.matches(m))
    )
    if not ids:
        return []
    stored = np.stack([state[i][0] for i in ids])
    if precision == "int8":
        stored = from_int8(to_int8(stored))
    scores, rows = ExactIndex(ids, stored).search(query[None], k)
    return [(ids[r], s) for r, s in zip(rows[0].tolist(), scores[0].tolist()) if r >= 0]


FILTERS = st.builds(
    Filter,
    categories=st.lists(st.sampled_from(CATEGORIES), max_size=2).map(tuple),
    brands=st.lists(st.sampled_from(BRANDS), max_size=2).map(tuple),
    min_price=st.sampled_from([None, 1.0, 2.0]),
    max_price=st.sampled_from([None, 2.5, 9.0]),
    in_stock=st.sampled_from([None, True, False]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.tuples(st.sampled_from(["put", "drop"]), st.integers(1, 40)), max_size=12),
    FILTERS,
    st.integers(1, 30),
    st.sampled_from(["float32", "int8"]),
)
def test_a_mirror_that_changed_answers_as_a_fresh_index(seed, steps, where, k, precision):
    rng = np.random.default_rng(seed)
    mirror, state = FlatIndex(DIMS, precision), {}
    for kind, count in steps:
        ids = [f"i{row}" for row in rng.choice(120, count, replace=False)]
        if kind == "put":
            rows, known = drawn(rng, count)
            mirror.put(columns(ids, rows, known))
            state |= dict(zip(ids, zip(rows, known)))
        else:
            mirror.drop(ids)
            state = {i: entry for i, entry in state.items() if i not in ids}
    query = unit(rng.standard_normal((1, DIMS)))[0]
    own = f"i{rng.integers(120)}"
    assert mirror.ids() == sorted(state)
    for condition in (None, where):
        found = mirror.search(query[None], k, condition, exclude=[own])[0]
        assert found == brute(state, query, k, condition, own, precision)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_candidates_and_blocks_do_not_change_the_answer(monkeypatch, precision):
    rng = np.random.default_rng(3)
    stored = unit(rng.standard_normal((700, DIMS)))
    stored[200:260] = stored[7]  # a tie wider than the candidates
    ids = [f"i{row}" for row in rng.permutation(700)]
    known = [Metadata(brand=BRANDS[row % 3]) for row in range(700)]
    mirror = FlatIndex(DIMS, precision)
    mirror.put(columns(ids, stored, known))
    monkeypatch.setattr("tgqformer.retrieval.scores._TILE_ROWS", 100)
    monkeypatch.setattr("tgqformer.retrieval.flat._SCORE_BYTES", 4 * 700 * 9)
    state = dict(zip(ids, zip(stored, known)))
    queries = np.concatenate([stored[5:9], unit(rng.standard_normal((20, DIMS)))])
    for where in (None, Filter(brands=("Acme", "O'Hara"))):
        found = mirror.search(queries, 10, where)
        assert found == [brute(state, q, 10, where, precision=precision) for q in queries]
        assert [mirror.search(q[None], 10, where)[0] for q in queries] == found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 300), st.sampled_from([1, 3, 8, 33, 256]))
def test_int8_answers_are_a_scans_however_the_query_lies(seed, count, dims):
    """Queries of one large value, of tiny ones, of none; vectors that are all alike."""
    rng = np.random.default_rng(seed)
    stored = unit(rng.standard_normal((count, dims)) * rng.choice([0, 0.01, 1]) + rng.integers(2))
    ids = [f"i{row}" for row in rng.permutation(count)]
    mirror = FlatIndex(dims, "int8")
    mirror.put(columns(ids, stored, [Metadata()] * count))
    query = rng.standard_normal(dims) * rng.choice([0, 1e-30, 1e-3, 1, 1e9], dims)
    query = query.astype(np.float32)
    state = {i: (v, Metadata()) for i, v in zip(ids, stored)}
    assert mirror.search(query[None], 9)[0] == brute(state, query, 9, precision="int8")


def test_every_answer_after_a_change_is_that_of_a_fresh_index(tmp_path):
    """Upserts, deletes, tidying and rebuilding, by this index and by another process's handle."""
    rng = np.random.default_rng(0)
    root = tmp_path / "store"
    rows, known = drawn(rng, 60)
    ids = [f"i{row}" for row in range(60)]
    other = Store.build(root, [(ids, rows, known)], dims=DIMS)
    index, state = LocalIndex(root), dict(zip(ids, zip(rows, known)))
    for step in range(24):
        writer = (index, other)[step % 2]
        ids = [f"i{row}" for row in rng.choice(90, rng.integers(1, 9), replace=False)]
        if step % 12 == 11:
            ids = sorted(state)[5:]
            state = {i: state[i] for i in ids}
            rows, known = np.stack([state[i][0] for i in ids]), [state[i][1] for i in ids]
            Store.build(root, [(ids, rows, known)], dims=DIMS, replace=True)
        elif step % 6 == 5:
            writer.optimize()
        elif step % 3:
            rows, known = drawn(rng, len(ids))
            writer.upsert(ids, rows, known)
            state |= dict(zip(ids, zip(rows, known)))
        else:
            writer.delete(ids)
            state = {i: entry for i, entry in state.items() if i not in ids}
        query = unit(rng.standard_normal((1, DIMS)))[0]
        assert index.search(query[None], 7) == [brute(state, query, 7)]
    where = Filter(categories=("Home",), max_price=3.0, in_stock=True)
    passing = [i for i, (_, m) in state.items() if where.matches(m)]
    assert index.listed(where, 0, 99) == (sorted(passing), len(passing))
    assert [n.item_id for n in index.similar(passing[0], 5, where)] == [
        i for i, _ in brute(state, state[passing[0]][0], 5, where, passing[0])
    ]
    index.close()


def test_the_sidecar_serves_what_was_written_since_too(tmp_path, monkeypatch):
    monkeypatch.setattr(ann_module, "_FRESH", 5)
    rng = np.random.default_rng(1)
    root = tmp_path / "store"
    stored = unit(rng.standard_normal((900, DIMS)))
    ids = [f"i{row}" for row in range(900)]
    Store.build(root, [(ids, stored, None)], dims=DIMS)
    index = LocalIndex(root)
    assert "has no sidecar" in index.ann_refused
    for kind in ("ivf", "hnsw"):
        manifest = index.build_sidecar(kind, queries=40).manifest
        assert manifest.recall["10"] > 0.9
        assert manifest.items == manifest.last == 900
    assert len(list(root.glob("ann-*"))) == 1, "the old sidecar's file is gone"
    fresh = LocalIndex(root)
    assert fresh.ann is not None
    exact = fresh.search(stored[:40], 10, exact=True)
    near = fresh.search(stored[:40], 10)
    shared = [len({*map(tuple, a)} & {*map(tuple, b)}) for a, b in zip(near, exact)]
    assert np.mean(shared) > 9
    index.optimize()
    assert fresh.search(stored[:1], 1)[0][0].item_id == "i0"
    assert not fresh.ann.fresh, "tidying up changes no row"
    index.upsert(["new", "i1"], stored[:2] * [[2], [-1]])
    index.delete(["i2"])
    late = LocalIndex(root)
    for opened in (index, fresh, late):
        assert opened.search(stored[:1], 1)[0][0].item_id == "new"
        for query in stored[1:3]:
            assert opened.search(query[None], 10) == opened.search(query[None], 10, exact=True)
            assert opened.ann is not None
            assert {*opened.ann.fresh} == {"new", "i1"}
    gone = [near.item_id for near in fresh.search(stored[:1], 40)[0]][1:3]
    index.delete(gone)
    assert len(fresh.search(stored[:1], 40)[0]) == 40, "deleted ones took others' places"
    index.upsert([f"i{row}" for row in range(100, 104)], stored[100:104])
    for opened in (index, fresh, LocalIndex(root)):
        assert opened.search(stored[:1], 1)[0][0].item_id not in gone
        assert opened.ann is None
        assert "6 items were written and 8 are gone" in opened.ann_refused
    built = index.build_sidecar(queries=5)
    fresh.refresh()
    assert fresh.ann is not None, "one built by another is taken up"
    assert (len(fresh.ann), {*fresh.ann.fresh}) == (898, set())
    file = root / built.manifest.file
    file.write_bytes(file.read_bytes()[:-1])
    assert "absent or damaged" in LocalIndex(root).ann_refused


def test_an_index_in_the_background_is_built_takes_changes_in_and_is_opened_again(
    tmp_path, monkeypatch
):
    """Upserts, replacements and deletes; recall after them and after a restart."""
    for name, value in {"ANN_FROM": 1500, "_TAKEN_IN": 20}.items():
        monkeypatch.setattr(f"tgqformer.retrieval.search.{name}", value)
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((40, 32))
    root = tmp_path / "store"

    def some(count: int) -> np.ndarray:
        return unit(centres[rng.integers(40, size=count)] + 0.7 * rng.standard_normal((count, 32)))

    state = dict(zip((f"i{row}" for row in range(2000)), some(2000)))
    Store.build(root, [(list(state), np.stack(list(state.values())), None)], dims=32)
    index = LocalIndex(root, tend=True)
    for step in range(30):
        ids = [f"i{row}" for row in rng.choice(2400, 30, replace=False)]
        if step % 3 == 2:
            index.delete(ids[:20])
            state = {i: v for i, v in state.items() if i not in ids[:20]}
        else:
            rows = some(30)
            index.upsert(ids, rows)
            state |= dict(zip(ids, rows))
        index.refresh()
    until = time.monotonic() + 60
    while (index.ann is None or len(index.ann.fresh) >= 20) and time.monotonic() < until:
        index.refresh()
        time.sleep(0.02)
    assert index.kind == "hnsw"
    assert len(index) == len(state)
    queries = np.stack(list(state.values()))[::10]
    ids = sorted(state)
    scores, _ = ExactIndex(ids, np.stack([state[i] for i in ids])).search(queries, 10)
    index.ann.save(index)
    reopened = LocalIndex(root)
    assert reopened.kind == "hnsw"
    for opened in (index, reopened):
        found = opened.search(queries, 10)
        right = [n.score >= least for line, least in zip(found, scores[:, -1]) for n in line]
        assert np.mean(right) >= 0.99
        assert all(near.item_id in state for line in found for near in line)
    index.close()


def test_a_sidecar_that_is_gone_when_it_is_read_is_no_error(tmp_path):
    root = tmp_path / "store"
    stored = unit(np.random.default_rng(4).standard_normal((300, DIMS)))
    Store.build(root, [([f"i{row}" for row in range(300)], stored, None)], dims=DIMS)
    index = LocalIndex(root)
    path = root / index.build_sidecar("hnsw", queries=5).manifest.file
    path.unlink()
    fresh = LocalIndex(root)
    assert "absent or damaged" in fresh.ann_refused
    assert fresh.search(stored, 9) == fresh.search(stored, 9, exact=True)
    index.build_sidecar("ivf", queries=5)
    fresh.refresh()
    assert fresh.kind == "ivf"


def test_threads_search_while_one_writes(tmp_path):
    stored = unit(np.random.default_rng(2).standard_normal((200, DIMS)))
    ids = [f"i{row}" for row in range(200)]
    Store.build(tmp_path / "store", [(ids, stored, None)], dims=DIMS)
    index = LocalIndex(tmp_path / "store")
    wrong: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            # The items from 100 on never change: each must find itself, at its own score.
            for row in range(100, 200, 9):
                best = index.search(stored[row : row + 1], 1)[0][0]
                if best.item_id != f"i{row}" or abs(best.score - 1) > 1e-5:
                    wrong.append(best)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for step in range(8):
        index.delete(ids[step * 5 : step * 5 + 5])
        index.upsert(ids[step * 5 : step * 5 + 3], stored[step * 5 : step * 5 + 3] * 0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index) == 200 - 8 * 2


def test_wrong_input_is_one_clear_sentence(tmp_path: Path):
    mirror = FlatIndex(DIMS)
    assert mirror.search(PALETTE, 3) == [[]] * 6
    with pytest.raises(ConfigError, match="k is 0"):
        mirror.search(PALETTE, 0)
    with pytest.raises(StorageError, match="4 dimensions and the store 8"):
        mirror.search(PALETTE[:, :4], 1)
    Store.build(tmp_path / "store", [], dims=DIMS)
    with pytest.raises(StorageError, match="no vector for item 'x' among 0"):
        LocalIndex(tmp_path / "store").similar("x")
    with pytest.raises(ConfigError, match="precision is 'float16'"):
        FlatIndex(DIMS, "float16")
    with pytest.raises(ConfigError, match="max_price is nan"):
        Filter(max_price=float("nan"))

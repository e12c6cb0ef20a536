"""Laws of the store: what was acknowledged is there, and the folder stays small."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.errors import StorageError
from tgqformer.retrieval.protocols import Details, Filter, Metadata
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store

DIMS = 8


def vectors(count: int, seed: int = 0, dims: int = DIMS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)


def built(path: Path, count: int = 30, dims: int = DIMS) -> Store:
    ids = [f"item-{row}" for row in range(count)]
    return Store.build(path, [(ids, vectors(count, dims=dims), None)], dims=dims, model="m")


def contents(store: Store) -> dict[str, list[float]]:
    return {i: one.vector.tolist() for i, one in store.records(store.ids()).items()}


def changes(store: Store, copy=None):
    """Ids written since, ids deleted since, and whether the copy starts anew."""
    written: list[str] = []
    state, gone, anew = store.changes(copy, lambda rows, count: written.extend(rows.ids))
    return state, written, gone, anew


def test_what_is_written_is_read_by_another_handle(tmp_path):
    store = built(tmp_path / "store")
    assert (len(store), store.dims, store.info().model) == (30, DIMS, "m")
    other = Store(tmp_path / "store")
    lamp = Metadata("Lamp", "O'Hara", "Home > Light", 9.5, True)
    store.upsert(["item-3", "new"], vectors(2, 1), [lamp, Metadata()])
    assert store.delete(["item-4", "nobody", "item-4"]) == 1
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
    copy, written, _, anew = changes(store)
    assert (len(written), anew) == (30, True)
    store.upsert(["item-1"], vectors(1, 1))
    store.delete(["item-2", "item-3"])
    store.upsert(["item-3"], vectors(1, 2))
    store.optimize()
    state, written, gone, anew = changes(store, copy)
    assert (written, gone, anew) == (["item-1", "item-3"], ["item-2", "item-3"], False)
    assert changes(store, state)[1:] == ([], [], False)
    built_again = Store.build(tmp_path / "store", [], dims=3, replace=True)
    assert changes(built_again, state)[1:] == ([], [], True)
    assert built_again.version >= state.last, "a version is never given twice"


def test_a_copy_older_than_the_deletions_that_are_remembered_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("tgqformer.retrieval.sqlite._DELETIONS", 6)
    store = built(tmp_path / "store")
    old = store.state()
    index = LocalIndex(tmp_path / "store")
    for row in range(10):
        store.delete([f"item-{row}"])
    assert changes(store, old)[3] is True
    assert changes(store, store.state())[3] is False
    assert sorted(index.listed(Filter(), 0, 99)[0]) == store.ids()
    assert len(store.ids()) == 20


def test_several_writes_in_one_block_are_one(tmp_path):
    store = built(tmp_path / "store")
    before = contents(store)

    def fail() -> None:
        with store.writing():
            store.upsert(["new"], vectors(1))
            store.delete(["item-1"])
            store.upsert(["a", "a"], vectors(2))

    with pytest.raises(StorageError, match="comes twice"):
        fail()
    assert contents(store) == before
    with store.writing():
        store.upsert(["new"], vectors(1))
        store.delete(["item-1", "new"])
    assert contents(store).keys() == before.keys() - {"item-1"}


def test_attributes_and_photos_go_with_their_item(tmp_path):
    store = built(tmp_path / "store")
    told = Details({"colour": "red", "'": "\x00"}, (b"one", b"two"))
    store.upsert(["a", "b"], vectors(2), None, [told, Details({}, ())])
    assert (store.details("a"), store.details("b")) == (told, Details({}, ()))
    assert store.details("item-1") is None
    store.upsert(["a", "b"], vectors(2, 1), [Metadata("T")] * 2, [None, told])
    assert (store.details("a"), store.details("b")) == (told, told)
    store.upsert(["a"], vectors(1, 2))  # another's write, which knows nothing of them
    store.delete(["b"])
    store.upsert(["b"], vectors(1), None, [None])
    assert (store.details("a"), store.details("b")) == (None, None)


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
    assert store.version == version


def test_a_build_that_fails_leaves_the_old_store(tmp_path):
    root = tmp_path / "store"
    with pytest.raises(StorageError, match="is no store; make one"):
        Store(root)
    store = built(root)
    twice = [(["a"], vectors(1), None), (["a"], vectors(1), None)]
    with pytest.raises(StorageError, match="is a store already"):
        Store.build(root, twice, dims=DIMS)
    with pytest.raises(StorageError, match="item 'a' comes twice"):
        Store.build(root, twice, dims=DIMS, replace=True)
    assert len(Store(root)) == 30
    Store.build(root, [(["b"], vectors(1, dims=3), None)], dims=3, replace=True)
    assert (len(store), store.dims) == (1, 3)
    with pytest.raises(StorageError, match="item 'a' comes twice"):
        Store.build(tmp_path / "other", twice, dims=DIMS)
    with pytest.raises(StorageError, match="is no store; make one"):
        Store(tmp_path / "other")
    assert len(Store.build(tmp_path / "other", [], dims=DIMS)) == 0
    shutil.rmtree(root)
    with pytest.raises(StorageError, match="is no store; make one"):
        len(store)
    built(root, 2)
    assert (len(store), store.dims) == (2, DIMS), "another folder in its place is read"


def test_many_small_writes_keep_the_folder_small(tmp_path):
    ids = [f"i{row}" for row in range(2000)]
    store = Store.build(tmp_path / "store", [(ids, vectors(2000, dims=32), None)], dims=32)
    compacted = store.info().bytes
    largest = 0
    for step in range(90):
        part = slice(step % 30 * 60, step % 30 * 60 + 150)
        store.upsert(ids[part], vectors(len(ids[part]), step, 32))
        largest = max(largest, store.info().bytes)
    assert largest <= 3 * compacted
    store.optimize()
    assert store.info().bytes <= 1.2 * compacted
    assert len(store) == 2000


def test_a_folder_shrinks_with_its_rows(tmp_path):
    ids = [f"i{row}" for row in range(4000)]
    store = Store.build(tmp_path / "store", [(ids, vectors(4000, dims=64), None)], dims=64)
    before = store.info().bytes
    store.delete(ids[1000:])
    after = store.info()
    assert after.items == 1000
    assert after.bytes < 0.5 * before


def test_a_store_of_the_old_format_is_refused_with_the_way_out(tmp_path):
    root = tmp_path / "store"
    (root / "items-1234.lance").mkdir(parents=True)
    (root / "store.json").write_text('{"table": "items-1234", "dims": 8, "format": 1}')
    (root / "records.sqlite").write_bytes(b"")
    way = re.escape(f"`tgqformer index build {root} EMBEDDINGS --replace`")
    for opened in (lambda: Store(root), lambda: built(root), lambda: LocalIndex(root)):
        with pytest.raises(StorageError, match=f"older version.*Parquet file: {way}"):
            opened()
    store = Store.build(root, [(["a"], vectors(1), None)], dims=DIMS, replace=True)
    assert store.ids() == ["a"]
    assert [path.name for path in root.iterdir() if "sqlite-" not in path.name] == ["store.sqlite"]


def test_a_damaged_store_is_told_and_can_be_built_anew(tmp_path):
    root = tmp_path / "store"
    built(root).close()
    file = root / "store.sqlite"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="is damaged .*build it anew"):
        Store(root)
    with pytest.raises(StorageError, match="is damaged"):
        built(root)
    assert len(Store.build(root, [(["a"], vectors(1), None)], dims=DIMS, replace=True)) == 1


def test_a_second_writer_waits_and_a_reader_does_not(tmp_path):
    store, other = built(tmp_path / "store"), Store(tmp_path / "store")
    done: list[float] = []

    def write() -> None:
        other.upsert(["theirs"], vectors(1))
        done.append(time.monotonic())

    with store.writing():
        store.upsert(["ours"], vectors(1))
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.3)
        assert not done
        assert "ours" not in Store(tmp_path / "store").ids(), "what is under way is not read"
        ended = time.monotonic()
    thread.join(30)
    assert done[0] > ended
    assert {"ours", "theirs"} < set(store.ids())


def test_a_writer_that_waits_in_vain_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tgqformer.retrieval.sqlite._WAIT", 0.1)
    store, other = built(tmp_path / "store"), Store(tmp_path / "store")
    with store.writing(), pytest.raises(StorageError, match="is being written by another process"):
        other.delete(["item-1"])
    assert other.delete(["item-1"]) == 1


SMALL = """
import resource, signal, sys
import numpy as np
from tgqformer.errors import StorageError
from tgqformer.retrieval.store import Store
store = Store(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for step in range(1000):
    try:
        store.upsert([f"new-{step}"], np.full((1, 8), step, np.float32))
    except StorageError as error:
        print(step, error)
        break
"""


def test_where_the_disk_refuses_nothing_is_lost(tmp_path):
    """By a limit on the size of files, which is what a full disk looks like to SQLite."""
    store = built(tmp_path / "store")
    ran = subprocess.run(
        [sys.executable, "-c", SMALL, str(tmp_path / "store")],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    step, told = ran.stdout.strip().split(" ", 1)
    assert "free some space" in told or "check the disk" in told
    assert int(step) > 5
    assert sorted(store.ids()) == sorted(
        [f"item-{row}" for row in range(30)] + [f"new-{row}" for row in range(int(step))]
    )
    store.upsert(["after"], vectors(1))
    assert "after" in Store(tmp_path / "store").ids()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_read(tmp_path):
    root = tmp_path / "store"
    built(root).close()
    (root / "store.sqlite").chmod(0o444)
    root.chmod(0o555)
    try:
        index = LocalIndex(root)
        assert len(index.similar("item-1", 5)) == 5
        with pytest.raises(StorageError, match="choose a folder you may write to"):
            index.delete(["item-1"])
        with pytest.raises(StorageError, match="may write to|cannot be"):
            index.build_sidecar(queries=2)
    finally:
        root.chmod(0o755)


WRITER = r"""
import os, sys
import numpy as np
from tgqformer.retrieval.protocols import Details, Metadata
from tgqformer.retrieval.store import Store
kind, store = sys.argv[1], Store(sys.argv[2])
rows = np.ones((20, 8), np.float32)
names = [f"item-{row}" for row in range(20)]
os.write(1, b"BEGIN\n")
for turn in range(5):
    if kind == "one":
        store.upsert(["item-1"], rows[:1])
    elif kind == "many":
        with store.writing():
            store.upsert(names, rows, [Metadata(str(turn))] * 20, [Details({}, (b"x",))] * 20)
            store.delete(names[:5])
    else:
        store.delete([f"item-{turn}"])
    os.write(1, b"ACKNOWLEDGED\n")
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("kind", ["one", "many", "delete"])
def test_an_acknowledgement_follows_its_sync(tmp_path, kind: str):
    """Traced in the system's calls: each write is synced once, after its last byte was written."""
    built(tmp_path / "store").close()
    calls = "trace=fsync,fdatasync,pwrite64,write"
    log = tmp_path / "log"
    command = [sys.executable, "-c", WRITER, kind, str(tmp_path / "store")]
    ran = subprocess.run(
        ["strace", "-f", "-y", "-o", str(log), "-e", calls, *command],
        capture_output=True,
        text=True,
    )
    if "ptrace" in ran.stderr:
        pytest.skip("this machine lets nobody trace")
    assert ran.returncode == 0, ran.stderr
    for part in log.read_text().split("BEGIN")[1].split("ACKNOWLEDGED")[:5]:
        lines = [line for line in part.splitlines() if "store.sqlite" in line]
        syncs = [n for n, line in enumerate(lines) if re.search(r"f(data)?sync\(", line)]
        written = [n for n, line in enumerate(lines) if "-wal>" in line and "write" in line]
        assert written, "nothing was written"
        assert len(syncs) >= 1, "acknowledged without a sync"
        assert max(syncs) > max(written), "acknowledged before its last byte was synced"
        assert len(syncs) <= 2, "several in one batch cost one sync (and the new log its header's)"


def test_every_connection_syncs_its_commits(tmp_path):
    store = built(tmp_path / "store")
    store.delete(["item-1"])
    for db in (store._reader, store._writer):
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_kill_in_the_middle_of_a_write_leaves_the_one_before(tmp_path):
    root = tmp_path / "store"
    built(root).close()
    code = (
        "import sys, time, numpy as np; from tgqformer.retrieval.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "with store.writing():\n"
        "    store.upsert([f'n{i}' for i in range(20_000)], np.ones((20_000, 8), np.float32))\n"
        "    print('now', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = Store(root)
    assert len(store) == 30
    store.upsert(["after"], vectors(1))
    assert len(Store(root)) == 31


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        ["'", "''", "' OR '1'='1", "\\'", "\\", "x') --", "'; DROP TABLE items; --", "%", "_", "\n",
         "/*", "\x00", '"', "`brand`", "' OR true OR '", "$1", "?", "{brand}"]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Store:
    return built(tmp_path_factory.mktemp("small") / "store", 3)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(hostile=st.lists(HOSTILE, min_size=2, max_size=2, unique=True))
def test_hostile_text_is_only_compared(small, hostile):
    """Ids, brands and categories come back as they went in, and match nothing but themselves."""
    one, two = hostile
    small.upsert([one], vectors(1), [Metadata(brand=one, category=one)])
    index = LocalIndex(small.path)
    assert index.listed(Filter(brands=(one,)), 0, 9) == ([one], 1)
    assert index.listed(Filter(brands=(two,)), 0, 9) == ([], 0)
    assert index.listed(Filter(categories=(one,)), 0, 9) == ([one], 1)
    assert small.metadata([two]) == {}
    assert small.metadata([one]) == {one: Metadata(brand=one, category=one)}
    assert small.delete([two]) == 0
    assert small.delete([one]) == 1
    assert sorted(small.ids()) == ["item-0", "item-1", "item-2"]

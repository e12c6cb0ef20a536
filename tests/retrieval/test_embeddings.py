"""Laws of the embeddings file: what goes in comes out, and it appears whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tgqformer.errors import StorageError
from tgqformer.retrieval.embeddings import EmbeddingWriter, read_embeddings
from tgqformer.retrieval.scores import quantize, unit


def vectors(count: int, dims: int = 20) -> np.ndarray:
    return unit(np.random.default_rng(count).standard_normal((count, dims)))


def write(path: Path, ids: list[str], stored: np.ndarray, **options) -> None:
    options.setdefault("dims", stored.shape[1])
    with EmbeddingWriter(path, **options) as writer:
        writer.write(ids, stored)


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
def test_round_trip_in_batches(tmp_path, precision):
    stored = quantize(vectors(30), precision)
    ids = [f"../é {row}" for row in range(30)]
    path = tmp_path / "new" / "shop.parquet"
    with EmbeddingWriter(path, dims=20, precision=precision, metadata={"model": "run 1"}) as writer:
        for start in range(0, 30, 7):
            writer.write(ids[start : start + 7], stored[start : start + 7])
        writer.write([], stored[:0])
        assert not path.exists()
    found = read_embeddings(path)
    assert found.ids == ids
    assert found.vectors.dtype == stored.dtype
    np.testing.assert_array_equal(found.vectors, stored)
    assert (found.dims, found.precision) == (20, precision)
    assert found.metadata["model"] == "run 1"
    assert found.metadata["normalised"] == "true"
    assert found.as_float32().shape == (30, 20)
    assert [p.name for p in path.parent.iterdir()] == ["shop.parquet"]


def test_any_parquet_reader_understands_it(tmp_path):
    write(tmp_path / "e.parquet", ["a", "b"], vectors(2))
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 20)
    assert table.schema.metadata[b"tgqformer.precision"] == b"float32"


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for shard in (2, 0, 1):
        write(tmp_path / f"part-{shard}.parquet", [f"{shard}-a", f"{shard}-b"], vectors(2))
    (tmp_path / ".part-9.parquet.tmp").write_bytes(b"half")
    assert read_embeddings(tmp_path).ids == ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b"]


def test_no_rows_are_still_a_file(tmp_path):
    with EmbeddingWriter(tmp_path / "e.parquet", dims=8, precision="int8"):
        pass
    found = read_embeddings(tmp_path / "e.parquet")
    assert found.vectors.shape == (0, 8)
    assert found.vectors.dtype == np.int8


def test_an_error_in_the_body_leaves_the_old_file(tmp_path):
    path = tmp_path / "e.parquet"
    write(path, ["old"], vectors(1))

    def interrupted() -> None:
        with EmbeddingWriter(path, dims=20) as writer:
            writer.write(["new"], vectors(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_embeddings(path).ids == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["e.parquet"]


FILL = """
import sys, numpy as np
from tgqformer.errors import StorageError
from tgqformer.retrieval.embeddings import EmbeddingWriter
if sys.argv[2] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with EmbeddingWriter(sys.argv[1], dims=256) as writer:
        for batch in range(20):
            ids = [f"{batch}-{row}" for row in range(500)]
            writer.write(ids, rng.standard_normal((500, 256)).astype(np.float32))
except StorageError as error:
    print(error)
else:
    sys.exit("the write should have failed")
"""


def fill(path: Path, how: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FILL, str(path), how],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_file_over_the_size_limit_leaves_nothing_behind(tmp_path):
    message = fill(tmp_path / "e.parquet", "limit")
    assert message.startswith(f"{tmp_path / 'e.parquet'} cannot be written (File too large); raise")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        message = fill(tmp_path / "e.parquet", "tmpfs")
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    told = "cannot be written (No space left on device); free some space"
    assert message.startswith(f"{tmp_path / 'e.parquet'} {told}")
    assert "\n" not in message
    assert left == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"e\.parquet cannot be written \(File exists\)"),
        EmbeddingWriter(tmp_path / "file" / "e.parquet", dims=2),
    ):
        pass


@pytest.mark.parametrize(
    ("ids", "stored", "message"),
    [
        (["a"], vectors(2), r"a batch of 1 ids came with float32 vectors of shape \(2, 20\)"),
        (["a"], vectors(1, 8), "holds float32 of width 20"),
        (["a"], vectors(1).astype(np.float64), "came with float64"),
        (["\ud800"], vectors(1), "is not valid Unicode; rename"),
    ],
)
def test_a_batch_that_does_not_fit(tmp_path, ids, stored, message):
    with pytest.raises(StorageError, match=message):
        write(tmp_path / "e.parquet", ids, stored, dims=20)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_one_clear_sentence(tmp_path):
    with pytest.raises(StorageError, match="does not exist; run `tgqformer embed`"):
        read_embeddings(tmp_path / "none.parquet")
    with pytest.raises(StorageError, match=r"holds no \.parquet file"):
        read_embeddings(tmp_path)
    text = tmp_path / "text.parquet"
    text.write_text("hello")
    with pytest.raises(StorageError, match="cannot be read as Parquet"):
        read_embeddings(text)
    pq.write_table(pa.table({"item_id": ["a"], "vector": [[1.0, 2.0]]}), text)
    with pytest.raises(StorageError, match="fixed-size list"):
        read_embeddings(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"tgqformer.dims", b"many"),
        (b"tgqformer.dims", b"-20"),
        (b"tgqformer.dims", b"21"),
        (b"tgqformer.model", b"\xff"),
        (b"tgqformer.\xff", b"model"),
    ],
)
def test_wrong_metadata_is_one_clear_sentence(tmp_path, key, value):
    write(tmp_path / "e.parquet", ["a"], vectors(1))
    table = pq.read_table(tmp_path / "e.parquet")
    known = table.schema.metadata | {key: value}
    pq.write_table(table.replace_schema_metadata(known), tmp_path / "e.parquet")
    with pytest.raises(StorageError, match=r"e\.parquet .*; embed the catalog again\.$"):
        read_embeddings(tmp_path / "e.parquet")


@pytest.mark.parametrize("rows", [1, 0])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.bool_()])
def test_a_precision_that_nobody_knows_is_refused(tmp_path, rows, kind):
    stored = pa.FixedSizeListArray.from_arrays(pa.array([1] * 4 * rows, pa.int8()).cast(kind), 4)
    told = pa.table({"item_id": pa.array(["a"] * rows, pa.string()), "vector": stored})
    told = told.replace_schema_metadata({"tgqformer.precision": "float64"})
    pq.write_table(told, tmp_path / "e.parquet")
    with pytest.raises(StorageError, match=r"says precision 'float64' but holds .*; embed"):
        read_embeddings(tmp_path / "e.parquet")


def test_metadata_of_others_is_passed_over(tmp_path):
    write(tmp_path / "e.parquet", ["a"], vectors(1))
    table = pq.read_table(tmp_path / "e.parquet")
    known = table.schema.metadata | {b"\xff": b"\xff"}
    pq.write_table(table.replace_schema_metadata(known), tmp_path / "e.parquet")
    assert read_embeddings(tmp_path / "e.parquet").dims == 20


def test_shards_must_belong_together(tmp_path):
    write(tmp_path / "0.parquet", ["a"], vectors(1), metadata={"model": "one"})
    write(tmp_path / "1.parquet", ["b"], vectors(1), metadata={"model": "two"})
    with pytest.raises(StorageError, match=r"1\.parquet was made by another model"):
        read_embeddings(tmp_path)
    write(tmp_path / "1.parquet", ["a"], vectors(1), metadata={"model": "one"})
    with pytest.raises(StorageError, match="item 'a' comes twice"):
        read_embeddings(tmp_path)

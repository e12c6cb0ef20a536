"""Embeddings on disk: Parquet that any tool can read.

Two columns, `item_id` (string) and `vector` (a fixed-size list: float32, int8, or uint8 holding
eight sign bits), and key-value metadata under the prefix `tgqformer.`: the format version, `model`,
`dims`, `precision`, `normalised`, and whatever else the writer was given. A shard of a catalog also
has `stamp` (16 bytes), which tells whether an item has changed since; readers of vectors pass it
over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast, get_args

import numpy as np

from tgqformer.errors import StorageError
from tgqformer.files import atomic_path
from tgqformer.retrieval.scores import Precision, Stored, Vectors, dequantize

_PREFIX = "tgqformer."
_FORMAT = "1"
STAMP_BYTES = 16
MANIFEST = "manifest.json"
_TYPES = {"float32": np.float32, "int8": np.int8, "binary": np.uint8}


@dataclass(frozen=True)
class Embeddings:
    """Vectors in the order of `ids`.

    Attributes:
        vectors: float32 or int8 [N, dims], or uint8 [N, ceil(dims / 8)] for binary.
        metadata: what the file says of itself, all text, without the prefix.
    """

    ids: list[str]
    vectors: Stored
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def dims(self) -> int:
        return int(self.metadata.get("dims", self.vectors.shape[1]))

    @property
    def precision(self) -> Precision:
        return cast("Precision", self.metadata.get("precision", "float32"))

    def as_float32(self) -> Vectors:
        """The vectors as float32 [N, dims], ready for `ExactIndex`."""
        return dequantize(self.vectors, self.precision, self.dims)


class EmbeddingWriter:
    """Writes embeddings batch by batch; the file appears, whole, when the `with` block ends.

        with EmbeddingWriter("shop.parquet", dims=256, metadata={"model": "run"}) as writer:
            writer.write(ids, vectors)

    After an error, a full disk included, nothing is left behind and an older file stays as it was.

    Args:
        path: the Parquet file to make; missing parent folders are made too.
        dims: of the embedding, before bits are packed.
        precision: "float32", "int8" or "binary"; `quantize` makes the last two.
        metadata: kept in the file; `normalised` is "true" unless said otherwise.
        stamps: keep a stamp of 16 bytes with each item.

    Raises:
        StorageError: a batch does not fit, or the operating system refused to write.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        dims: int,
        precision: Precision = "float32",
        metadata: Mapping[str, str] | None = None,
        stamps: bool = False,
    ) -> None:
        if precision not in _TYPES:
            raise StorageError(
                f"precision is {precision!r}, but must be one of {get_args(Precision)}."
            )
        self.path = Path(path)
        self.dims = dims
        self.precision = precision
        self.stamps = stamps
        self.written = 0
        self._dtype = np.dtype(_TYPES[precision])
        self._width = -(-dims // 8) if precision == "binary" else dims
        described = {"normalised": "true", **(metadata or {})}
        described |= {"format": _FORMAT, "dims": str(dims), "precision": precision}
        self._metadata = {_PREFIX + key: str(value) for key, value in described.items()}
        self._stack = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> EmbeddingWriter:
        import pyarrow as pa
        import pyarrow.parquet as pq

        vector = pa.list_(pa.from_numpy_dtype(self._dtype), self._width)
        fields = [pa.field("item_id", pa.string(), nullable=False), pa.field("vector", vector)]
        if self.stamps:
            fields.append(pa.field("stamp", pa.binary(STAMP_BYTES), nullable=False))
        self._schema = pa.schema(fields, metadata=self._metadata)
        # Left in reverse: the footer, then the file, and last the rename, which any error prevents.
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            file = stack.enter_context(temporary.open("wb"))
            # Vectors do not repeat: a dictionary would only cost time.
            self._writer = stack.enter_context(
                pq.ParquetWriter(file, self._schema, compression="zstd", use_dictionary=False)
            )
            self._stack = stack.pop_all()
        return self

    def write(
        self, ids: Sequence[str], vectors: Stored, stamps: Sequence[bytes] | None = None
    ) -> None:
        """Append one vector for each id: [n, dims], or packed [n, ceil(dims / 8)]; and its stamp,
        where the file holds them."""
        import pyarrow as pa

        if self._writer is None:
            raise StorageError(f"{self.path} is not open; write inside a `with` block.")
        if vectors.shape != (len(ids), self._width) or vectors.dtype != self._dtype:
            raise StorageError(
                f"a batch of {len(ids)} ids came with {vectors.dtype} vectors of shape "
                f"{vectors.shape}, but {self.path.name} holds {self._dtype} of width "
                f"{self._width}; quantize them first."
            )
        if not len(ids):
            return
        try:
            names = pa.array(list(ids), pa.string())
        except UnicodeEncodeError as error:
            raise StorageError(
                f"item id {error.object!r} is not valid Unicode; rename the item."
            ) from error
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, self._width)
        columns = [names, column]
        if self.stamps:
            columns.append(pa.array(stamps or (), pa.binary(STAMP_BYTES)))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self.written += len(ids)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer = None
        self._stack.__exit__(kind, error, trace)


def read_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Read one Parquet file, or all `*.parquet` shards of a folder in the order of their names.

    Raises:
        StorageError: nothing there, not Parquet, not embeddings, shards that do not belong
            together, or an id that comes twice.
    """
    root = Path(path)
    ids: list[str] = []
    parts: list[Stored] = []
    metadata: dict[str, str] | None = None
    for file in _files(root):
        names, vectors, described = _read_file(file)
        if metadata is None:
            metadata = described
        elif any(metadata.get(k) != described.get(k) for k in ("model", "dims", "precision")):
            raise StorageError(
                f"{file} was made by another model or at another size or precision than the shards "
                "before it; embed the whole catalog again into an empty folder."
            )
        ids.extend(names)
        parts.append(vectors)
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise StorageError(
            f"item {twice!r} comes twice in {root}, but ids must be unique; "
            "embed the catalog again into an empty folder."
        )
    stacked = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Embeddings(ids, cast("Stored", stacked), metadata or {})


def _files(root: Path) -> list[Path]:
    if root.is_dir():
        _require_complete(root)
        shards = sorted(p for p in root.glob("*.parquet") if not p.name.startswith("."))
        if not shards:
            raise StorageError(f"{root} holds no .parquet file; run `tgqformer embed` first.")
        return shards
    if not root.exists():
        raise StorageError(f"{root} does not exist; run `tgqformer embed` first.")
    return [root]


def _require_complete(root: Path) -> None:
    """Raise where the manifest of a folder says that shards are still to come."""
    manifest = root / MANIFEST
    try:
        told = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
        complete = told.get("complete", True)
    except (OSError, ValueError, AttributeError) as error:
        raise StorageError(f"{manifest} is damaged; embed the catalog again.") from error
    if not complete:
        raise StorageError(
            f"{root} is not finished; run the same `tgqformer embed` again, which goes on where "
            "it was stopped."
        )


def _read_file(file: Path) -> tuple[list[str], Stored, dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not pq.read_table, which would open the file as one of a partitioned data set.
        with pq.ParquetFile(file) as parquet:
            table = parquet.read(columns=["item_id", "vector"])
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{file} cannot be read as Parquet ({str(error).splitlines()[0].rstrip('.')}); "
            "embed the catalog again."
        ) from error
    if table.column_names != ["item_id", "vector"] or not pa.types.is_fixed_size_list(
        table.schema.field("vector").type
    ):
        raise StorageError(
            f"{file} holds no column `item_id` beside a fixed-size list `vector`; "
            "it was not written by `tgqformer embed`."
        )
    width = table.schema.field("vector").type.list_size
    metadata = _metadata(file, table.schema.metadata or {}, width)
    if any(table.column(name).null_count for name in table.column_names):
        raise StorageError(f"{file} has an empty id or vector; embed the catalog again.")
    arrays = [_to_numpy(chunk, width) for chunk in table.column("vector").chunks]
    precision = metadata.get("precision", "float32")
    expected = np.dtype(_TYPES.get(precision, np.void))  # the last is nothing's
    vectors = np.concatenate(arrays) if arrays else np.empty((0, width), dtype=expected)
    if vectors.dtype != expected or precision not in _TYPES:
        raise StorageError(
            f"{file} says precision {precision!r} but holds {vectors.dtype}; embed the catalog "
            "again."
        )
    return table.column("item_id").to_pylist(), cast("Stored", vectors), metadata


def _metadata(file: Path, raw: Mapping[bytes, bytes], width: int) -> dict[str, str]:
    """What a file of vectors so wide says of itself, without the prefix."""
    try:
        found = {
            key.decode().removeprefix(_PREFIX): value.decode()
            for key, value in raw.items()
            if key.startswith(_PREFIX.encode())
        }
        dims = int(found.get("dims", width))
    except ValueError as error:
        raise StorageError(
            f"{file} has metadata that cannot be read ({error}); embed the catalog again."
        ) from error
    if (-(-dims // 8) if found.get("precision") == "binary" else dims) != width:
        raise StorageError(
            f"{file} says {dims} dims but its vectors are {width} wide; embed the catalog again."
        )
    return found


def _to_numpy(chunk: Any, width: int) -> Any:
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)

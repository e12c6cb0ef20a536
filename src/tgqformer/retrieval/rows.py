"""A store's rows: their columns in LanceDB, and the way from ids and vectors to them and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import StorageError
from tgqformer.retrieval.filters import Metadata
from tgqformer.retrieval.scores import Vectors, as_vectors

COLUMNS = ("item_id", "vector", "title", "brand", "category", "price", "in_stock", "revision")


@dataclass(frozen=True)
class StoredRows:
    """Some rows of a store: vectors float32 [n, D] and metadata, one for each of `ids`."""

    ids: list[str]
    vectors: Vectors
    metadata: list[Metadata]

    def __len__(self) -> int:
        return len(self.ids)


def schema(dims: int) -> Any:
    """The table's columns; `revision` is the table's version at the write that set the row."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dims), nullable=False),
            pa.field("title", pa.string()),
            pa.field("brand", pa.string()),
            pa.field("category", pa.string()),
            pa.field("price", pa.float64()),
            pa.field("in_stock", pa.bool_()),
            pa.field("revision", pa.int64(), nullable=False),
        ]
    )


def checked(
    ids: Sequence[str],
    vectors: npt.ArrayLike,
    metadata: Sequence[Metadata] | None,
    dims: int,
) -> StoredRows:
    """Rows that may be stored; without `metadata` nothing is known of any.

    Raises:
        StorageError: numbers or widths differ, an id comes twice, is empty or no Unicode, or a
            value is not finite.
    """
    names = list(ids)
    array = as_vectors(np.asarray(vectors, dtype=np.float32).reshape(len(names), -1)
                       if len(names) == 0 else vectors)  # fmt: skip
    known = [Metadata()] * len(names) if metadata is None else list(metadata)
    if len(array) != len(names) or len(known) != len(names):
        raise StorageError(
            f"{len(names)} ids came with {len(array)} vectors and metadata of {len(known)}, but "
            "each id needs exactly one of both."
        )
    if len(names) and array.shape[1] != dims:
        raise StorageError(
            f"vectors have {array.shape[1]} dimensions and the store {dims}, but both must come "
            "from one model; build the store again from its embeddings."
        )
    check_ids(names)
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(i for i in names if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise StorageError(f"item {twice!r} comes twice in one batch, but ids must be unique.")
    return StoredRows(names, array, known)


def check_ids(ids: Sequence[str]) -> None:
    """Raise StorageError where an id is no text that can be stored."""
    for item_id in ids:
        if not isinstance(item_id, str) or not item_id:
            raise StorageError(f"item id {item_id!r} must be a text of at least one character.")
        try:
            item_id.encode()
        except UnicodeEncodeError:
            raise StorageError(
                f"item id {item_id!r} is not valid Unicode; rename the item."
            ) from None


def to_arrow(rows: StoredRows, dims: int, revision: int) -> Any:
    """An Arrow table of `schema(dims)`."""
    import pyarrow as pa

    def column(name: str, kind: Any) -> Any:
        return pa.array([getattr(entry, name) for entry in rows.metadata], kind)

    flat = pa.array(np.ascontiguousarray(rows.vectors).reshape(-1))
    try:
        texts = [column(name, pa.string()) for name in ("title", "brand", "category")]
    except UnicodeEncodeError as error:
        raise StorageError(f"metadata {error.object!r} is not valid Unicode; mend it.") from error
    return pa.Table.from_arrays(
        [
            pa.array(rows.ids, pa.string()),
            pa.FixedSizeListArray.from_arrays(flat, dims),
            *texts,
            column("price", pa.float64()),
            column("in_stock", pa.bool_()),
            pa.array(np.full(len(rows), revision), pa.int64()),
        ],
        schema=schema(dims),
    )


def from_arrow(batch: Any, dims: int) -> StoredRows:
    """The rows of an Arrow table or record batch."""
    vectors = batch.column("vector")
    if hasattr(vectors, "combine_chunks"):
        vectors = vectors.combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dims)
    return StoredRows(batch.column("item_id").to_pylist(), flat, metadata_of(batch))


def metadata_of(batch: Any) -> list[Metadata]:
    """The metadata columns of an Arrow table or record batch, row by row."""
    titles, brands, categories, prices, stock = (
        batch.column(name).to_pylist()
        for name in ("title", "brand", "category", "price", "in_stock")
    )
    return [
        Metadata(title or "", brand or "", category or "", price, in_stock)
        for title, brand, category, price, in_stock in zip(
            titles, brands, categories, prices, stock
        )
    ]

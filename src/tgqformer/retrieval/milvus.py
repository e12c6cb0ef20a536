"""A `VectorStore` in Milvus, for those who outgrow one machine: a server, a cluster or its cloud.

Milvus takes filters as text. Ids, brands and categories are therefore also kept as the hexadecimal
of their UTF-8, and only that is ever put into one: letters and digits, whatever a shopper types.
Since hexadecimal keeps prefixes, a category's descendants are still those that start with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from tgqformer.errors import ConfigError, MissingDependencyError, StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.filters import SEPARATOR, Filter, Metadata
from tgqformer.retrieval.rows import check_ids, checked
from tgqformer.retrieval.scores import as_vectors, blocks

_AT_ONCE = 512
_KEY_BYTES = 1024  # of hexadecimal, twice the UTF-8
_TEXT_BYTES = 8192
_FIELDS = ["item_id", "title", "brand", "category", "price", "has_price", "stock"]


class MilvusStore:
    """Items in one collection, which is made where it is absent.

    Args:
        uri: of a server, ``"http://localhost:19530"``; or a path that ends in ``.db`` for Milvus
            Lite, which suits tests and small shops.
        collection: its name, of letters, digits and underscores.
        dims: width of the vectors.
        index: "FLAT" (exact), "HNSW", "IVF_FLAT", "DISKANN" or another of Milvus's, for a new
            collection.
        token: of a server that asks for one, ``"user:password"`` or a key.

    Raises:
        MissingDependencyError: pymilvus is not installed.
        StorageError: the server cannot be reached, or the collection has another width.
    """

    def __init__(
        self, uri: str, collection: str, dims: int, *, index: str = "FLAT", token: str = ""
    ) -> None:
        try:
            import pymilvus
        except ImportError as error:
            raise MissingDependencyError(
                "the Milvus store needs pymilvus; pip install 'tgqformer[milvus]'."
            ) from error
        self._collection = collection
        self._dims = dims
        with _said():
            self._client: Any = pymilvus.MilvusClient(uri, token=token)
            if not self._client.has_collection(collection):
                self._create(pymilvus, index)
            self._client.load_collection(collection)
            fields = self._client.describe_collection(collection)["fields"]
        width = next((f["params"]["dim"] for f in fields if f["name"] == "vector"), None)
        if int(width or 0) != dims:
            raise StorageError(
                f"collection {collection!r} holds vectors of {width} dimensions, not {dims}; "
                "choose another collection for this model."
            )

    @property
    def dims(self) -> int:
        return self._dims

    def __len__(self) -> int:
        with _said():
            return int(self._query("", ["count(*)"])[0]["count(*)"])

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """See `VectorStore`. Batches of 512 are each whole; all of them together are not."""
        rows = checked(ids, vectors, metadata, self._dims)
        with _said():
            for start, stop in blocks(len(rows), _AT_ONCE):
                names, known = rows.ids[start:stop], rows.metadata[start:stop]
                if metadata is None:
                    there = self._entries(names)
                    told = [there.get(n) or _entry(n, Metadata()) for n in names]
                else:
                    told = [_entry(n, m) for n, m in zip(names, known)]
                lines = rows.vectors[start:stop].tolist()
                data = [{**entry, "vector": line} for entry, line in zip(told, lines)]
                self._client.upsert(self._collection, data)

    def delete(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        check_ids(ids)
        names = list(dict.fromkeys(ids))
        removed = 0
        with _said():
            for start, stop in blocks(len(names), _AT_ONCE):
                there = list(self._entries(names[start:stop]))
                if there:
                    self._client.delete(self._collection, filter=_among("key", there))
                removed += len(there)
        return removed

    def search(
        self, queries: npt.ArrayLike, k: int, where: Filter | None = None
    ) -> list[list[Neighbour]]:
        """See `VectorStore`; exact where the collection's index is FLAT."""
        wanted = as_vectors(queries, "queries")
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        with _said():
            answers = self._client.search(
                self._collection,
                data=wanted.tolist(),
                limit=k,
                filter=_condition(where) if where else "",
                output_fields=["item_id"],
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
            )
        return [
            sorted(
                (Neighbour(hit["entity"]["item_id"], float(hit["distance"])) for hit in answer),
                key=lambda n: (-n.score, n.item_id),
            )
            for answer in answers
        ]

    def close(self) -> None:
        """See `VectorStore`."""
        self._client.close()

    def _create(self, pymilvus: Any, index: str) -> None:
        kinds = pymilvus.DataType
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", kinds.VARCHAR, is_primary=True, max_length=_KEY_BYTES)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self._dims)
        for name in ("item_id", "title", "brand", "category", "brand_key", "category_key"):
            schema.add_field(name, kinds.VARCHAR, max_length=_TEXT_BYTES)
        schema.add_field("price", kinds.DOUBLE)
        schema.add_field("has_price", kinds.BOOL)
        schema.add_field("stock", kinds.INT8)
        options = self._client.prepare_index_params()
        options.add_index("vector", index_type=index, metric_type="IP")
        self._client.create_collection(
            self._collection, schema=schema, index_params=options, consistency_level="Strong"
        )

    def _query(self, condition: str, fields: list[str]) -> Any:
        return self._client.query(
            self._collection, filter=condition, output_fields=fields, consistency_level="Strong"
        )

    def _entries(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = self._query(_among("key", ids), _FIELDS)
        return {
            row["item_id"]: _entry(
                row["item_id"],
                Metadata(
                    row["title"],
                    row["brand"],
                    row["category"],
                    row["price"] if row["has_price"] else None,
                    None if row["stock"] < 0 else bool(row["stock"]),
                ),
            )
            for row in found
        }


def _entry(item_id: str, known: Metadata) -> dict[str, Any]:
    return {
        "key": _hex(item_id),
        "item_id": item_id,
        "title": known.title,
        "brand": known.brand,
        "category": known.category,
        "brand_key": _hex(known.brand),
        "category_key": _hex(known.category),
        "price": 0.0 if known.price is None else known.price,
        "has_price": known.price is not None,
        "stock": -1 if known.in_stock is None else int(known.in_stock),
    }


def _condition(where: Filter) -> str:
    conditions = []
    if where.categories:
        parts = [
            f'category_key == "{_hex(c)}" or category_key like "{_hex(c + SEPARATOR)}%"'
            for c in where.categories
        ]
        conditions.append(f"({' or '.join(parts)})")
    if where.brands:
        conditions.append(_among("brand_key", where.brands))
    if where.min_price is not None or where.max_price is not None:
        conditions.append("has_price == true")
    if where.min_price is not None:
        conditions.append(f"price >= {float(where.min_price)!r}")
    if where.max_price is not None:
        conditions.append(f"price <= {float(where.max_price)!r}")
    if where.in_stock is not None:
        conditions.append(f"stock == {int(where.in_stock)}")
    return " and ".join(conditions)


def _among(field: str, texts: Sequence[str]) -> str:
    listed = ", ".join(f'"{_hex(text)}"' for text in texts)
    return f"{field} in [{listed}]"


def _hex(text: str) -> str:
    return text.encode().hex()


@contextmanager
def _said() -> Iterator[None]:
    """Turn what the client raises into one sentence."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StorageError(
            f"Milvus refused ({type(error).__name__}: {reason}); check its address and its log."
        ) from error

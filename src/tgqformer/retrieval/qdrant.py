"""A `VectorStore` in Qdrant, for those who outgrow one machine: a server, a cluster or its cloud.

Points are named by a UUID made of the item's id, which Qdrant asks for; the id itself and the
metadata are payload. Filters are Qdrant's own objects: no text is ever parsed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from tgqformer.errors import ConfigError, MissingDependencyError, StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.filters import Filter, Metadata, ancestors
from tgqformer.retrieval.rows import check_ids, checked
from tgqformer.retrieval.scores import as_vectors, blocks

_NAMES = uuid.UUID("7e0b4b0e-6f1b-4d5c-9d0a-3c7e8a2f5b11")
_AT_ONCE = 512


class QdrantStore:
    """Items in one collection, which is made where it is absent.

    Args:
        url: of a server, ``"http://localhost:6333"``; or a folder, or ``":memory:"``, for the
            client's local mode, which suits tests and small shops.
        collection: its name.
        dims: width of the vectors.
        exact: search without Qdrant's HNSW, exactly.
        shards: of a new collection, on a cluster.
        replicas: of each shard of a new collection.
        api_key: of a server that asks for one.

    Raises:
        MissingDependencyError: qdrant-client is not installed.
        StorageError: the server cannot be reached, or the collection has another width.
    """

    def __init__(
        self,
        url: str,
        collection: str,
        dims: int,
        *,
        exact: bool = False,
        shards: int | None = None,
        replicas: int | None = None,
        api_key: str | None = None,
    ) -> None:
        try:
            import qdrant_client
            from qdrant_client import models
        except ImportError as error:
            raise MissingDependencyError(
                "the Qdrant store needs qdrant-client; pip install 'tgqformer[qdrant]'."
            ) from error
        self._models: Any = models
        self._collection = collection
        self._dims = dims
        remote = url.startswith(("http://", "https://"))
        # The local mode is always exact, and warns where it is asked to be.
        self._params = models.SearchParams(exact=exact) if remote else None
        with _said():
            if remote:
                self._client: Any = qdrant_client.QdrantClient(url=url, api_key=api_key)
            elif url == ":memory:":
                self._client = qdrant_client.QdrantClient(location=url)
            else:
                self._client = qdrant_client.QdrantClient(path=url)
            if not self._client.collection_exists(collection):
                self._create(shards, replicas, indexed=remote)
            found = self._client.get_collection(collection).config.params.vectors
        if getattr(found, "size", None) != dims:
            raise StorageError(
                f"collection {collection!r} holds vectors of {getattr(found, 'size', 'several')} "
                f"dimensions, not {dims}; choose another collection for this model."
            )

    @property
    def dims(self) -> int:
        return self._dims

    def __len__(self) -> int:
        with _said():
            return int(self._client.count(self._collection, exact=True).count)

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
                    there = self._payloads(names)
                    payloads = [there.get(n, _payload(n, Metadata())) for n in names]
                else:
                    payloads = [_payload(n, m) for n, m in zip(names, known)]
                lines = rows.vectors[start:stop].tolist()
                points = [
                    self._models.PointStruct(id=_point(n), vector=v, payload=p)
                    for n, v, p in zip(names, lines, payloads)
                ]
                self._client.upsert(self._collection, points, wait=True)

    def delete(self, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        check_ids(ids)
        names = list(dict.fromkeys(ids))
        removed = 0
        with _said():
            for start, stop in blocks(len(names), _AT_ONCE):
                there = list(self._payloads(names[start:stop]))
                if there:
                    points = self._models.PointIdsList(points=[_point(name) for name in there])
                    self._client.delete(self._collection, points, wait=True)
                removed += len(there)
        return removed

    def search(
        self, queries: npt.ArrayLike, k: int, where: Filter | None = None
    ) -> list[list[Neighbour]]:
        """See `VectorStore`; approximate unless `exact` was asked for."""
        wanted = as_vectors(queries, "queries")
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        condition = self._condition(where) if where else None
        requests = [
            self._models.QueryRequest(
                query=query,
                limit=k,
                filter=condition,
                with_payload=["item_id"],
                params=self._params,
            )
            for query in wanted.tolist()
        ]
        with _said():
            answers = self._client.query_batch_points(self._collection, requests)
        return [
            sorted(
                (Neighbour(p.payload["item_id"], float(p.score)) for p in answer.points),
                key=lambda n: (-n.score, n.item_id),
            )
            for answer in answers
        ]

    def close(self) -> None:
        """See `VectorStore`."""
        self._client.close()

    def _create(self, shards: int | None, replicas: int | None, *, indexed: bool) -> None:
        models = self._models
        self._client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=self._dims, distance=models.Distance.DOT),
            shard_number=shards,
            replication_factor=replicas,
        )
        kinds = {
            "brand": models.PayloadSchemaType.KEYWORD,
            "categories": models.PayloadSchemaType.KEYWORD,
            "price": models.PayloadSchemaType.FLOAT,
            "in_stock": models.PayloadSchemaType.BOOL,
        }
        # The local mode scans, and warns where an index is asked for.
        for field, kind in kinds.items() if indexed else ():
            self._client.create_payload_index(self._collection, field, kind)

    def _payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        points = [_point(item_id) for item_id in ids]
        found = self._client.retrieve(self._collection, points, with_payload=True)
        return {record.payload["item_id"]: record.payload for record in found}

    def _condition(self, where: Filter) -> Any:
        models = self._models
        must: list[Any] = []
        for field, values in (("categories", where.categories), ("brand", where.brands)):
            if values:
                match = models.MatchAny(any=list(values))
                must.append(models.FieldCondition(key=field, match=match))
        if where.min_price is not None or where.max_price is not None:
            span = models.Range(gte=where.min_price, lte=where.max_price)
            must.append(models.FieldCondition(key="price", range=span))
        if where.in_stock is not None:
            match = models.MatchValue(value=where.in_stock)
            must.append(models.FieldCondition(key="in_stock", match=match))
        return models.Filter(must=must)


def _point(item_id: str) -> str:
    return str(uuid.uuid5(_NAMES, item_id))


def _payload(item_id: str, known: Metadata) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "title": known.title,
        "brand": known.brand,
        "categories": ancestors(known.category),
        "price": known.price,
        "in_stock": known.in_stock,
    }


@contextmanager
def _said() -> Iterator[None]:
    """Turn what the client raises, which has no common base, into one sentence."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StorageError(
            f"Qdrant refused ({type(error).__name__}: {reason}); check its address and its log."
        ) from error

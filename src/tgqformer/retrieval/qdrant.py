"""A `VectorStore` in Qdrant, for those who outgrow one machine: a server, a cluster or its cloud.

Points are named by a UUID made of the item's id, which Qdrant asks for; the id itself, metadata,
attributes and photos are payload. Filters are Qdrant's own objects: no text is ever parsed. Unlike
a folder's, searches are approximate, and of a write each 512 items are whole on their own.
"""

from __future__ import annotations

import base64
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, MissingDependencyError, StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.protocols import (
    SEPARATOR,
    Batches,
    Details,
    Filter,
    Metadata,
    Record,
    VectorStore,
    check_ids,
    checked,
)
from tgqformer.retrieval.scores import Vectors, blocks, checked_queries

KEY_VARIABLE = "TGQFORMER_QDRANT_KEY"
_NAMES = uuid.UUID("7e0b4b0e-6f1b-4d5c-9d0a-3c7e8a2f5b11")
_AT_ONCE = 512
_LISTED = 10_000  # ids that are read at once
_KNOWN = ["item_id", "title", "brand", "categories", "price", "in_stock"]


@dataclass(frozen=True)
class QdrantInfo:
    """Figures of a collection; what is on its disks is the server's to tell."""

    items: int
    dims: int
    model: str
    status: str
    search: str = "approximate"
    writes: str = "eventual: other clients may see a write a moment later"
    bytes: int = 0


class QdrantStore(VectorStore):
    """The items of one collection.

    ``qdrant://host:port/collection?shards=6&replicas=2&consistency=2``: what follows the question
    mark is for a collection that is made now. ``qdrants://`` speaks TLS, with a key from the
    variable TGQFORMER_QDRANT_KEY; ``qdrant:///folder/collection`` is the client's local mode, which
    searches exactly.

    Args:
        address: of the collection.
        dims: width of its vectors, which are made where they are absent; None for those there.
        model: digest of the model whose vectors a new collection is to hold.

    Raises:
        MissingDependencyError: qdrant-client is not installed.
        ConfigError: the address cannot be read.
        StorageError: the server cannot be reached, or the collection has another width or, where
            `dims` is None, does not exist.
    """

    def __init__(self, address: str, dims: int | None = None, *, model: str = "") -> None:
        server, folder, self._collection, options = _parts(address)
        try:
            import qdrant_client
            from qdrant_client import models
        except ImportError as error:
            raise MissingDependencyError(
                "the Qdrant store needs qdrant-client; pip install 'tgqformer[qdrant]'."
            ) from error
        self._models: Any = models
        self._lock = threading.RLock()
        self._remote = bool(server)
        with _said():
            self._client: Any = (
                qdrant_client.QdrantClient(url=server, api_key=os.environ.get(KEY_VARIABLE))
                if server
                else qdrant_client.QdrantClient(path=folder)
            )
            there = self._client.collection_exists(self._collection)
            if not there and dims is not None:
                self._create(dims, options, model)
            elif not there:
                self._client.close()
                raise StorageError(
                    f"{server or folder} has no collection {self._collection!r}; make it with "
                    "`tgqformer index build`."
                )
            config = self._client.get_collection(self._collection).config
        size = getattr(config.params.vectors, "size", None)
        if size is None or (dims is not None and size != dims):
            raise StorageError(
                f"collection {self._collection!r} holds vectors of {size or 'several'} "
                f"dimensions, not {dims or 'one'}; choose another collection for this model."
            )
        self._dims = int(size)
        self._model = str((getattr(config, "metadata", None) or {}).get("model", ""))

    @classmethod
    def build(
        cls, address: str, batches: Batches, *, dims: int, model: str = "", replace: bool = False
    ) -> QdrantStore:
        """Make a collection of batches of (ids, vectors, metadata); see `Store.build`.

        Unlike a folder's, it fills while others may look, and `replace` empties it first.

        Raises:
            StorageError: there is one already, and `replace` is not given.
        """
        if dims < 1:
            raise ConfigError(f"dims is {dims}, but must be at least 1.")
        try:
            old = cls(address)
        except StorageError as error:
            if "has no collection" not in str(error):
                raise
        else:
            with _said():
                if replace:
                    old._client.delete_collection(old._collection)
            old.close()
            if not replace:
                raise StorageError(
                    f"{address} is a store already; upsert into it, or build with --replace."
                )
        made = cls(address, dims, model=model)
        for ids, vectors, metadata in batches:
            made.upsert(ids, vectors, metadata)
        return made

    @property
    def model(self) -> str:
        return self._model

    @property
    def kind(self) -> str:
        return "qdrant"

    @property
    def dims(self) -> int:
        return self._dims

    def __len__(self) -> int:
        with _said():
            return int(self._client.count(self._collection, exact=True).count)

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and bool(item_id) and bool(self.metadata([item_id]))

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
        details: Sequence[Details | None] | None = None,
    ) -> None:
        """See `VectorStore`. Batches of 512 are each whole; all of them together are not."""
        rows = checked(ids, vectors, metadata, self._dims, details)
        told = list(details or [None] * len(rows.ids))
        with self._lock, _said():
            for start, stop in blocks(len(rows.ids), _AT_ONCE):
                names = rows.ids[start:stop]
                asks = metadata is None or details is not None
                there = self._payloads(names) if asks else {}
                points = []
                for row, name in enumerate(names, start):
                    old = there.get(name, {})
                    known = _metadata(old) if metadata is None and old else rows.metadata[row]
                    payload = _payload(name, known)
                    one = told[row]
                    if one is not None:
                        payload["attributes"] = dict(one.attributes)
                        payload["photos"] = [base64.b64encode(p).decode() for p in one.images]
                    elif details is not None and "attributes" in old:
                        payload |= {key: old[key] for key in ("attributes", "photos")}
                    vector = rows.vectors[row].tolist()
                    point = self._models.PointStruct(
                        id=_point(name), vector=vector, payload=payload
                    )
                    points.append(point)
                self._client.upsert(self._collection, points, wait=True)

    def delete(self, ids: Sequence[str]) -> int:
        check_ids(ids)
        names = list(dict.fromkeys(ids))
        removed = 0
        with self._lock, _said():
            for start, stop in blocks(len(names), _AT_ONCE):
                there = list(self._payloads(names[start:stop], ["item_id"]))
                if there:
                    points = self._models.PointIdsList(points=[_point(name) for name in there])
                    self._client.delete(self._collection, points, wait=True)
                removed += len(there)
        return removed

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        where: Filter | None = None,
        *,
        exclude: Sequence[str | None] | None = None,
        exact: bool = False,
    ) -> list[list[Neighbour]]:
        """See `VectorStore`; approximate unless `exact` is asked for."""
        wanted = checked_queries(queries, k, self._dims)
        models = self._models
        # The local mode is always exact, and warns where it is asked to be.
        params = models.SearchParams(exact=exact) if self._remote else None
        own = list(exclude) if exclude is not None else [None] * len(wanted)
        requests = [
            models.QueryRequest(
                query=query,
                limit=k,
                filter=self._condition(where or Filter(), skip),
                with_payload=["item_id"],
                params=params,
            )
            for query, skip in zip(wanted.tolist(), own)
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

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        known = self.records(ids)
        here = [item_id for item_id in ids if item_id in known]
        if not here:
            return [], np.empty((0, self._dims), np.float32)
        return here, np.stack([known[item_id].vector for item_id in here])

    def records(self, ids: Iterable[str]) -> dict[str, Record]:
        found = self._retrieve(list(ids), _KNOWN, vectors=True)
        return {
            point.payload["item_id"]: Record(
                np.array(point.vector, dtype=np.float32), _metadata(point.payload)
            )
            for point in found
        }

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        check_ids(ids)
        with _said():
            return {name: _metadata(known) for name, known in self._payloads(ids, _KNOWN).items()}

    def details(self, item_id: str) -> Details | None:
        with _said():
            known = self._payloads([item_id], ["item_id", "attributes", "photos"]).get(item_id, {})
        if "attributes" not in known:
            return None
        photos = tuple(base64.b64decode(photo) for photo in known["photos"])
        return Details(known["attributes"], photos)

    def listed(self, where: Filter, offset: int, limit: int) -> tuple[list[str], int]:
        """See `VectorStore`; reads all ids that pass, since Qdrant keeps no order."""
        ids: list[str] = []
        after: Any = None
        with _said():
            while True:
                points, after = self._client.scroll(
                    self._collection,
                    scroll_filter=self._condition(where, None),
                    limit=_LISTED,
                    offset=after,
                    with_payload=["item_id"],
                )
                ids += [point.payload["item_id"] for point in points]
                if after is None:
                    break
        return sorted(ids)[offset : offset + limit], len(ids)

    def sample(self, count: int) -> tuple[list[str], Vectors]:
        """See `VectorStore`; points are sorted by a hash of their ids already."""
        with _said():
            points, _ = self._client.scroll(
                self._collection, limit=count, with_payload=["item_id"], with_vectors=True
            )
        points = sorted(points, key=lambda point: str(point.payload["item_id"]))
        vectors = np.array([point.vector for point in points], dtype=np.float32)
        ids = [point.payload["item_id"] for point in points]
        return ids, vectors.reshape(len(points), self._dims)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep this process's other writes out; another process's may fall between."""
        with self._lock:
            yield

    def info(self) -> QdrantInfo:
        with _said():
            status = str(self._client.get_collection(self._collection).status.value)
        search = "approximate" if self._remote else "exact"
        return QdrantInfo(len(self), self._dims, self._model, status, search)

    def optimize(self) -> tuple[int, int]:
        """Refused: the server optimizes by itself."""
        raise StorageError("Qdrant tidies its collections up by itself; there is nothing to do.")

    def close(self) -> None:
        self._client.close()

    def _create(self, dims: int, options: dict[str, int], model: str) -> None:
        models = self._models
        self._client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=dims, distance=models.Distance.DOT),
            shard_number=options.get("shards"),
            replication_factor=options.get("replicas"),
            write_consistency_factor=options.get("consistency"),
            metadata={"model": model},
        )
        kinds = {
            "item_id": models.PayloadSchemaType.KEYWORD,
            "brand": models.PayloadSchemaType.KEYWORD,
            "categories": models.PayloadSchemaType.KEYWORD,
            "price": models.PayloadSchemaType.FLOAT,
            "in_stock": models.PayloadSchemaType.BOOL,
        }
        # The local mode scans, and warns where an index is asked for.
        for field, kind in kinds.items() if self._remote else ():
            self._client.create_payload_index(self._collection, field, kind)

    def _retrieve(self, ids: Sequence[str], fields: Any, *, vectors: bool = False) -> list[Any]:
        points = [_point(item_id) for item_id in ids]
        found: list[Any] = []
        with _said():
            for start, stop in blocks(len(points), _AT_ONCE):
                found += self._client.retrieve(
                    self._collection,
                    points[start:stop],
                    with_payload=fields,
                    with_vectors=vectors,
                )
        return found

    def _payloads(self, ids: Sequence[str], fields: Any = True) -> dict[str, dict[str, Any]]:
        found = self._retrieve(ids, fields)
        return {point.payload["item_id"]: point.payload for point in found}

    def _condition(self, where: Filter, skip: str | None) -> Any:
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
        own = [] if skip is None else [models.HasIdCondition(has_id=[_point(skip)])]
        return models.Filter(must=must, must_not=own) if must or own else None


def _parts(address: str) -> tuple[str, str, str, dict[str, int]]:
    """Of a collection's address the server's, or a folder's; the name; and the options."""
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in ("shards", "replicas", "consistency") or not value.isdecimal():
            raise ConfigError(
                f"{name}={value} in {address!r} is unknown; shards, replicas and consistency "
                "take a number."
            )
    folder, _, collection = unquote(parts.path).rpartition("/")
    if not collection or (parts.netloc and folder) or not (parts.netloc or folder):
        raise ConfigError(
            f"{address!r} is no address of a collection; write qdrant://HOST:PORT/COLLECTION."
        )
    scheme = "https" if parts.scheme == "qdrants" else "http"
    server = f"{scheme}://{parts.netloc}" if parts.netloc else ""
    return server, folder, collection, {name: int(value) for name, value in options.items()}


def _point(item_id: str) -> str:
    return str(uuid.uuid5(_NAMES, item_id))


def _payload(item_id: str, known: Metadata) -> dict[str, Any]:
    levels = known.category.split(SEPARATOR)
    return {
        "item_id": item_id,
        "title": known.title,
        "brand": known.brand,
        "categories": [SEPARATOR.join(levels[: depth + 1]) for depth in range(len(levels))],
        "price": known.price,
        "in_stock": known.in_stock,
    }


def _metadata(payload: dict[str, Any]) -> Metadata:
    category = payload["categories"][-1]
    return Metadata(
        payload["title"], payload["brand"], category, payload["price"], payload["in_stock"]
    )


@contextmanager
def _said() -> Iterator[None]:
    """Turn what the client raises, which has no common base, into one sentence."""
    try:
        yield
    except (StorageError, ConfigError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StorageError(
            f"Qdrant refused ({type(error).__name__}: {reason}); check its address and its log."
        ) from error

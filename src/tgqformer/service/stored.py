"""What is stored of a model's items: the vector store's rows, and the records beside them.

Other processes may write to the store, or build it anew. A record counts only while the row that it
was settled with is there, which is looked at before a record is read or written.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tgqformer.retrieval.filters import Filter, Metadata
from tgqformer.retrieval.local import LocalIndex
from tgqformer.retrieval.scores import Vectors
from tgqformer.retrieval.store import LanceStore
from tgqformer.service.records import Details, Put, Records

_LISTS = 4  # sorted lists of ids that are kept
_INT8 = 0.01  # more than a value of length-1 vectors is off where the mirror keeps int8


class Stored:
    """The items of `index`'s store; threads may read while one writes.

    Raises:
        StorageError: the store or its records cannot be used.
    """

    def __init__(self, index: LocalIndex) -> None:
        self._index = index
        self._reader = LanceStore(index.store.path)
        self._reading = threading.Lock()
        self._lists: dict[tuple[str, int, Filter], list[str]] = {}
        self.records = Records(index.store.path)
        self._recording = threading.RLock()
        self.settle([item_id for item_id in self.records.ids() if item_id not in index.mirror])

    def vector(self, item_id: str) -> Vectors | None:
        """An item's vector, float32 [D]; None where it is not stored."""
        self._index.refresh()
        _, vectors = self._index.mirror.present([item_id])
        return vectors[0] if len(vectors) else None

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """Metadata of those of `ids` that are stored."""
        with self._reading:
            self._reader.newest()
            return self._reader.metadata(ids)

    def details(self, item_id: str) -> Details | None:
        """What the records keep of a stored item; None where nothing is."""
        with self._recording:
            if not self.records.begun:
                self.settle()
        return self.records.details(item_id)

    def kept(self, ids: Iterable[str]) -> dict[str, Put]:
        """What would put those of `ids` that are stored as they are now."""
        self._index.refresh()
        here, vectors = self._index.mirror.present(list(ids))
        known = self.metadata(here)
        return {i: Put(v, known[i], None) for i, v in zip(here, vectors) if i in known}

    def listed(self, where: Filter, offset: int, limit: int) -> tuple[list[str], int]:
        """Ids of the items that pass a filter, sorted, from `offset` on; and how many there are."""
        with self._reading:
            key = (*self._reader.newest(), where)
            ids = self._lists.get(key)
            if ids is None:
                ids = sorted(self._reader.ids(where or None))
                while len(self._lists) >= _LISTS:
                    self._lists.pop(next(iter(self._lists)))
                self._lists[key] = ids
        return ids[offset : offset + limit], len(ids)

    def put(self, puts: Mapping[str, Put]) -> None:
        """Insert or replace items durably; what failed has not happened, or wholly."""
        vectors = np.stack([put.vector for put in puts.values()])
        with self._recording:
            self.records.begin(puts)
            seen = self.records.seen
        try:
            self._index.upsert(list(puts), vectors, [put.metadata for put in puts.values()])
        except Exception:
            self.settle()
            raise
        self.settle(wrote_at=seen)

    def delete(self, ids: Collection[str]) -> None:
        """Remove items durably."""
        seen = self.records.seen
        removed = self._index.delete(list(ids))
        self.settle(ids, wrote_at=seen if removed else None)

    def settle(
        self, gone: Collection[str] = (), *, wrote_at: tuple[str, int] | None = None
    ) -> None:
        """Bring the records to the store, whoever wrote to it; what was begun must be done.

        Args:
            gone: ids whose records go in any case.
            wrote_at: what was seen before a write that was done here just now; where that was the
                only one since, it need not be read.
        """
        with self._recording:
            (table, since), begun = self.records.seen, self.records.begun
            with self._reading:
                newest = self._reader.newest()
                if newest == (table, since) and not begun and not gone:
                    return
                if wrote_at == (table, since) and newest == (table, since + 1):
                    self.records.settle(newest, begun, gone)
                    return
                written = set(self._reader.ids(since=since)) if newest[0] == table else None
            landed = self._landed(begun if written is None else begun.keys() & written)
            others = None if written is None else (written - landed).union(gone)
            self.records.settle(newest, landed, others)

    def close(self) -> None:
        """Let go of files; the index is left open."""
        self.records.close()
        self._reader.close()

    def _landed(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids`, which were begun, that the store holds as they were begun."""
        begun = self.records.begun
        return {
            item_id
            for item_id, put in self.kept(ids).items()
            if put.metadata == begun[item_id].metadata
            and put.vector.shape == begun[item_id].vector.shape
            and np.allclose(put.vector, begun[item_id].vector, atol=_INT8)
        }

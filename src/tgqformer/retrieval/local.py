"""One machine's index: the durable store, its exact mirror and, while current, the sidecar."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import numpy.typing as npt

from tgqformer.errors import StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.filters import Filter, Metadata
from tgqformer.retrieval.mirror import ExactMirror, MirrorPrecision
from tgqformer.retrieval.rows import checked
from tgqformer.retrieval.scores import as_vectors
from tgqformer.retrieval.sidecar import (
    FOLDER,
    MANIFEST,
    Sidecar,
    SidecarKind,
    build_sidecar,
    carry_over,
    open_sidecar,
)
from tgqformer.retrieval.store import LanceStore
from tgqformer.retrieval.store_files import stamp

_CANDIDATES = 2  # that the sidecar proposes for each neighbour asked for


class LocalIndex:
    """A `VectorStore` over a folder made by `LanceStore.build`.

    Every search first takes in what any process has written since the last: changed rows alone are
    read, nothing is rebuilt. Threads may share it.

    Args:
        path: the store's folder.
        precision: of the mirror; "int8" takes a quarter of the memory and keeps directions only.
        sidecar: search through the store's sidecar while it is current; the exact mirror judges
            its candidates, and answers alone where a filter is given or the store has moved on.

    Raises:
        StorageError: there is no store, or it cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: MirrorPrecision = "float32",
        sidecar: bool = True,
    ) -> None:
        self.store = LanceStore(path)
        self._writer = LanceStore(path)  # so that searches need not wait for a write
        self.mirror = ExactMirror(self.store.dims, precision)
        self.sidecar: Sidecar | None = None
        self.sidecar_refused = ""  # why there is none, in a sentence
        self._wants_sidecar = sidecar
        self._sidecar_checked: object = None
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        self._seen: tuple[str | None, int] = (None, -1)
        self.refresh()

    @property
    def dims(self) -> int:
        return self.store.dims

    @property
    def version(self) -> int:
        """The store's version that the mirror holds."""
        return self._seen[1]

    def __len__(self) -> int:
        return len(self.mirror)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """See `VectorStore`; the mirror has the change when this returns."""
        with self._writing:
            version = self._writer.upsert(ids, vectors, metadata)
            table = self._writer.manifest.table
        with self._reading:
            # Where this was the only write since, what changed is known and need not be read.
            if metadata is not None and len(ids) and self._seen == (table, version - 1):
                self.mirror.update([checked(ids, vectors, metadata, self.dims)])
                self._seen = (table, version)
            self.refresh()

    def delete(self, ids: Sequence[str]) -> int:
        """See `VectorStore`; the mirror has the change when this returns."""
        with self._writing:
            removed = self._writer.delete(ids)
            table, version = self._writer.manifest.table, self._writer.version
        with self._reading:
            if removed and self._seen == (table, version - 1):
                self.mirror.update(drop=ids)
                self._seen = (table, version)
            self.refresh()
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
        """See `VectorStore`.

        Args:
            exclude: [M], an id that each query must not find, or None.
            exact: leave the sidecar aside.
        """
        self.refresh()
        sidecar = self._current_sidecar()
        if sidecar is None or where or exact:
            return self.mirror.search(queries, k, where, exclude)
        wanted = as_vectors(queries, "queries")
        if k < 1 or wanted.shape[1] != self.dims:
            return self.mirror.search(queries, k)  # which says what is wrong
        near = sidecar.candidates(wanted, _CANDIDATES * k + 1)
        own = list(exclude) if exclude is not None else [None] * len(wanted)
        kept = [[i for i in ids if i != self_id] for ids, self_id in zip(near, own)]
        return self.mirror.judge(wanted, k, kept)

    def similar(
        self, item_id: str, k: int = 10, where: Filter | None = None, *, exact: bool = False
    ) -> list[Neighbour]:
        """The `k` items nearest to a stored one, itself excluded, best first."""
        self.refresh()
        vector = self.mirror.vectors([item_id])
        return self.search(vector, k, where, exclude=[item_id], exact=exact)[0]

    def refresh(self) -> None:
        """Bring the mirror to the store's newest version, and the sidecar with it."""
        with self._reading:
            while self.store.newest() != self._seen:
                self._follow()
            if self._wants_sidecar:
                self._follow_sidecar()

    def build_sidecar(
        self, kind: SidecarKind = "hnsw", *, effort: int | None = None, queries: int = 200
    ) -> Sidecar:
        """Build, measure and swap in a sidecar of what the store holds now.

        Searches go on meanwhile; a write that comes in between makes the sidecar stale.
        """
        with self._writing:
            self.refresh()
            table, version = self._seen
            built = build_sidecar(
                self.store.path,
                self.mirror,
                str(table),
                version,
                kind=kind,
                effort=effort,
                queries=queries,
            )
        with self._reading:
            self.sidecar = built
        return built

    def optimize(self) -> tuple[int, int]:
        """Tidy the store up; a current sidecar stays current. Returns bytes before and after."""
        with self._writing:
            sizes = optimize(self._writer)
        self.refresh()
        return sizes

    def close(self) -> None:
        """Let go of the store's files."""
        self.store.close()
        self._writer.close()

    def _follow(self) -> None:
        table, since = self._seen
        if self.store.manifest.table != table:
            # Opened just now, or built anew since, perhaps with vectors of another width.
            mirror = ExactMirror(self.store.dims, self.mirror.precision)
            changes = self.store.changes(take=lambda rows, count: mirror.update([rows], room=count))
        else:
            mirror = self.mirror
            changes = self.store.changes(table, since)
            if changes.table != table:
                return
            mirror.update(changes.rows)
        if len(mirror) > changes.count:
            mirror.keep(self.store.ids())
        self.mirror = mirror
        self._seen = (changes.table, changes.version)

    def _follow_sidecar(self) -> None:
        """Take up the sidecar on the disk where it fits what the mirror holds."""
        table, version = self._seen
        checked = (self._seen, stamp(self.store.path / FOLDER / MANIFEST))
        if checked == self._sidecar_checked or self._current_sidecar() is not None:
            return
        try:
            self.sidecar = open_sidecar(
                self.store.path, self.mirror, str(table), version, known=self.sidecar
            )
            self.sidecar_refused = ""
        except StorageError as error:
            self.sidecar_refused = str(error)
        self._sidecar_checked = checked

    def _current_sidecar(self) -> Sidecar | None:
        sidecar = self.sidecar
        fits = sidecar is not None and (
            (sidecar.manifest.table, sidecar.manifest.version) == self._seen
        )
        return sidecar if fits else None


def optimize(store: LanceStore) -> tuple[int, int]:
    """Merge a store's small files and remove old versions; a current sidecar stays current."""
    return store.optimize(lambda table, old, new: carry_over(store.path, table, old, new))

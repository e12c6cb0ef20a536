"""One machine's index: the durable store, its exact mirror and, where there is one, the sidecar."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence

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
    open_sidecar,
    outdated,
    read_manifest,
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
        sidecar: search through the store's sidecar where there is one; the exact mirror judges its
            candidates and all that was written since it was built, and answers alone where a
            filter is given or that has become too much.

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
        self._sidecar_looked_at: object = None
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
                self._written(ids)
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
        sidecar = self.sidecar
        if sidecar is None or where or exact:
            return self.mirror.search(queries, k, where, exclude)
        wanted = as_vectors(queries, "queries")
        if k < 1 or wanted.shape[1] != self.dims:
            return self.mirror.search(queries, k)  # which says what is wrong
        changed = sidecar.changed
        near = sidecar.candidates(wanted, _CANDIDATES * k + 1)
        own = list(exclude) if exclude is not None else [None] * len(wanted)
        kept = [changed.union(ids) - {itself} for ids, itself in zip(near, own)]
        found = self.mirror.judge(wanted, k, kept)
        # Where deleted items took the candidates' places, or there are no more than k.
        short = [row for row, line in enumerate(found) if len(line) < k]
        if short:
            whole = self.mirror.search(wanted[short], k, exclude=[own[row] for row in short])
            for row, line in zip(short, whole):
                found[row] = line
        return found

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

        Searches and writes go on meanwhile.
        """
        self.refresh()
        with self._reading:
            mirror, (table, version) = self.mirror, self._seen
        path = self.store.path
        built = build_sidecar(
            path, mirror, str(table), version, kind=kind, effort=effort, queries=queries
        )
        with self._reading:
            if self._wants_sidecar and self._seen[0] == table:
                self._take_up(built, self._sidecar_on_disk())
        return built

    def optimize(self) -> tuple[int, int]:
        """Tidy the store up. Returns bytes before and after."""
        with self._writing:
            sizes = self._writer.optimize()
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
            self.sidecar = None
        else:
            mirror = self.mirror
            changes = self.store.changes(table, since)
            if changes.table != table:
                return
            mirror.update(changes.rows)
            for rows in changes.rows:
                self._written(rows.ids)
        if len(mirror) > changes.count:
            mirror.keep(self.store.ids())
        self.mirror = mirror
        self._seen = (changes.table, changes.version)

    def _written(self, ids: Iterable[str]) -> None:
        """Let searches judge `ids` beside the sidecar's candidates; the mirror has them already."""
        if self.sidecar is not None:
            self.sidecar.changed = self.sidecar.changed.union(ids)

    def _follow_sidecar(self) -> None:
        """Let go of a sidecar beside which too much has changed; take up one that was built."""
        if self.sidecar is not None:
            self._keep_while_current(self.sidecar)
        found = self._sidecar_on_disk()
        if found == self._sidecar_looked_at:
            return
        table, version = self._seen
        try:
            told = read_manifest(self.store.path)
            if told is not None and told.table == table and told.version > version:
                return  # somebody wrote and built just now: at the next look
            self._take_up(open_sidecar(self.store.path, str(table)), found)
        except StorageError as error:
            self.sidecar, self.sidecar_refused = None, str(error)
            self._sidecar_looked_at = found

    def _take_up(self, sidecar: Sidecar, found: object) -> None:
        """Search through `sidecar` from now on, the one of `found` on the disk."""
        sidecar.changed = frozenset(self.store.ids(since=sidecar.manifest.version))
        self._keep_while_current(sidecar)
        self._sidecar_looked_at = found

    def _keep_while_current(self, sidecar: Sidecar) -> None:
        moved = len(sidecar.changed)
        self.sidecar_refused = outdated(sidecar.manifest, moved, len(self.mirror))
        self.sidecar = None if self.sidecar_refused else sidecar

    def _sidecar_on_disk(self) -> object:
        return self._seen[0], stamp(self.store.path / FOLDER / MANIFEST)

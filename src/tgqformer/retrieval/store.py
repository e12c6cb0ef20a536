"""The durable store: items' vectors and metadata in LanceDB.

A folder with a small manifest, `store.json`, that names the current table, and the table. Any
number of processes may read it while one at a time writes; a write that has returned is on the disk
and survives the end of its process at any moment, and one cut short has not happened.

Every row carries a `revision`, the table's version at the write that set it. What changed since a
version is therefore one scan over integers; see `Changes`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import only_writer
from tgqformer.retrieval.filters import Filter, Metadata, quoted
from tgqformer.retrieval.lance import Batches, connect, create_table, said
from tgqformer.retrieval.rows import (
    StoredRows,
    check_ids,
    checked,
    from_arrow,
    metadata_of,
    to_arrow,
)
from tgqformer.retrieval.store_files import (
    LOCK,
    MANIFEST,
    StoreManifest,
    TableFiles,
    folder_size,
    read_manifest,
    remove_tables,
    stamp,
    write_manifest,
)

_IDS_AT_ONCE = 1000  # in one condition
_ROWS_AT_ONCE = 16_384
_TICK = 100_000_000  # ns, more than a tick of any file system's clock
_READS = 5  # a table may be replaced or its old version removed under a reader
# A write tidies up where the folder is so many times what its rows needed when it was last tidied
# up. Tidying writes them anew before it removes the old, so that thrice that is never reached.
_GROWTH = 1.7
_SMALL = 256 * 1024  # bytes, for which that is not worth while
_VERSIONS = 512  # or where so many versions are kept
_OLD = timedelta(milliseconds=1)  # a version that is tidied away
_TRIES = 3

_T = TypeVar("_T")


@dataclass(frozen=True)
class Changes:
    """What a copy that knew version `since` lacks.

    Attributes:
        table: name of the table; where it is not the copy's, `rows` is all there is.
        version: the version that the copy has once it took these in.
        rows: rows inserted or replaced since.
        count: rows of that version. A copy that took `rows` in and has more holds deleted ones; it
            never has fewer, since a row not changed since `since` was known to it.
    """

    table: str
    version: int
    rows: list[StoredRows]
    count: int


@dataclass(frozen=True)
class StoreInfo:
    """Figures of a store: rows, width, model, version, versions kept, bytes on the disk."""

    items: int
    dims: int
    model: str
    table: str
    version: int
    versions: int
    bytes: int
    compacted_bytes: int


class LanceStore:
    """A store at `path`, opened for one thread; `LanceStore.build` makes one.

    Raises:
        StorageError: there is none, or it cannot be read.
        MissingDependencyError: lancedb is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._table: Any
        self._files = TableFiles(self.path)
        self._settled: tuple[tuple[int, int] | None, tuple[int, int] | None] | None = None
        self._newest = ("", -1)  # while the files are those of `_settled`
        self._open()

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        batches: Batches,
        *,
        dims: int,
        model: str = "",
        replace: bool = False,
    ) -> LanceStore:
        """Make a store of `batches` of (ids, vectors [n, dims], metadata or None), in order.

        It appears, or takes the old one's place, when all are written; an error or a kill before
        that changes nothing. Ids must differ over all batches.

        Args:
            model: digest of the model, kept in the manifest.
            replace: allow a store to be there already.

        Raises:
            StorageError: a batch does not fit, a store is there already, or the system refused.
        """
        root = Path(path)
        if dims < 1:
            raise ConfigError(f"dims is {dims}, but must be at least 1.")
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {root}: {error.strerror}.") from error
        with only_writer(root / LOCK):
            if (root / MANIFEST).exists() and not replace:
                raise StorageError(
                    f"{root} is a store already; upsert into it, or build with --replace."
                )
            name = f"items-{os.urandom(4).hex()}"
            try:
                with said(root):
                    rows = create_table(root, name, batches, dims)
                size, _ = TableFiles(root / f"{name}.lance").sync()
                manifest = StoreManifest(name, dims, model, size, rows)
                write_manifest(root, manifest)
            except BaseException:
                shutil.rmtree(root / f"{name}.lance", ignore_errors=True)
                raise
            remove_tables(root, keep=name)
        return cls(root)

    @property
    def dims(self) -> int:
        return self.manifest.dims

    @property
    def version(self) -> int:
        """The version that this handle reads; `refresh` moves it to the newest."""
        return int(self._table.version)

    def __len__(self) -> int:
        return self._reading(lambda: int(self._table.count_rows()))

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
    ) -> int:
        """Insert or replace items, all of them or none; return the version that has them.

        Without `metadata` an item that is known keeps its own.

        Raises:
            StorageError: the batch does not fit, or the system refused.
        """
        rows = checked(ids, vectors, metadata, self.dims)
        with self._writing():
            if rows.ids and metadata is None:
                known = self._metadata(rows.ids)
                kept = [known.get(item_id, Metadata()) for item_id in rows.ids]
                rows = StoredRows(rows.ids, rows.vectors, kept)
            if rows.ids:
                merge = self._table.merge_insert("item_id").when_matched_update_all()
                merge = merge.when_not_matched_insert_all()
                merge.execute(to_arrow(rows, self.dims, self.version + 1))
            return self.version

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items, ids that are not there being no error; return how many were there."""
        check_ids(ids)
        with self._writing():
            before = self._table.count_rows()
            for start in range(0, len(ids), _IDS_AT_ONCE):
                self._table.delete(_among(ids[start : start + _IDS_AT_ONCE]))
            return int(before - self._table.count_rows())

    def ids(self, where: Filter | None = None, *, since: int | None = None) -> list[str]:
        """Ids of all items, in no order to rely on.

        Args:
            where: only of those that pass this filter.
            since: only of those that were written after this version.
        """

        def read() -> list[str]:
            query = self._table.search().select(["item_id"])
            conditions = [where.to_sql()] if where else []
            if since is not None:
                conditions.append(f"revision > {int(since)}")
            if conditions:
                query = query.where(" AND ".join(f"({said})" for said in conditions))
            found: list[str] = query.to_arrow().column("item_id").to_pylist()
            return found

        return self._reading(read)

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """Metadata of those of `ids` that are stored."""
        check_ids(ids)
        return self._reading(lambda: self._metadata(ids))

    def changes(
        self,
        table: str | None = None,
        since: int = -1,
        *,
        take: Callable[[StoredRows, int], None] | None = None,
    ) -> Changes:
        """What a copy of `table` at version `since` lacks now; without arguments, everything.

        Args:
            take: called with some rows and the count of all, again and again, instead of keeping
                them in memory; after a failed read it may see rows twice.
        """

        def read() -> Changes:
            self.refresh()
            query = self._table.search().select(
                ["item_id", "vector", "title", "brand", "category", "price", "in_stock"]
            )
            if table == self.manifest.table:
                query = query.where(f"revision > {int(since)}")
            count = int(self._table.count_rows())
            rows: list[StoredRows] = []
            for batch in query.to_batches(_ROWS_AT_ONCE):
                part = from_arrow(batch, self.dims)
                if take is None:
                    rows.append(part)
                else:
                    take(part, count)
            return Changes(self.manifest.table, self.version, rows, count)

        return self._reading(read)

    def newest(self) -> tuple[str, int]:
        """Name and version of the table as it is now, whoever wrote last."""
        stamps = stamp(self.path / MANIFEST), stamp(self._folder / "_versions")
        if stamps != self._settled:
            self._reading(self.refresh)
            # File times advance in ticks: a second write within one would leave no trace.
            times = [stamp[1] for stamp in stamps if stamp is not None]
            old = len(times) == 2 and max(times) < time.time_ns() - _TICK
            self._settled = stamps if old else None
            self._newest = (self.manifest.table, self.version)
        return self._newest

    def refresh(self) -> None:
        """Read the newest version from now on."""
        if self._opened != stamp(self.path / MANIFEST):
            self._open()
        self._table.checkout_latest()

    def optimize(self) -> tuple[int, int]:
        """Merge small files and remove old versions; return the bytes before and after."""
        with self._writing(tidy=False):
            before, _ = self._files.sync()
            self._tidy()
            return before, self._files.sync()[0]

    def info(self) -> StoreInfo:
        """Figures of the newest version."""
        self._reading(self.refresh)
        manifest = self.manifest
        size, versions = folder_size(self._folder)
        return StoreInfo(
            items=len(self),
            dims=manifest.dims,
            model=manifest.model,
            table=manifest.table,
            version=self.version,
            versions=versions,
            bytes=size,
            compacted_bytes=manifest.compacted_bytes,
        )

    def close(self) -> None:
        """Let go of the table's files."""
        self._table = None

    @property
    def _folder(self) -> Path:
        return self.path / f"{self.manifest.table}.lance"

    def _open(self) -> None:
        self._opened = stamp(self.path / MANIFEST)
        self.manifest = read_manifest(self.path)
        with said(self.path):
            self._table = connect(self.path).open_table(self.manifest.table)
        if self._files.folder != self._folder:
            self._files = TableFiles(self._folder)

    @contextmanager
    def _writing(self, *, tidy: bool = True) -> Iterator[None]:
        """Hold the writer's lock at the newest version; afterwards all is on the disk."""
        with only_writer(self.path / LOCK), said(self.path):
            self.refresh()
            before = self.version
            yield
            if self.version == before:
                return
            size, versions = self._files.sync()
            compacted = float(self.manifest.compacted_bytes)
            if self.manifest.compacted_rows:  # fewer rows than then need less
                compacted *= min(1.0, self._table.count_rows() / self.manifest.compacted_rows)
            limit = max(_GROWTH * compacted, _SMALL)
            if tidy and (size > limit or versions > _VERSIONS):
                self._tidy()

    def _tidy(self) -> None:
        for _ in range(_TRIES):
            # Unverified files are what a killed writer left: under the lock, nobody writes.
            self._table.optimize(cleanup_older_than=_OLD, delete_unverified=True)
            self._table.checkout_latest()
            size, versions = self._files.sync()
            if versions == 1:  # else a clock that was set back has old ones look new
                rows = int(self._table.count_rows())
                self.manifest = changed(self.manifest, compacted_bytes=size, compacted_rows=rows)
                write_manifest(self.path, self.manifest)
                break
            time.sleep(_OLD.total_seconds())
        self._opened = stamp(self.path / MANIFEST)
        remove_tables(self.path, keep=self.manifest.table)

    def _metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        found: dict[str, Metadata] = {}
        columns = ["item_id", "title", "brand", "category", "price", "in_stock"]
        for start in range(0, len(ids), _IDS_AT_ONCE):
            query = self._table.search().where(_among(ids[start : start + _IDS_AT_ONCE]))
            table = query.select(columns).to_arrow()
            found.update(zip(table.column("item_id").to_pylist(), metadata_of(table)))
        return found

    def _reading(self, read: Callable[[], _T]) -> _T:
        for attempt in range(_READS):
            try:
                with said(self.path):
                    return read()
            except StorageError:
                if attempt == _READS - 1:
                    raise
                time.sleep(0.01 * 2**attempt)
                self._open()
        raise AssertionError("unreachable")


def _among(ids: Sequence[str]) -> str:
    return f"item_id IN ({', '.join(map(quoted, ids))})"

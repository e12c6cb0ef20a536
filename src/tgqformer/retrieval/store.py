"""The durable store: items with their vectors, metadata, attributes and photos in one SQLite file.

SQLite's write-ahead log with `synchronous=FULL` is the engine: a write is one transaction, which is
on the disk (synced) when it returns and has not happened when it was cut short. Any number of
processes read while one writes; a second writer waits its turn.

Every row has a sequence number, the next one at the write that set it, and so has every deletion:
what a copy in memory lacks is one look for numbers above its last (`Store.changes`).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import sync_folder
from tgqformer.retrieval.protocols import (
    Batches,
    Details,
    ItemStore,
    Metadata,
    Record,
    check_ids,
    checked,
)
from tgqformer.retrieval.scores import Vectors, blocks
from tgqformer.retrieval.sqlite import (
    FILE,
    KNOWN,
    State,
    connect,
    forget,
    give_back,
    insert,
    make,
    metadata_of,
    pragma,
    put_about,
    read_state,
    refuse_old,
    sqlite_errors,
)

_AT_ONCE = 500  # ids in one statement
_ROWS = 8192  # read at once


class Columns(NamedTuple):
    """Some rows, column by column: vectors float32 [n, D], NaN-free; None is unknown."""

    seqs: Sequence[int]
    ids: Sequence[str]
    brands: Sequence[str]
    categories: Sequence[str]
    prices: Sequence[float | None]
    stock: Sequence[bool | None]
    vectors: Vectors


@dataclass(frozen=True)
class StoreInfo:
    """Figures of a store.

    Attributes:
        version: the last sequence number, which every write raises.
        bytes: of the folder.
        free_bytes: of it, what `optimize` would give back, about.
        memory_bytes: of its vectors in memory; `memory_bytes_int8` at precision int8.
    """

    items: int
    dims: int
    model: str
    version: int
    bytes: int
    free_bytes: int
    memory_bytes: int
    memory_bytes_int8: int


class Store(ItemStore):
    """The store in folder `path`; `Store.build` makes one. Threads may share it.

    Raises:
        StorageError: there is none, it is of an older format, or it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self.path / FILE
        self._reads, self._writes = threading.RLock(), threading.RLock()
        self._reader: Any = None
        self._writer: Any = None
        self._opened: tuple[int, ...] = ()  # what the reader's file was, as much as matters
        self._writes_to = 0  # the writer's file
        self._depth = self._next = 0  # of the transaction under way
        self._seen: tuple[object, State] | None = None
        self.state()

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        batches: Batches,
        *,
        dims: int,
        model: str = "",
        replace: bool = False,
    ) -> Store:
        """Make a store of `batches` of (ids, vectors [n, dims], metadata or None), in order.

        It appears, or takes the old one's place, when all are written; an error or a kill before
        that changes nothing. Ids must differ over all batches.

        Args:
            model: digest of the model.
            replace: allow a store to be there already, of whatever format.

        Raises:
            StorageError: a batch does not fit, a store is there already, or the system refused.
        """
        root = Path(path)
        if dims < 1:
            raise ConfigError(f"dims is {dims}, but must be at least 1.")
        if not replace and not (root / FILE).exists():
            refuse_old(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {root}: {error.strerror}.") from error
        sync_folder(root.parent)
        make(root, batches, dims, model, replace)
        return cls(root)

    @property
    def dims(self) -> int:
        """Width of the vectors."""
        return self.state().dims

    @property
    def model(self) -> str:
        """Digest of the model that made the vectors, "" where unknown."""
        return self.state().model

    @property
    def version(self) -> int:
        """The last sequence number."""
        return self.state().last

    def __len__(self) -> int:
        with self._reading() as db:
            return int(db.execute("SELECT COUNT(*) FROM items").fetchone()[0])

    def state(self) -> State:
        """What the store says of itself now, whoever wrote last; the same object until then."""
        with self._reads, sqlite_errors(self._file):
            status = self._stat()
            if self._reader is None or self._opened != status[: len(self._opened)]:
                self._open_reader(status)
            stamp = (self._opened, self._reader.execute("PRAGMA data_version").fetchone()[0])
            if self._seen is None or self._seen[0] != stamp:
                state = read_state(self._reader, self.path)
                if self._seen is not None and self._seen[1] == state:
                    state = self._seen[1]
                self._seen = (stamp, state)
            return self._seen[1]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the writes of the block one: all or none, by one sync, and nobody else's between.

        Raises:
            StorageError: another process writes for a minute, or the system refused.
        """
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writes, sqlite_errors(self._file):
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            db = self._opened_writer()
            db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                before = read_state(db, self.path)
                self._next = before.last
                yield
                if self._next > before.last:
                    put_about(db, last=self._next)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
            with suppress(sqlite3.Error):  # what was written is there in any case
                give_back(db)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
        details: Sequence[Details | None] | None = None,
    ) -> None:
        """Insert or replace items, all of them or none.

        Args:
            vectors: [n, dims].
            metadata: without it an item that is known keeps its own.
            details: without them items lose theirs; an entry of None leaves the item's own.

        Raises:
            StorageError: the batch does not fit, or the system refused.
        """
        rows = checked(ids, vectors, metadata, self.dims, details)
        with self.writing():
            if self.dims != rows.vectors.shape[1]:
                checked(
                    ids, vectors, metadata, self.dims
                )  # built anew since: it says what is wrong
            names = [(item_id,) for item_id in rows.ids]
            if details is None:
                self._writer.executemany("DELETE FROM photos WHERE id = ?", names)
            for item_id, one in zip(rows.ids, details or ()):
                if one is not None:
                    self._writer.execute("DELETE FROM photos WHERE id = ?", (item_id,))
                    photos = [(item_id, n, data) for n, data in enumerate(one.images)]
                    self._writer.executemany("INSERT INTO photos VALUES (?, ?, ?)", photos)
            self._next = insert(
                self._writer, self._next, rows, known=metadata is not None, details=details
            )

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items, ids that are not there being no error; return how many were there."""
        check_ids(ids)
        removed = 0
        with self.writing():
            for item_id in ids:
                if self._writer.execute("DELETE FROM items WHERE id = ?", (item_id,)).rowcount:
                    removed += 1
                    self._next += 1
                    row = (self._next, item_id)
                    self._writer.execute("INSERT INTO deleted VALUES (?, ?)", row)
                    self._writer.execute("DELETE FROM photos WHERE id = ?", (item_id,))
            if removed:
                forget(self._writer)
        return removed

    def newer(self, last: int) -> int:
        """How many items were written after a version and are there."""
        with self._reading() as db:
            return int(
                db.execute("SELECT COUNT(*) FROM items WHERE seq > ?", (last,)).fetchone()[0]
            )

    def ids(self) -> list[str]:
        """Ids of all items, sorted."""
        with self._reading() as db:
            return [item_id for (item_id,) in db.execute("SELECT id FROM items ORDER BY id")]

    def records(self, ids: Iterable[str]) -> dict[str, Record]:
        """Vector and metadata of those of `ids` that are stored."""
        columns = f"{KNOWN}, vector"
        return {
            row[0]: Record(np.frombuffer(row[6], "<f4").astype(np.float32), metadata_of(row))
            for row in self._among(list(ids), columns)
        }

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """Metadata of those of `ids` that are stored."""
        check_ids(ids)
        return {row[0]: metadata_of(row) for row in self._among(ids, KNOWN)}

    def details(self, item_id: str) -> Details | None:
        """Attributes and photos of a stored item; None where nobody told them."""
        with self._reading() as db:
            row = db.execute("SELECT attributes FROM items WHERE id = ?", (item_id,)).fetchone()
            if row is None or row[0] is None:
                return None
            photos = db.execute(
                "SELECT data FROM photos WHERE id = ? ORDER BY position", (item_id,)
            ).fetchall()
        return Details(json.loads(row[0]), tuple(data for (data,) in photos))

    def changes(
        self, copy: State | None, take: Callable[[Columns, int], None]
    ) -> tuple[State, list[str], bool]:
        """Read what a copy of the store lacks now.

        Args:
            copy: the state that the copy has; None for an empty one.
            take: called with rows in the order of their numbers, again and again, and with the
                count of all rows; where the copy must start anew, with all rows.

        Returns:
            The state that the copy has when it has dropped the ids returned and then taken the
            rows; and whether it must start anew instead.
        """
        with self._reading() as db:
            state = read_state(db, self.path)
            anew = copy is None or copy.token != state.token or copy.last < state.kept
            since = -1 if copy is None or anew else copy.last
            count = int(db.execute("SELECT COUNT(*) FROM items").fetchone()[0]) if anew else 0
            gone = [] if anew else db.execute("SELECT id FROM deleted WHERE seq > ?", (since,))
            dropped = [item_id for (item_id,) in gone]
            rows = db.execute(
                "SELECT seq, id, brand, category, price, in_stock, vector FROM items "
                "WHERE seq > ? ORDER BY seq",
                (since,),
            )
            while part := rows.fetchmany(_ROWS):
                seqs, ids, brands, categories, prices, stock, vectors = zip(*part)
                flat = np.frombuffer(b"".join(vectors), "<f4").reshape(-1, state.dims)
                take(Columns(seqs, ids, brands, categories, prices, stock, flat), count)
        return state, dropped, anew

    def set_ann(self, manifest: str, token: str) -> bool:
        """Name the approximate index beside the store; False where the store is another by now."""
        with self._transaction():
            if read_state(self._writer, self.path).token != token:
                return False
            put_about(self._writer, ann=manifest)
            return True

    def optimize(self) -> tuple[int, int]:
        """Write the file anew without its gaps; return the folder's bytes before and after."""
        with self._writes, sqlite_errors(self._file):
            before, db = self._size(), self._opened_writer()
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return before, self._size()

    def info(self) -> StoreInfo:
        """Figures of the store as it is now."""
        with self._reading() as db:
            state = read_state(db, self.path)
            (items,) = db.execute("SELECT COUNT(*) FROM items").fetchone()
            free = pragma(db, "freelist_count") * pragma(db, "page_size")
        size = state.dims * items
        return StoreInfo(
            items,
            state.dims,
            state.model,
            state.last,
            self._size(),
            free,
            4 * size,
            size + 4 * items,
        )

    def close(self) -> None:
        """Let go of the file."""
        with self._writes, self._reads:
            for db in (self._reader, self._writer):
                if db is not None:
                    db.close()
            self._reader = self._writer = None

    def __del__(self) -> None:
        if hasattr(self, "_opened"):
            Store.close(self)

    def _stat(self) -> tuple[int, int, int]:
        try:
            status = self._file.stat()
        except OSError:
            refuse_old(self.path)
            raise StorageError(
                f"{self.path} is no store; make one with `tgqformer index build`."
            ) from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _opened_writer(self) -> Any:
        (file, *_) = self._stat()
        if self._writer is None or self._writes_to != file:
            self._writer, self._writes_to = connect(self._file), file
        return self._writer

    def _open_reader(self, status: tuple[int, int, int]) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._seen = None
        try:
            self._reader, self._opened = connect(self._file), status[:1]
            self._reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # A folder that may not be written to has no place for the log's index.
            if self._file.with_name(f"{FILE}-wal").exists():
                raise
            self._reader, self._opened = connect(self._file, immutable=True), status

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """One state of the store, whoever writes meanwhile."""
        with self._reads, sqlite_errors(self._file):
            self.state()
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def _among(self, ids: Sequence[str], columns: str) -> list[Any]:
        found: list[Any] = []
        with self._reading() as db:
            for start, stop in blocks(len(ids), _AT_ONCE):
                marks = ", ".join("?" * (stop - start))
                query = f"SELECT {columns} FROM items WHERE id IN ({marks})"
                found += db.execute(query, list(ids[start:stop])).fetchall()
        return found

    def _size(self) -> int:
        total = 0
        for path in self.path.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size if path.is_file() else 0
        return total

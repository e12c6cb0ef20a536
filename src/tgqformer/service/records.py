"""What the vector store has no column for: attributes and photos of items that came by the API.

One SQLite file in the store's folder. It is also the journal of writes: an item is begun here, with
its vector, then put in the vector store, then settled here. Until it is settled it reads as before.
Whoever finds something begun after a kill or a failure asks the vector store: what it has is
settled, and the rest has not happened. A write is acknowledged only when it is settled.

A record speaks of the store's row that it was settled with. Whoever settles says which rows others
have written since, whose records go.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tgqformer.errors import StorageError
from tgqformer.retrieval.filters import Metadata
from tgqformer.retrieval.scores import Vectors

FILE = "records.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  id TEXT, begun INTEGER, attributes TEXT, vector BLOB, metadata TEXT, PRIMARY KEY (id, begun)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS photos (
  id TEXT, begun INTEGER, position INTEGER, data BLOB NOT NULL, PRIMARY KEY (id, begun, position)
);
CREATE INDEX IF NOT EXISTS items_begun ON items (id) WHERE begun;
CREATE INDEX IF NOT EXISTS photos_begun ON photos (id) WHERE begun;
"""


@dataclass(frozen=True)
class Details:
    """What a record keeps of an item: its attributes, and its photos as encoded bytes."""

    attributes: Mapping[str, str]
    images: tuple[bytes, ...]


@dataclass(frozen=True)
class Put:
    """An item to store: its vector [D], its metadata, and its details, None for those it has."""

    vector: Vectors
    metadata: Metadata
    details: Details | None


class Records:
    """The records beside a vector store; threads may share them.

    Args:
        folder: the store's.

    Attributes:
        seen: name and version of the store's table when something was last settled.
        begun: what is under way, without its details.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        with self._said():
            # The lock serialises threads, which is all that SQLite asks.
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        with self._transaction() as db:
            about = dict(db.execute("SELECT name, value FROM about"))
            rows = db.execute("SELECT id, vector, metadata FROM items WHERE begun").fetchall()
        self.seen: tuple[str, int] = (about.get("table", ""), int(about.get("version", -1)))
        self.begun: Mapping[str, Put] = {
            item_id: Put(np.frombuffer(vector, "<f4"), Metadata(**json.loads(known)), None)
            for item_id, vector, known in rows
        }

    def begin(self, puts: Mapping[str, Put]) -> None:
        """Write down what is about to be put; what was begun before must have been settled."""
        with self._transaction() as db:
            for item_id, put in puts.items():
                attributes = None
                if put.details is not None:
                    attributes = json.dumps(dict(put.details.attributes))
                    db.executemany(
                        "INSERT INTO photos VALUES (?, 1, ?, ?)",
                        [(item_id, n, data) for n, data in enumerate(put.details.images)],
                    )
                vector, known = put.vector.astype("<f4").tobytes(), json.dumps(asdict(put.metadata))
                row = (item_id, attributes, vector, known)
                db.execute("INSERT INTO items VALUES (?, 1, ?, ?, ?)", row)
        self.begun = {item_id: replace(put, details=None) for item_id, put in puts.items()}

    def settle(
        self, seen: tuple[str, int], landed: Container[str], gone: Iterable[str] | None
    ) -> None:
        """Bring the records to the vector store as it is at `seen`.

        Args:
            landed: those begun that it has; the others have not happened.
            gone: ids whose earlier records tell of it no more; None: of all.
        """
        failed = [(item_id,) for item_id in self.begun if item_id not in landed]
        with self._transaction() as db:
            for table in ("photos", "items"):
                db.executemany(f"DELETE FROM {table} WHERE id = ? AND begun", failed)
                if gone is None:
                    db.execute(f"DELETE FROM {table} WHERE NOT begun")
                else:
                    earlier = [(item_id,) for item_id in gone]
                    db.executemany(f"DELETE FROM {table} WHERE id = ? AND NOT begun", earlier)
                db.execute(
                    f"DELETE FROM {table} WHERE NOT begun AND id IN "
                    "(SELECT id FROM items WHERE begun AND attributes IS NOT NULL)"
                )
            db.execute("DELETE FROM items WHERE begun AND attributes IS NULL")  # it kept its own
            db.execute("UPDATE items SET begun = 0, vector = NULL, metadata = NULL WHERE begun")
            db.execute("UPDATE photos SET begun = 0 WHERE begun")
            db.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                [("table", seen[0]), ("version", str(seen[1]))],
            )
        self.seen, self.begun = seen, {}

    def ids(self) -> list[str]:
        """Ids of all records."""
        with self._transaction() as db:
            return [item_id for (item_id,) in db.execute("SELECT id FROM items WHERE NOT begun")]

    def details(self, item_id: str) -> Details | None:
        """What is kept of an item; None where nothing is."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT attributes FROM items WHERE id = ? AND NOT begun", (item_id,)
            ).fetchone()
            if row is None:
                return None
            photos = db.execute(
                "SELECT data FROM photos WHERE id = ? AND NOT begun ORDER BY position", (item_id,)
            ).fetchall()
        return Details(json.loads(row[0]), tuple(data for (data,) in photos))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock, self._said():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the records {self._path} cannot be used ({error}); check the disk."
            ) from error

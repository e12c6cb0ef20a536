"""What the vector store has no column for: attributes and photos of items that came by the API.

One SQLite file in the store's folder. It is also the journal of writes: an item is put here first,
with its vector and marked as under way, then in the vector store, then marked as settled. Whoever
opens the file after a kill finds what was under way and does it again, which changes nothing where
it was done already. A write is acknowledged only after both.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tgqformer.errors import StorageError
from tgqformer.retrieval.filters import Metadata
from tgqformer.retrieval.scores import Vectors

FILE = "records.sqlite"
_SETTLED, _PUT, _DELETE = 0, 1, 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  id TEXT PRIMARY KEY, attributes TEXT, state INTEGER NOT NULL, vector BLOB, metadata TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS photos (
  id TEXT NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (id, position)
);
CREATE INDEX IF NOT EXISTS under_way ON items (state) WHERE state != 0;
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
        table: the name of its table; the records of another, which a rebuild replaced, are dropped.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, folder: Path, table: str) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        with self._said():
            # The lock serialises threads, which is all that SQLite asks.
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        with self._transaction() as db:
            known = db.execute("SELECT value FROM about WHERE name = 'table'").fetchone()
            if known != (table,):
                for name in ("items", "photos", "about"):
                    db.execute(f"DELETE FROM {name}")
                db.execute("INSERT INTO about VALUES ('table', ?)", (table,))

    def begin(self, puts: Mapping[str, Put], deletes: Sequence[str]) -> None:
        """Write down what is about to be done to the vector store."""
        with self._transaction() as db:
            for item_id, put in puts.items():
                known = json.dumps(asdict(put.metadata))
                vector = put.vector.astype("<f4").tobytes()
                attributes = None
                if put.details is not None:
                    attributes = json.dumps(dict(put.details.attributes))
                    db.execute("DELETE FROM photos WHERE id = ?", (item_id,))
                    db.executemany(
                        "INSERT INTO photos VALUES (?, ?, ?)",
                        [(item_id, n, data) for n, data in enumerate(put.details.images)],
                    )
                db.execute(
                    "INSERT INTO items VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                    "attributes = COALESCE(excluded.attributes, attributes), "
                    "state = excluded.state, vector = excluded.vector, "
                    "metadata = excluded.metadata",
                    (item_id, attributes, _PUT, vector, known),
                )
            db.executemany(
                "INSERT INTO items VALUES (?, NULL, ?, NULL, NULL) ON CONFLICT (id) DO UPDATE SET "
                "state = excluded.state",
                [(item_id, _DELETE) for item_id in deletes],
            )

    def settle(self, puts: Sequence[str], deletes: Sequence[str]) -> None:
        """The vector store has it all."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE items SET state = 0, vector = NULL, metadata = NULL WHERE id = ?",
                [(item_id,) for item_id in puts],
            )
            # A record that tells nothing of its own would only take room.
            db.executemany(
                "DELETE FROM items WHERE id = ? AND attributes IS NULL",
                [(item_id,) for item_id in puts],
            )
            for table in ("items", "photos"):
                db.executemany(
                    f"DELETE FROM {table} WHERE id = ?", [(item_id,) for item_id in deletes]
                )

    def under_way(self) -> tuple[dict[str, Put], list[str]]:
        """What was begun and never settled: items to put, ids to delete."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT id, state, vector, metadata FROM items WHERE state != 0"
            ).fetchall()
        puts = {
            item_id: Put(np.frombuffer(vector, "<f4"), Metadata(**json.loads(known)), None)
            for item_id, state, vector, known in rows
            if state == _PUT
        }
        return puts, [item_id for item_id, state, _, _ in rows if state == _DELETE]

    def details(self, item_id: str) -> Details | None:
        """What is kept of an item; None where nothing is."""
        with self._transaction() as db:
            row = db.execute("SELECT attributes FROM items WHERE id = ?", (item_id,)).fetchone()
            if row is None or row[0] is None:
                return None
            photos = db.execute(
                "SELECT data FROM photos WHERE id = ? ORDER BY position", (item_id,)
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

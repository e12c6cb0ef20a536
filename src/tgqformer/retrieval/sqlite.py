"""The store's SQLite file: its tables, its connections, and its errors as sentences."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tgqformer.errors import StorageError
from tgqformer.retrieval.protocols import Batches, Details, Metadata, Rows, checked

FILE = "store.sqlite"
_FORMAT = 2
_WAIT = 60.0  # seconds that a second writer waits
_DELETIONS = 100_000  # that are remembered, at most
_FREE, _GIVEN_BACK = 64, 1024  # pages that may lie free, and how many a write gives back
_CACHE = 65_536  # KiB of a writer's memory
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, brand TEXT NOT NULL,
  category TEXT NOT NULL, price REAL, in_stock INTEGER, attributes TEXT, vector BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS photos (
  id TEXT NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (id, position)
);
CREATE TABLE IF NOT EXISTS deleted (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);
"""
KNOWN = "id, title, brand, category, price, in_stock"
_LOG_PAGES = (64, 1000)  # of the write-ahead log, at least and at most; between, 1/4 of the file
_ANEW = "build it anew from its Parquet file: `tgqformer index build {} EMBEDDINGS --replace`"
_OLD = ("items-*.lance", "sidecar", "records.sqlite*", ".lock", ".sidecar.lock", "store.json")


class State(NamedTuple):
    """What a store says of itself.

    Attributes:
        token: another for every store that was made.
        last: the last sequence number, its version.
        kept: deletions after this one are remembered; a copy that is older starts anew.
        dims: width of the vectors.
        model: digest of the model that made them, "" where unknown.
        ann: manifest of the approximate index beside it as JSON, "" where there is none.
    """

    token: str
    last: int
    kept: int
    dims: int
    model: str
    ann: str


def connect(file: Path, *, create: bool = False, immutable: bool = False) -> Any:
    """A connection whose every commit is synced; one lock of ours serialises its threads."""
    mode = "mode=ro&immutable=1" if immutable else f"mode={'rwc' if create else 'rw'}"
    db = sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?{mode}",
        uri=True,
        timeout=_WAIT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if create:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts for a new file only
            db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{_CACHE}")
        if not immutable:
            pages = max(_LOG_PAGES[0], min(pragma(db, "page_count") // 4, _LOG_PAGES[1]))
            db.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchone()
            db.execute(f"PRAGMA journal_size_limit = {pages * pragma(db, 'page_size')}").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def make(root: Path, batches: Batches, dims: int, model: str, replace: bool) -> None:
    """Make the file of a store, or all of it anew, in one transaction."""
    file = root / FILE
    with sqlite_errors(file):
        try:
            db = connect(file, create=True)
        except sqlite3.DatabaseError as error:
            if not (replace and is_damaged(error)):
                raise
            for suffix in ("", "-wal", "-shm"):
                file.with_name(FILE + suffix).unlink(missing_ok=True)
            db = connect(file, create=True)
        try:
            _fill(db, root, batches, dims, model, replace)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            db.close()
    for pattern in _OLD if (root / "store.json").exists() else ():
        for old in root.glob(pattern):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def _fill(db: Any, root: Path, batches: Batches, dims: int, model: str, replace: bool) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        if tables and not replace:
            raise StorageError(
                f"{root} is a store already; upsert into it, or build with --replace."
            )
        first = read_state(db, root).last if tables and pragma(db, "user_version") == _FORMAT else 0
        for (name,) in tables:
            db.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_FORMAT}")
        last, seen = first, set[str]()
        for ids, vectors, metadata in batches:
            rows = checked(ids, vectors, metadata, dims)
            twice = seen.intersection(rows.ids)
            if twice:
                raise StorageError(
                    f"item {min(twice)!r} comes twice, but ids must be unique; embed the catalog "
                    "again into an empty folder."
                )
            seen.update(rows.ids)
            last = insert(db, last, rows, known=True, details=None)
        put_about(
            db, token=os.urandom(8).hex(), last=last, kept=first, dims=dims, model=model, ann=""
        )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def insert(
    db: Any, last: int, rows: Rows, *, known: bool, details: Sequence[Details | None] | None
) -> int:
    """Put rows in, numbered after `last`; the last number now."""
    kept = "excluded.attributes" if details is None else "COALESCE(excluded.attributes, attributes)"
    columns = ("title", "brand", "category", "price", "in_stock") if known else ()
    changes = ", ".join(f"{name} = excluded.{name}" for name in ("seq", "vector", *columns))
    texts = [
        None if one is None else json.dumps(dict(one.attributes))
        for one in details or [None] * len(rows.ids)
    ]
    lines = zip(rows.ids, rows.vectors.astype("<f4", copy=False), rows.metadata, texts)
    try:
        db.executemany(
            "INSERT INTO items (seq, id, title, brand, category, price, in_stock, attributes, "
            "vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}, attributes = {kept}",
            (
                (last + n, i, m.title, m.brand, m.category, m.price, m.in_stock, text, v.tobytes())
                for n, (i, v, m, text) in enumerate(lines, start=1)
            ),
        )
    except UnicodeEncodeError as error:
        raise StorageError(f"metadata {error.object!r} is not valid Unicode; mend it.") from error
    return last + len(rows.ids)


def read_state(db: Any, root: Path) -> State:
    version = pragma(db, "user_version")
    if version == 0:  # made, but never filled
        raise StorageError(f"{root} is no store; make one with `tgqformer index build`.")
    if version != _FORMAT:
        raise StorageError(
            f"{root} has format {version}, but this version reads {_FORMAT}; {_ANEW.format(root)}."
        )
    about = dict(db.execute("SELECT name, value FROM about"))
    last, kept, dims = (int(about[name]) for name in ("last", "kept", "dims"))
    return State(about["token"], last, kept, dims, about["model"], about["ann"])


def put_about(db: Any, **values: object) -> None:
    pairs = [(name, str(value)) for name, value in values.items()]
    db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", pairs)


def forget(db: Any) -> None:
    """Forget the older half of too many deletions."""
    (count,) = db.execute("SELECT COUNT(*) FROM deleted").fetchone()
    if count <= _DELETIONS:
        return
    (kept,) = db.execute(
        "SELECT seq FROM deleted ORDER BY seq LIMIT 1 OFFSET ?", (count // 2,)
    ).fetchone()
    db.execute("DELETE FROM deleted WHERE seq <= ?", (kept,))
    put_about(db, kept=kept)


def give_back(db: Any) -> None:
    """Let the file shrink where a quarter of it lies free."""
    free = pragma(db, "freelist_count")
    if free > max(_FREE, pragma(db, "page_count") // 4):
        db.executescript(f"PRAGMA incremental_vacuum({_GIVEN_BACK})")  # a step for each page
        db.execute("PRAGMA busy_timeout = 0")
        try:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            db.execute(f"PRAGMA busy_timeout = {int(1000 * _WAIT)}")


def pragma(db: Any, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def metadata_of(row: Sequence[Any]) -> Metadata:
    _, title, brand, category, price, in_stock = row[:6]
    return Metadata(title, brand, category, price, None if in_stock is None else bool(in_stock))


def refuse_old(root: Path) -> None:
    if (root / "store.json").exists():
        raise StorageError(
            f"{root} is a store of an older version, whose format is read no more; "
            f"{_ANEW.format(root)}."
        )


def is_damaged(error: Exception) -> bool:
    return any(words in str(error) for words in ("malformed", "not a database", "no such table"))


@contextmanager
def sqlite_errors(file: Path) -> Iterator[None]:
    """Turn what SQLite raises into one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        if "locked" in reason:
            words = f"{file} is being written by another process; try again when that has ended."
        elif "full" in reason:
            words = f"{file} cannot be written (the disk is full); free some space, and repeat it."
        elif "readonly" in reason or "unable to open" in reason:
            words = f"{file} cannot be opened or written; choose a folder you may write to."
        elif is_damaged(error):
            words = f"{file} is damaged ({reason}); {_ANEW.format(file.parent)}."
        else:
            words = f"{file} cannot be used ({reason}); check the disk."
        raise StorageError(words) from error

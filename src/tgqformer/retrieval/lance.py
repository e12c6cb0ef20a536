"""What the store asks of lancedb beyond its tables: a connection, a new table, and its errors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from tgqformer.errors import ConfigError, MissingDependencyError, StorageError
from tgqformer.retrieval.filters import Metadata
from tgqformer.retrieval.rows import checked, schema, to_arrow

Batches: TypeAlias = Iterable[tuple[Sequence[str], npt.ArrayLike, Sequence[Metadata] | None]]
"""Ids, vectors [n, D] and metadata, or None where nothing is known."""


def connect(root: Path) -> Any:
    """The database of folder `root`; MissingDependencyError without lancedb."""
    # lancedb logs to stderr that a table which is about to be made is not there.
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        raise MissingDependencyError(
            "the durable store needs lancedb; pip install lancedb."
        ) from error
    return lancedb.connect(str(root))


def create_table(
    root: Path,
    name: str,
    batches: Batches,
    dims: int,
) -> int:
    """Write a table of rows at revision 1 in one commit; ids must differ over all batches.

    Returns:
        How many rows it has.
    """
    import pyarrow as pa

    seen: set[str] = set()

    def read() -> Iterator[Any]:
        for ids, vectors, metadata in batches:
            rows = checked(ids, vectors, metadata, dims)
            twice = seen.intersection(rows.ids)
            if twice:
                raise StorageError(
                    f"item {min(twice)!r} comes twice, but ids must be unique; embed the catalog "
                    "again into an empty folder."
                )
            seen.update(rows.ids)
            yield from to_arrow(rows, dims, 1).to_batches()

    errors: list[BaseException] = []
    reader = pa.RecordBatchReader.from_batches(schema(dims), _first_error(read(), errors))
    try:
        connect(root).create_table(name, data=reader, schema=schema(dims))
        return len(seen)
    except Exception:
        if errors:  # lancedb hides what the reader raised behind an error of its own
            raise errors[0] from None
        raise


@contextmanager
def said(root: Path) -> Iterator[None]:
    """Turn what lancedb raises, which has no common base, into one sentence."""
    try:
        yield
    except (StorageError, ConfigError, MissingDependencyError):
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise StorageError(
            f"the store {root} cannot be used ({reason}); check the disk, or build it again."
        ) from error


def _first_error(batches: Iterator[Any], errors: list[BaseException]) -> Iterator[Any]:
    try:
        yield from batches
    except BaseException as error:
        errors.append(error)
        raise

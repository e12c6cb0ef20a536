"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from tgqformer.errors import StorageError

TABLE_SUFFIXES = (".parquet", ".jsonl", ".csv")
"""The formats of a catalog's tables, best first."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its name once the block has ended well.

    Raises:
        StorageError: the file cannot be written (no folder, no permission, disk full, ...).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _not_written(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a table atomically, in the format that the suffix names.

    The same frame gives the same bytes: one chunk, row groups of a fixed size.

    Raises:
        StorageError: the suffix is none of TABLE_SUFFIXES, or the file cannot be written.
    """
    if path.suffix not in TABLE_SUFFIXES:
        raise StorageError(
            f"{path} has the suffix {path.suffix!r}; tables are written as "
            f"{', '.join(TABLE_SUFFIXES)}."
        )
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.rechunk().write_parquet(temporary, compression="zstd", row_group_size=65_536)
        elif path.suffix == ".jsonl":
            frame.write_ndjson(temporary)
        else:
            # Always quoted: a bare carriage return would else be read as the end of a row.
            frame.write_csv(temporary, quote_style="non_numeric")


def link_or_copy(source: Path, target: Path) -> None:
    """Give a photo a second name, or copy it where the file system cannot; keep one that is there.

    Raises:
        StorageError: the target cannot be written, or the source not be read.
    """
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _umask() -> int:
    # The only portable way to read it sets it; in a process with threads that would be a race.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return 0o022


def _not_written(path: Path, error: Exception) -> StorageError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return StorageError(
        f"{path} cannot be written ({reason}); free some space or choose another folder."
    )

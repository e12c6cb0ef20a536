"""Tables and photos of a catalog on disk, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl

from tgqformer.errors import StorageError
from tgqformer.files import atomic_path

TABLE_SUFFIXES = (".parquet", ".jsonl", ".csv")
"""The formats of a catalog's tables, best first."""


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
    with atomic_path(path, refusals=(pl.exceptions.PolarsError,)) as temporary:
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

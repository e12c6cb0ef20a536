"""Reading the tables of a catalog: Parquet, JSONL and CSV files, or rows that are in memory.

Two shapes come out: Parquet and CSV give a polars frame, JSONL and rows give Python values; both
carry the number of each row, from 1, for the messages. A line that cannot be parsed goes to
quarantine and never stops the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.files import TABLE_SUFFIXES
from tgqformer.catalog.progress import byte_lines
from tgqformer.catalog.quarantine import REPAIRED, Quarantine, shown
from tgqformer.errors import CatalogError

# A row of CSV must fit into one block of Arrow's reader.
_CSV_BLOCK = 64 * 1024 * 1024

MAX_COLUMNS = 1_000
"""Of a table whose rows name their own columns: each column takes a value for every row."""

MAX_DEPTH = 16
"""Of a value in a table of labels: to find a column's type takes 20 seconds and more at 300."""


@dataclass(slots=True)
class Table:
    """A table as read, before any rule.

    Attributes:
        name: "items", "pairs" or "labels".
        rows: int64 [N], the number of each row.
        columns: column name to N values: a polars series, or a list of Python values.
    """

    name: str
    rows: npt.NDArray[np.int64]
    columns: dict[str, pl.Series | list[Any]]

    def frame(self, quarantine: Quarantine) -> pl.DataFrame:
        """Return the columns as a frame; the types of Python values are inferred.

        A value nested deeper than MAX_DEPTH is left out.
        """
        return pl.DataFrame(
            [
                values.alias(name)
                if isinstance(values, pl.Series)
                else pl.Series(name, self._shallow(name, values, quarantine), strict=False)
                for name, values in self.columns.items()
            ]
        )

    def _shallow(self, name: str, values: list[Any], quarantine: Quarantine) -> list[Any]:
        kept = [value if _is_shallow(value, MAX_DEPTH) else None for value in values]
        for row, value, given in zip(self.rows.tolist(), kept, values):
            if value is None and given is not None:
                reason = f"the value is nested over {MAX_DEPTH} deep; make it flatter"
                quarantine.add(self.name, row, None, name, "too deep", reason)
        return kept


def _is_shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, (Mapping, list, tuple)):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return depth > 0 and all(_is_shallow(part, depth - 1) for part in parts)


def find_table(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a table, ``items.parquet`` say; None where there is none.

    A folder ``items/`` of Parquet shards, or of a saved Hugging Face dataset, counts as well.

    Raises:
        CatalogError: there are several.
    """
    found = [path for suffix in TABLE_SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if (folder / name).is_dir() and _shards(folder / name):
        found.append(folder / name)
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise CatalogError(f"{folder} holds {names}; keep one of them.")
    return found[0] if found else None


def read_table(path: Path, name: str, quarantine: Quarantine) -> Table:
    """Read a table from a file whose suffix names the format, or from a folder of shards.

    Raises:
        CatalogError: the file cannot be read as what its suffix says.
    """
    try:
        if path.is_dir():
            return _from_frame(name, _read_shards(path))
        if path.suffix == ".parquet":
            return _from_frame(name, pl.read_parquet(path, glob=False, hive_partitioning=False))
        suffix = Path(path.name.removesuffix(".gz")).suffix
        if suffix in (".jsonl", ".ndjson"):
            return rows_table(json_lines(path, name, quarantine), name, quarantine)
        if suffix == ".csv" and name == "labels":
            header = pl.read_csv(path, n_rows=0, infer_schema=False).columns
            texts = {n: pl.String() for n in header if n in ("item_id", "pool")}
            frame = pl.read_csv(path, infer_schema_length=None, schema_overrides=texts)
            return _from_frame(name, frame)
        if suffix in (".csv", ".tsv"):
            return _read_csv(path, name, quarantine)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CatalogError(
            f"{path} cannot be read as {path.suffix[1:] or 'a table'} ({told}); write it anew."
        ) from error
    raise CatalogError(
        f"{path} has the suffix {path.suffix!r}; tables are read from {', '.join(TABLE_SUFFIXES)}."
    )


def rows_table(rows: Iterable[tuple[int, Any]], name: str, quarantine: Quarantine) -> Table:
    """Turn numbered mappings into a table; a row that is no mapping goes to quarantine.

    Raises:
        CatalogError: the rows name more than MAX_COLUMNS columns.
    """
    numbers: list[int] = []
    columns: dict[str, list[Any]] = {}
    for number, row in rows:
        if not isinstance(row, Mapping):
            quarantine.add(
                name,
                number,
                None,
                "row",
                "no record",
                f"the row is {shown(row)}; a row is a mapping from column to value, so rewrite it",
            )
            continue
        for column in row:
            if column not in columns:
                if len(columns) == MAX_COLUMNS:
                    raise CatalogError(
                        f"The {name} table names more than {MAX_COLUMNS:,} columns (with row "
                        f"{number:,}); put what differs from row to row into attributes."
                    )
                columns[str(column)] = [None] * len(numbers)
        numbers.append(number)
        for column, values in columns.items():
            values.append(row.get(column))
    return Table(name, np.asarray(numbers, dtype=np.int64), dict(columns))


def _from_frame(name: str, frame: pl.DataFrame) -> Table:
    rows = np.arange(1, frame.height + 1, dtype=np.int64)
    return Table(name, rows, {series.name: series for series in frame})


def json_lines(
    path: Path,
    name: str,
    quarantine: Quarantine,
    *,
    parse: Callable[[str], Any] = json.loads,
    progress: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) for each line of a JSONL file, which may be compressed by gzip.

    Args:
        path: the file.
        name: the table, for the quarantine.
        quarantine: takes the lines that cannot be parsed.
        parse: raises ValueError, SyntaxError or RecursionError where it cannot.
        progress: show a bar on stderr.
    """
    for number, line in enumerate(byte_lines(path, progress=progress), start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            _report_bytes(name, number, quarantine)
        try:
            yield number, parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            quarantine.add(
                name,
                number,
                None,
                "row",
                "not JSON",
                f"the line is no JSON ({error}); write one object a line",
            )


def _read_csv(path: Path, name: str, quarantine: Quarantine) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    delimiter = "\t" if ".tsv" in path.suffixes else ","
    if path.stat().st_size == 0:
        raise CatalogError(f"{path} is empty (0 bytes); its first line names the columns.")
    bad: list[int] = []

    def skip(row: Any) -> str:
        bad.append(row.number - 1)  # Arrow counts the header
        quarantine.add(
            name,
            row.number - 1,
            None,
            "row",
            "wrong number of fields",
            f"the row has {row.actual_columns} fields where the header names "
            f"{row.expected_columns}; put text that holds a comma in double quotes",
        )
        return "skip"

    read = csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK)
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip)
    first = csv.ParseOptions(
        delimiter=delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"
    )
    header = csv.open_csv(path, read_options=read, parse_options=first).schema.names
    if len(set(header)) < len(header):
        raise CatalogError(f"{path} names a column twice ({', '.join(header)}); rename one.")
    # As bytes: Arrow would otherwise guess types, and refuse the file for one wrong byte.
    convert = csv.ConvertOptions(check_utf8=False, column_types=dict.fromkeys(header, pa.binary()))
    table = csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    rows = np.setdiff1d(
        np.arange(1, table.num_rows + len(bad) + 1, dtype=np.int64), np.asarray(bad, np.int64)
    )
    columns: dict[str, pl.Series | list[Any]] = {}
    for column in header:
        raw = pl.Series(column, pl.from_arrow(table.column(column)))
        columns[column] = _decode(raw, rows, name, quarantine)
    return Table(name, rows, columns)


def _decode(
    raw: pl.Series, rows: npt.NDArray[np.int64], name: str, quarantine: Quarantine
) -> pl.Series:
    """Turn bytes into text; the rows whose bytes are no UTF-8 are repaired and reported."""
    try:
        return raw.cast(pl.String)
    except pl.exceptions.PolarsError:
        values: list[str] = []
        for row, data in zip(rows.tolist(), raw.to_list()):
            try:
                values.append(data.decode("utf-8"))
            except UnicodeDecodeError:
                values.append(data.decode("utf-8", "replace"))
                _report_bytes(name, row, quarantine, raw.name)
        return pl.Series(raw.name, values, dtype=pl.String)


def _report_bytes(name: str, row: int, quarantine: Quarantine, field: str = "row") -> None:
    quarantine.add(
        name,
        row,
        None,
        field,
        "not UTF-8",
        "some bytes are no UTF-8 and became U+FFFD; save the file as UTF-8",
        REPAIRED,
    )


def _shards(folder: Path) -> list[Path]:
    return sorted((*folder.glob("*.parquet"), *folder.glob("*.arrow")))


def _read_shards(folder: Path) -> pl.DataFrame:
    frames = []
    for path in _shards(folder):
        if path.suffix == ".arrow":  # as Dataset.save_to_disk of Hugging Face writes them
            frames.append(pl.read_ipc_stream(path))
        else:
            frames.append(pl.read_parquet(path, glob=False, hive_partitioning=False))
    return pl.concat(frames, how="diagonal_relaxed")

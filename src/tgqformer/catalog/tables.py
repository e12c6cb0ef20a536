"""Any table: items, pairs, labels and logs, read from and written to Parquet, JSONL and CSV.

Two shapes come out: Parquet and CSV give polars series, JSONL and rows give Python values; both
carry the number of each row, from 1, for the messages. A line that cannot be parsed goes to
quarantine and never stops the rest. How files are packed and encoded is told in text_files.py, what
is done about delimiters and quotes in delimited.py, and the forms of JSON in json_records.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.delimited import read_delimited
from tgqformer.catalog.json_records import json_lines
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.text_files import read_head, refuse_no_text, what_it_is
from tgqformer.errors import CatalogError, StorageError
from tgqformer.files import atomic_path

TABLE_SUFFIXES = (".parquet", ".jsonl", ".csv")
"""The formats of a catalog's tables, best first."""

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
_PACKED = (".gz", ".zst")

SHARD = re.compile(r"(.+?)-(\d{5})-of-(\d{5})(?:-\w+)?\.(?:parquet|arrow)$")
"""The name of a shard, as `datasets` and the hub have it: split or "data", number and count."""

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


def table_files(folder: Path, name: str) -> list[Path]:
    """Return the files of a folder that are read as one table, whatever the case of their suffix.

    Those of TABLE_SUFFIXES, ``items.parquet`` say; only where there are none of them the others
    that can be read, such as ``items.tsv`` or ``items.csv.gz``.
    """
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.iterdir()) if path.name.lower().startswith(f"{name}.")]
    suffixes = {path: path.name[len(name) :].lower() for path in files if path.is_file()}
    own = [path for known in TABLE_SUFFIXES for path in suffixes if suffixes[path] == known]
    packed = [f"{text}{pack}" for text in (*_JSON_SUFFIXES, *_TEXT_SUFFIXES) for pack in _PACKED]
    others = {*_JSON_SUFFIXES, *_TEXT_SUFFIXES, *packed}
    return own or [path for path in suffixes if suffixes[path] in others]


def find_table(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a table, ``items.parquet`` say; None where there is none.

    A folder ``items/`` of Parquet shards, or of a saved Hugging Face dataset, counts as well.

    Raises:
        CatalogError: there are several.
    """
    found = table_files(folder, name)
    if (folder / name).is_dir() and _shards(folder / name):
        found.append(folder / name)
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise CatalogError(f"{folder} holds {names}; keep one of them.")
    return found[0] if found else None


def read_table(path: Path, name: str, quarantine: Quarantine, split: str | None = None) -> Table:
    """Read a table from a file whose suffix, in any case, names the format, or a folder of shards.

    Read are .parquet; .jsonl, .ndjson and .json (one object a line, or one list); .csv, .tsv, .tab
    and .txt with any common delimiter; and each text also with .gz or .zst. What broke a rule on
    the way goes to quarantine. Values out of delimited text are texts, "" where empty; those of
    labels get types, and null. Of a folder with several splits of the hub `split` names one.

    Raises:
        CatalogError: the file cannot be read as what its suffix says.
    """
    if path.is_dir():
        return _from_frame(name, read_shards(path, split))
    stem = path.name.lower()
    for pack in _PACKED:
        stem = stem.removesuffix(pack)
    suffix = Path(stem).suffix
    if suffix == ".parquet":
        return _from_frame(name, read_parquet(path))
    if suffix in _JSON_SUFFIXES:
        return rows_table(json_lines(path, name, quarantine), name, quarantine)
    if suffix in _TEXT_SUFFIXES:
        read = read_delimited(path, name, quarantine)
        columns: dict[str, pl.Series | list[Any]] = {
            column: _typed(texts) if name == "labels" else texts.fill_null("")
            for column, texts in read.columns.items()
        }
        return Table(name, read.rows, columns)
    known = (".parquet", *_JSON_SUFFIXES, *_TEXT_SUFFIXES)
    refuse_no_text(path, read_head(path))
    raise CatalogError(
        f"{path} has the suffix {path.suffix!r}; tables are read from {', '.join(known)}, and all "
        f"but the first also packed, with {' or '.join(_PACKED)}."
    )


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file.

    Raises:
        CatalogError: the file cannot be read, or is none.
    """
    head = read_head(path)
    kind = what_it_is(path, head)
    if not head.startswith(b"PAR1") and head:
        told = f"it is {kind[0]}; {kind[1]}, and" if kind else "it is no Parquet file; rename it or"
        raise CatalogError(f"{path} cannot be read as parquet ({told} write it anew).")
    try:
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        told = f"it is {'cut short or damaged' if head else 'empty'}"
        raise CatalogError(f"{path} cannot be read as parquet ({told}); write it anew.") from error


def _typed(texts: pl.Series) -> pl.Series:
    """Return a label's values as integers, numbers or truth values where all of them are.

    Ids, groups, pools and numbers with leading zeros stay text.
    """
    known = texts.drop_nulls()
    if texts.name in ("item_id", "item_group_id", "pool") or not len(known):
        return texts
    for pattern, dtype in (
        (r"^[-+]?(0|[1-9]\d{0,17})$", pl.Int64()),
        (r"^[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|^(?i)(nan|[-+]?inf)$", pl.Float64()),
    ):
        if known.str.contains(pattern).all():
            return texts.cast(dtype)
    if known.is_in(["true", "false"]).all():
        return texts == "true"
    return texts


def rows_table(rows: Iterable[tuple[int, Any]], name: str, quarantine: Quarantine) -> Table:
    """Turn numbered mappings into a table; a row that is no mapping goes to quarantine.

    Raises:
        CatalogError: the rows name more than MAX_COLUMNS columns.
    """
    numbers: list[int] = []
    columns: dict[str, list[Any]] = {}
    for number, row in rows:
        if not isinstance(row, Mapping):
            row = _fields_of(row)
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


def _fields_of(row: Any) -> Any:
    """Return an Item, another dataclass or a named tuple as a mapping; anything else as it is."""
    if is_dataclass(row) and not isinstance(row, type):
        return {known.name: getattr(row, known.name) for known in fields(row)}
    return row._asdict() if isinstance(row, tuple) and hasattr(row, "_asdict") else row


def _from_frame(name: str, frame: pl.DataFrame) -> Table:
    rows = np.arange(1, frame.height + 1, dtype=np.int64)
    return Table(name, rows, {series.name: series for series in frame})


def _shards(folder: Path, split: str | None = None) -> list[Path]:
    found = sorted((*folder.glob("*.parquet"), *folder.glob("*.arrow")))
    if split is None:
        return found
    return [path for path in found if (m := SHARD.match(path.name)) and m[1] == split]


def _require_all(paths: Sequence[Path]) -> None:
    """Raise CatalogError where names that count the shards, 00000-of-00002, lack one."""
    parts: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if (found := SHARD.match(path.name)) is not None:
            parts.setdefault((found[1], int(found[3])), set()).add(int(found[2]))
    for (name, count), there in parts.items():
        missing = sorted(set(range(count)) - there)
        if missing:
            raise CatalogError(
                f"{paths[0].parent} lacks {len(missing):,} of {count:,} shards, the first "
                f"{name}-{missing[0]:05}-of-{count:05}; fetch them, so that no row is lost."
            )


def read_shards(folder: Path, split: str | None = None) -> pl.DataFrame:
    """Read the Parquet and Arrow shards of a folder, all or those of one of the hub's splits.

    Raises:
        CatalogError: a shard cannot be read, or the names tell that one is missing.
    """
    frames = []
    paths = _shards(folder, split)
    _require_all(paths)
    for path in paths:
        if path.suffix != ".arrow":
            frames.append(read_parquet(path))
            continue
        try:  # as Dataset.save_to_disk of Hugging Face writes them
            frames.append(pl.read_ipc_stream(path))
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise CatalogError(
                f"{path} cannot be read as a shard of a saved Hugging Face data set; write it anew."
            ) from error
    return pl.concat(frames, how="diagonal_relaxed")


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


# -- columns that nothing reads --------------------------------------------------------------------

ITEM_COLUMNS = ("item_id", "title", "brand", "category", "price", "attributes", "images", "image")
PAIR_COLUMNS = ("query_id", "target_id", "weight", "split")

_MEANT = {
    "item_id": "id sku product_id productid article_id asin parent_asin handle gtin ean code "
    "itemid",
    "title": "name product_name productname prod_name product_title item_name display_name "
    "productdisplayname heading label",
    "brand": "vendor manufacturer maker brand_name store",
    "category": "categories product_type producttype type department google_product_category "
    "category_name category_path breadcrumb breadcrumbs group",
    "price": "cost amount regular_price list_price unit_price sale_price variant_price",
    "attributes": "attrs properties features specs specifications details",
    "images": "image_path image_paths image_url image_urls image_link image_src img imgs photo "
    "photos picture pictures pic thumbnail thumb file filename file_name path",
    "query_id": "query source source_id from item item_id item_a id_a left",
    "target_id": "target destination to other related related_id item_b id_b right",
    "weight": "score strength count n value similarity",
    "split": "set fold part subset",
    "user": "user_id userid customer customer_id customerid visitor visitor_id visitorid session "
    "session_id sessionid client client_id account_id uid reviewerid",
    "item": "item_id itemid product product_id productid article article_id sku asin "
    "parent_asin id",
    "time": "timestamp ts datetime date t_dat event_time created_at unixreviewtime when at",
}
"""What people call the columns, beside our names."""


@dataclass(frozen=True, slots=True)
class UnreadColumn:
    """A column of the items or the pairs that nothing reads.

    Attributes:
        table: "items" or "pairs".
        column: its name.
        meant: our name of what it likely holds, "" where nothing is known.
    """

    table: str
    column: str
    meant: str

    def __str__(self) -> str:
        place = "" if self.table == "items" else f"{self.table}."
        return f"{place}{self.column}" + (f" ({self.meant}?)" if self.meant else "")


def unread_columns(table: str, columns: Iterable[str]) -> list[UnreadColumn]:
    """Return the columns of a table of items or pairs that nothing reads, in their order."""
    given = list(columns)
    read = ITEM_COLUMNS if table == "items" else PAIR_COLUMNS
    missing = [name for name in read if name not in given and name != "image"]
    if "image" in given:
        missing = [name for name in missing if name != "images"]
    return [
        UnreadColumn(table, name, likely_meant(name, missing)) for name in given if name not in read
    ]


def likely_meant(name: str, wanted: Sequence[str]) -> str:
    """Return which of the wanted columns a name likely means, "" where none."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    for field in wanted:
        if plain == field or plain in _MEANT.get(field, "").split():
            return field
    near = difflib.get_close_matches(plain, wanted, n=1, cutoff=0.8)
    return near[0] if near else ""

"""Tables out of what Python programs hold: data frames, Arrow tables, data sets, any iterator.

Hugging Face data sets say more of a column than its type: a ClassLabel's numbers have names. Those
stand in the features, which `datasets` writes into each Parquet file and saved folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import SHARD, Table, read_table, rows_table
from tgqformer.catalog.values import plain_value
from tgqformer.errors import CatalogError

Features = Mapping[str, Any]
"""Column name to feature, as JSON or as an object of `datasets` has it."""

CLASSES = "ClassLabel"


def table_of(rows: Any, name: str, quarantine: Quarantine) -> Table:
    """Return a table of what a program hands over.

    Args:
        rows: a DataFrame of pandas or polars, an Arrow table, a Hugging Face Dataset, or an
            iterable of mappings from column to value.
        name: "items", "pairs" or "labels".
        quarantine: takes the rows that are no mappings.

    Raises:
        CatalogError: it is none of these, or a DatasetDict, of which one split is wanted.
    """
    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    features = features_of(getattr(rows, "features", None))
    own = getattr(rows, "format", None)  # of set_transform, whose rows are made as they are read
    made = isinstance(own, Mapping) and own.get("type") == "custom"
    if features and not made and hasattr(rows, "with_format") and hasattr(rows, "__len__"):
        rows = rows.with_format("arrow")[:]  # undecoded: photos stay the files that they were
    if hasattr(rows, "__arrow_c_stream__") and hasattr(rows, "schema") and not _is_pandas(rows):
        rows = pl.DataFrame(pl.from_arrow(rows)) if not isinstance(rows, pl.DataFrame) else rows
    if isinstance(rows, pl.DataFrame):
        named = [_with_names(values, features.get(values.name)) for values in rows]
        numbers = np.arange(1, rows.height + 1, dtype=np.int64)
        return Table(name, numbers, {values.name: values for values in named})
    if _is_pandas(rows):
        return _pandas_table(rows, name)
    if isinstance(rows, Mapping):
        raise CatalogError(_no_rows(rows, name))
    if names := getattr(getattr(rows, "dtype", None), "names", None):  # NumPy's records
        rows = [dict(zip(names, row)) for row in rows.tolist()]
    if isinstance(rows, (str, bytes, Path)) or not isinstance(rows, Iterable):
        raise CatalogError(
            f"The {name} are a {type(rows).__name__}; give rows (mappings from column to value), a "
            "DataFrame or a Dataset, and to `Catalog.load` the path of a folder."
        )
    if features:
        rows = (_named(row, features) for row in rows)
    return _plain(rows_table(enumerate(rows, start=1), name, quarantine))


def _plain(table: Table) -> Table:
    """Labels have any columns and no readers: there pandas' and NumPy's values become plain."""
    if table.name == "labels":
        for column, values in table.columns.items():
            if isinstance(values, list):
                table.columns[column] = [
                    v if isinstance(v, str) else plain_value(v) for v in values
                ]
    return table


def _is_pandas(rows: Any) -> bool:
    return type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns")


def _pandas_table(rows: Any, name: str) -> Table:
    """Read column by column: whatever pandas' types are, their values are objects."""
    named = [level for level in rows.index.names if level is not None]
    frame = rows.reset_index() if named else rows  # set_index("item_id") is a habit
    if len(set(map(str, frame.columns))) < len(frame.columns):
        told = ", ".join(map(str, frame.columns))
        raise CatalogError(f"The {name} name a column twice ({told}); rename one.")
    columns: dict[str, pl.Series | list[Any]] = {
        str(column): list(frame[column].astype(object)) for column in frame.columns
    }
    return _plain(Table(name, np.arange(1, len(frame) + 1, dtype=np.int64), columns))


def _no_rows(rows: Mapping[Any, Any], name: str) -> str:
    if all(hasattr(part, "features") for part in rows.values()) and rows:
        splits = ", ".join(map(str, rows))
        first = next(iter(rows))
        return (
            f"The {name} are a {type(rows).__name__} of the splits {splits}; give one of them, as "
            f"in dataset[{first!r}]."
        )
    return (
        f"The {name} are one mapping ({', '.join(map(str, list(rows)[:5]))}); give a list of rows, "
        "each a mapping from column to value, or make a DataFrame of columns."
    )


# --- Hugging Face's features --------------------------------------------------------------------


def features_of(told: Any) -> dict[str, Any]:
    """Return the features of a data set, or of its JSON, by column; {} where there are none."""
    if isinstance(told, Mapping):
        return {str(name): feature for name, feature in told.items()}
    return {}


def file_features(path: Path) -> dict[str, Any]:
    """Return the features of a saved folder or a Parquet file; {} where it tells of none."""
    if path.is_dir():
        info = path / "dataset_info.json"
        if info.is_file():
            try:
                told = json.loads(info.read_text(encoding="utf-8")).get("features")
            except (ValueError, AttributeError):
                return {}
            return features_of(told)
        first = next(iter(sorted(path.rglob("*.parquet"))), None)
        return {} if first is None else file_features(first)
    try:
        told = json.loads(pl.read_parquet_metadata(path).get("huggingface", "null"))
        return features_of(told["info"]["features"])
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        return {}


def class_names(feature: Any) -> list[str] | None:
    """Return the names of a ClassLabel, or of a list of them, None of any other feature."""
    inner = _inner(feature)
    if inner is not None:
        return class_names(inner)
    if _kind(feature) != CLASSES:
        return None
    return [str(name) for name in _told(feature, "names") or []] or None


def is_image(feature: Any) -> bool:
    """Tell whether a feature is a photo, or a list of photos."""
    inner = _inner(feature)
    if inner is not None:
        return is_image(inner)
    return _kind(feature) == "Image"


def _kind(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, Mapping) else type(feature).__name__


def _told(feature: Any, name: str) -> Any:
    return feature.get(name) if isinstance(feature, Mapping) else getattr(feature, name)


def _inner(feature: Any) -> Any:
    """Return the feature of the members of a list, None of any other feature."""
    if isinstance(feature, list):
        return feature[0] if len(feature) == 1 else None
    listed = _kind(feature) in ("Sequence", "List", "LargeList")
    return _told(feature, "feature") if listed else None


def read_source(path: Path, name: str, quarantine: Quarantine, split: str | None = None) -> Table:
    """Read a file or folder as tables.read_table does, its ClassLabels as their names.

    Raises:
        CatalogError: as for read_table.
    """
    table = read_table(path, name, quarantine, split)
    if path.is_dir() or path.suffix.lower() == ".parquet":
        features = file_features(path)
        for column, values in table.columns.items():
            if isinstance(values, pl.Series):
                table.columns[column] = _with_names(values, features.get(column))
    return table


def _with_names(values: pl.Series, feature: Any) -> pl.Series:
    """Return a ClassLabel's numbers as its names; a number without one, -1, becomes null."""
    names = class_names(feature)
    if names is not None and isinstance(values.dtype, pl.List):
        known = values.to_list()
        return pl.Series(
            values.name,
            [None if told is None else [_name(names, code) for code in told] for told in known],
            dtype=pl.List(pl.String),
        )
    if names is None or not values.dtype.is_integer():
        return values
    codes = pl.Series(range(len(names)), dtype=values.dtype)
    named = values.replace_strict(codes, names, default=None, return_dtype=pl.String)
    return named.alias(values.name)


def _named(row: Any, features: Features) -> Any:
    if not isinstance(row, Mapping):
        return row
    told = dict(row)
    for column, value in row.items():
        names = class_names(features.get(str(column)))
        number = plain_value(value)
        if names is not None and isinstance(number, list):
            told[column] = [_name(names, code) for code in number]
        elif names is not None and isinstance(number, int):
            told[column] = _name(names, number)
    return told


def _name(names: Sequence[str], code: Any) -> Any:
    """Return the name of a class; None of a number without one, -1; what is no number as it is."""
    if not isinstance(code, int):
        return code
    return names[code] if 0 <= code < len(names) else None


def dataset_splits(folder: Path) -> list[str]:
    """Return the splits of a folder that DatasetDict.save_to_disk wrote, or of the hub's files.

    The hub has them in their names, ``data/train-00000-of-00002.parquet``; [] of any other folder.
    """
    told = folder / "dataset_dict.json"
    if not told.is_file():
        place = folder / "data" if (folder / "data").is_dir() else folder
        found = (SHARD.match(path.name) for path in sorted(place.glob("*.parquet")))
        return list(dict.fromkeys(match[1] for match in found if match))
    try:
        return [str(name) for name in json.loads(told.read_text(encoding="utf-8"))["splits"]]
    except (ValueError, KeyError, TypeError):
        return sorted(path.parent.name for path in folder.glob("*/dataset_info.json"))


def no_items(root: Path) -> str:
    """Return one sentence on a folder that is no catalog: what it is, and what to do."""
    if (splits := dataset_splits(root / "items")) or (splits := dataset_splits(root)):
        held = root / "items" if dataset_splits(root / "items") else root
        if not (held / "dataset_dict.json").is_file():
            return (
                f"{held} is a data set of the hub with the splits {', '.join(splits)}, not a "
                f"catalog; make one with `tgqformer import huggingface {held} OUT --set "
                f"part={splits[0]}`."
            )
        names = ", ".join(f"{held.name}/{split}" for split in splits)
        return (
            f"{held} is a Hugging Face DatasetDict, with a data set in each of {names}; import "
            f"one, as in `tgqformer import huggingface {held / splits[0]} OUT`, or save one split "
            "as items/."
        )
    if (root / "dataset_info.json").is_file():
        return (
            f"{root} is a saved Hugging Face data set, not a catalog; make one of it with "
            f"`tgqformer import huggingface {root} OUT`."
        )
    return (
        f"{root} holds no items.parquet, items.jsonl or items.csv; write one, or make a catalog "
        "with `tgqformer import` or `tgqformer storefront`."
    )

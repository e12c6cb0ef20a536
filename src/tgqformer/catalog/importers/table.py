"""Any CSV, JSONL or Parquet file, by way of a map from a catalog's fields to its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.columns import text_column
from tgqformer.catalog.importers.parts import Split, amount, finish
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.tables import Table, read_table
from tgqformer.errors import CatalogError, ConfigError

ITEM_FIELDS = ("item_id", "title", "brand", "category", "attributes", "price", "images")
PAIR_FIELDS = ("query_id", "target_id", "weight", "split")


def import_table(
    source: Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] = (),
    labels: Sequence[str] = (),
    image_root: Path | None = None,
    image_separator: str | None = None,
    pairs: Path | None = None,
    pair_columns: Mapping[str, str] | None = None,
    split: Split = "none",
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import a table of items, and one of pairs if there is one.

    Args:
        source: a .csv, .tsv, .jsonl or .parquet file, the first three also with .gz.
        out: the catalog's folder, which is written.
        columns: field to column, ``{"item_id": "sku", "title": "name"}``; several columns for one
            field are joined, ``{"category": "department+group"}`` as a path. Fields that are not
            mentioned are read from columns of their own names. Prices may carry a currency sign.
        attributes: columns that become attributes, beside those of the field.
        labels: columns that are kept as labels and never shown to a model.
        image_root: the folder that image paths are relative to and may not leave; the source's own
            folder where None.
        image_separator: what separates several paths in one text, ``"|"`` say.
        pairs: a table of pairs.
        pair_columns: as `columns`, for query_id, target_id, weight and split.
        split, val, test, seed: see parts.finish; "none" keeps the splits that the pairs name.
        strict: raise on the first rejection.
        progress: show a bar on stderr.

    Raises:
        CatalogError: a table cannot be read, lacks a column that was named, or lies where the
            catalog would be written over it.
        ConfigError: a field that was named is none.
    """
    quarantine = Quarantine()
    raw = read_table(source, "items", quarantine)
    items = _mapped(raw, ITEM_FIELDS, columns or {}, quarantine)
    if "price" in items.columns:
        items.columns["price"] = [amount(value) for value in _values(items, "price")]
    if image_separator is not None and "images" in items.columns:
        items.columns["images"] = [_parts(v, image_separator) for v in _values(items, "images")]
    if attributes:
        _add_attributes(items, raw, attributes, quarantine)
    tables = {"items": items}
    if labels:
        kept = {name: _column(raw, name) for name in labels}
        tables["labels"] = Table("labels", raw.rows, {"item_id": items.columns["item_id"], **kept})
    if pairs is not None:
        told = read_table(pairs, "pairs", quarantine)
        tables["pairs"] = _mapped(told, PAIR_FIELDS, pair_columns or {}, quarantine)
    return finish(
        tables,
        out,
        quarantine,
        root=(image_root or source.parent).absolute(),
        sources=[source] if pairs is None else [source, pairs],
        split=split,
        val=val,
        test=test,
        seed=seed,
        strict=strict,
        progress=progress,
    )


def _mapped(
    table: Table, fields: Sequence[str], columns: Mapping[str, str], quarantine: Quarantine
) -> Table:
    """Return a table whose columns have the names of the fields."""
    for field in columns:
        if field not in fields:
            raise ConfigError(
                f"{field!r} is no field of the {table.name} table; use one of {', '.join(fields)}."
            )
    result: dict[str, pl.Series | list[Any]] = {}
    for field in fields:
        names = columns.get(field, field if field in table.columns else "").split("+")
        if names == [""]:
            continue
        if len(names) == 1:
            result[field] = _column(table, names[0])
            continue
        for name in names:
            _column(table, name)
        texts = [text_column(table, name, quarantine).to_list() for name in names]
        joint = " > " if field == "category" else " "
        result[field] = [joint.join(filter(None, parts)) for parts in zip(*texts)]
    return Table(table.name, table.rows, result)


def _column(table: Table, name: str) -> pl.Series | list[Any]:
    if name not in table.columns:
        found = ", ".join(table.columns) or "none"
        raise CatalogError(
            f"The {table.name} file has no column {shown(name)} (found: {found}); correct the "
            "column map."
        )
    return table.columns[name]


def _values(table: Table, name: str) -> list[Any]:
    values = table.columns[name]
    return values if isinstance(values, list) else values.to_list()


def _parts(value: Any, separator: str) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(separator) if part.strip()]


def _add_attributes(items: Table, raw: Table, names: Sequence[str], quarantine: Quarantine) -> None:
    from tgqformer.catalog.columns import attribute_column

    maps = attribute_column(items, quarantine)
    for name in names:
        _column(raw, name)
        for entry, value in zip(maps, text_column(raw, name, quarantine).to_list()):
            if value.strip():
                entry[name] = value.strip()
    items.columns["attributes"] = list(maps)

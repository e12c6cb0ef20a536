"""Any CSV, JSONL or Parquet file, by way of a map from a catalog's fields to its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.catalog import GROUP, Catalog
from tgqformer.catalog.columns import attribute_column, image_column, text_column
from tgqformer.catalog.frames import read_source
from tgqformer.catalog.importers.offers import Offer, Variants, check_variants, offer_tables
from tgqformer.catalog.importers.parts import Split, amount, finish
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.catalog.tables import Table, UnreadColumn, likely_meant, read_table
from tgqformer.catalog.text import STOCK
from tgqformer.catalog.values import Decimal, is_missing, links, read_stock
from tgqformer.errors import CatalogError, ConfigError

ITEM_FIELDS = ("item_id", "title", "brand", "category", "attributes", "price", "images")
TABLE_FIELDS = (*ITEM_FIELDS, "stock", "group")
"""What an import may map beside: an attribute and a label come of the last two."""

ROW_NUMBER = "#"
"""Named in place of a column: the number of the row."""

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
    variants: Variants | None = None,
    decimal: Decimal | None = None,
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
            mentioned are read from columns of their own names. "#" stands for the row's number.
            Beside the catalog's fields there are `stock`, which takes ``in_stock``, yes and no, or
            a number, and `group`, which variants of one product share.
        attributes: columns that become attributes, beside those of the field.
        labels: columns that are kept as labels and never shown to a model.
        image_root: the folder that image paths are relative to and may not leave; the source's own
            folder where None.
        image_separator: what separates several paths in one text; the common ones are understood
            without.
        variants: "one-item": rows of one `group`, or of one item_id where no column is mapped to
            `group`, are one item with all photos; "group": rows of one `group` stay items of their
            own, and carry it. None, the default, is "group", and rows of one id are duplicates.
        decimal: "point" or "comma", what stands before the fraction in prices that have two
            readings (1.299).
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
    raw = read_source(source, "items", quarantine)
    tables = item_tables(
        raw,
        quarantine,
        columns=columns or {},
        attributes=attributes,
        labels=labels,
        image_separator=image_separator,
        variants=variants,
        decimal=decimal,
    )
    unread = unread_of(raw, TABLE_FIELDS, columns or {}, (*attributes, *labels))
    if pairs is not None:
        told = read_table(pairs, "pairs", quarantine)
        tables["pairs"] = _mapped(told, PAIR_FIELDS, pair_columns or {}, quarantine)
        unread += unread_of(told, PAIR_FIELDS, pair_columns or {}, ())
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
        unread=unread,
    )


def unread_of(
    raw: Table, known: Sequence[str], columns: Mapping[str, str], others: Sequence[str]
) -> list[UnreadColumn]:
    """Return the columns that neither the map nor a field's own name takes.

    Args:
        raw: the table as read.
        known: the fields of the table.
        columns: the map.
        others: columns that are read beside it.
    """
    own = {"image": "images"}
    taken = {name for told in columns.values() for name in told.split("+")} | set(others)
    taken |= {name for name in raw.columns if own.get(name, name) in known and name not in columns}
    missing = [name for name in known if name not in columns and name not in raw.columns]
    return [
        UnreadColumn(raw.name, name, likely_meant(name, missing))
        for name in raw.columns
        if name not in taken
    ]


def item_tables(
    raw: Table,
    quarantine: Quarantine,
    *,
    columns: Mapping[str, str],
    attributes: Sequence[str],
    labels: Sequence[str],
    image_separator: str | None = None,
    variants: Variants | None = None,
    decimal: Decimal | None = None,
) -> dict[str, Table]:
    """Return the tables of items and labels that a column map makes of any table.

    Args:
        raw: as read.
        quarantine: takes what cannot be read.
        columns, attributes, labels, image_separator, variants, decimal: as for import_table.

    Raises:
        CatalogError: a column that was named is not there.
        ConfigError: a field that was named is none, or `variants` is no choice.
    """
    check_variants(variants)
    items = _mapped(raw, TABLE_FIELDS, columns, quarantine)
    if "price" in items.columns and variants != "one-item":
        items.columns["price"] = [amount(value, decimal) for value in _values(items, "price")]
    if image_separator is not None and "images" in items.columns:
        items.columns["images"] = [_parts(v, image_separator) for v in _values(items, "images")]
    if attributes:
        _add_attributes(items, raw, attributes, quarantine)
    kept = {name: _values(raw, name) for name in labels if _column(raw, name) is not None}
    urls = _take_links(items)
    if urls is not None and "image_urls" not in kept:
        kept["image_urls"] = urls
    stock, group = items.columns.pop("stock", None), items.columns.pop("group", None)
    if "item_id" not in items.columns:
        return {"items": items}  # the catalog's rules say so, with the columns that are there
    if variants == "one-item":
        empty = pl.Series([None], dtype=pl.String).new_from_index(0, len(raw.rows))
        items.columns["stock"] = empty if stock is None else stock
        items.columns["group"] = items.columns["item_id"] if group is None else group
        return offer_tables(_offers(items, kept, quarantine), variants, quarantine, decimal)
    if stock is not None:
        _add_stock(items, stock, quarantine)
    if group is not None:
        named = Table("items", raw.rows, {"group": group})
        kept[GROUP] = [name or None for name in text_column(named, "group", quarantine)]
    tables = {"items": items}
    if kept:
        own: dict[str, pl.Series | list[Any]] = {"item_id": items.columns["item_id"], **kept}
        tables["labels"] = Table("labels", raw.rows, own)
    return tables


def _take_links(items: Table) -> list[list[str]] | None:
    """Take http links out of the photos, which are for `download-images`; None where none is."""
    if "images" not in items.columns:
        return None
    values = _values(items, "images")
    found = [[link for link in links(value) if _is_web(link)] for value in values]
    if not any(found):
        return None
    rest = [
        [other for other in links(value) if not _is_web(other)] if urls else value
        for value, urls in zip(values, found)
    ]
    items.columns["images"] = rest
    return found


def _is_web(link: str) -> bool:
    return link.lower().startswith(("http://", "https://"))


def _offers(
    items: Table, labels: Mapping[str, Sequence[Any]], quarantine: Quarantine
) -> list[Offer]:
    """The rows as offers; those of one `group`, or of one id where there are no groups, are one."""
    ids, titles, brands, categories = (
        text_column(items, name, quarantine, ids=name == "item_id").to_list()
        for name in ("item_id", "title", "brand", "category")
    )
    count = len(items.rows)
    groups = text_column(items, "group", quarantine).to_list()
    stocks = _values(items, "stock")
    prices = _values(items, "price") if "price" in items.columns else [None] * count
    maps, photos = attribute_column(items, quarantine), image_column(items, quarantine)
    urls = labels.get("image_urls", [[]] * count)
    return [
        Offer(
            int(items.rows[place]),
            ids[place],
            groups[place],
            titles[place],
            brands[place],
            categories[place],
            prices[place],
            stocks[place],
            maps[place],
            list(photos[place]),
            links(urls[place]),
            {name: told[place] for name, told in labels.items() if name != "image_urls"},
        )
        for place in range(count)
    ]


def _add_stock(items: Table, stock: pl.Series | list[Any], quarantine: Quarantine) -> None:
    maps = attribute_column(items, quarantine)
    for place, (entry, value) in enumerate(zip(maps, stock)):
        told = read_stock(value)
        if told is not None:
            entry[STOCK] = "true" if told else "false"
        elif not is_missing(value) and str(value).strip():
            reason = (
                f"{shown(value)} tells no stock; write in_stock or out_of_stock, yes or no, or a "
                "number"
            )
            row, item_id = int(items.rows[place]), str(items.columns["item_id"][place])
            quarantine.add("items", row, item_id, "stock", "no stock", reason, CLEARED)
    items.columns["attributes"] = list(maps)


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
        if field == "images" and "images" not in columns and "image" in table.columns:
            columns = {**columns, "images": "image" if "images" not in table.columns else "images"}
        own = field in table.columns and field in (*ITEM_FIELDS, *PAIR_FIELDS)
        names = columns.get(field, field if own else "").split("+")
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
    if name == ROW_NUMBER:
        return pl.Series(name, table.rows)
    if name not in table.columns:
        found = ", ".join(table.columns) or "none"
        raise CatalogError(
            f"The {table.name} file has no column {shown(name)} (found: {found}); correct the "
            "column map."
        )
    return table.columns[name]


def _values(table: Table, name: str) -> list[Any]:
    values = _column(table, name)
    return values if isinstance(values, list) else values.to_list()


def _parts(value: Any, separator: str) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(separator) if part.strip()]


def _add_attributes(items: Table, raw: Table, names: Sequence[str], quarantine: Quarantine) -> None:
    maps = attribute_column(items, quarantine)
    for name in names:
        told: dict[str, pl.Series | list[Any]] = {
            "attributes": [{name: value} for value in _values(raw, name)]
        }
        for entry, own in zip(maps, attribute_column(Table("items", raw.rows, told), quarantine)):
            entry.update((key, value.strip()) for key, value in own.items() if value.strip())
    items.columns["attributes"] = list(maps)

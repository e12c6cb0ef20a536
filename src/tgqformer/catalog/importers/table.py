"""Any table, by way of a map from a catalog's fields to its columns.

That is a CSV, JSONL or Parquet file, or a Hugging Face data set: a folder of `save_to_disk`, or
Parquet as the hub holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.catalog import GROUP, Catalog
from tgqformer.catalog.columns import attribute_column, image_column, text_column
from tgqformer.catalog.frames import dataset_splits, file_features, is_image, read_source
from tgqformer.catalog.importers.offers import (
    Offer,
    Variants,
    add_stock,
    check_variants,
    offer_tables,
)
from tgqformer.catalog.importers.parts import Split, SplitOptions, amount, finish
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.tables import PAIR_COLUMNS, Table, UnreadColumn, likely_meant, read_table
from tgqformer.catalog.values import Decimal, links
from tgqformer.errors import CatalogError, ConfigError

ITEM_FIELDS = ("item_id", "title", "brand", "category", "attributes", "price", "images")
TABLE_FIELDS = (*ITEM_FIELDS, "stock", "group")
"""What an import may map beside: an attribute and a label come of the last two."""

ROW_NUMBER = "#"
"""Named in place of a column: the number of the row."""


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
        split, val, test, seed: see parts.SplitOptions; "none" keeps the splits that the pairs name.
        strict: raise on the first rejection.
        progress: show a bar on stderr.

    Raises:
        CatalogError: a table cannot be read, lacks a column that was named, or lies where the
            catalog would be written over it.
        ConfigError: a field that was named is none.
    """
    quarantine = Quarantine()
    raw = read_source(source, "items", quarantine)
    tables = _item_tables(
        raw,
        quarantine,
        columns=columns or {},
        attributes=attributes,
        labels=labels,
        image_separator=image_separator,
        variants=variants,
        decimal=decimal,
    )
    unread = _unread(raw, TABLE_FIELDS, columns or {}, (*attributes, *labels))
    if pairs is not None:
        told = read_table(pairs, "pairs", quarantine)
        tables["pairs"] = _mapped(told, PAIR_COLUMNS, pair_columns or {}, quarantine)
        unread += _unread(told, PAIR_COLUMNS, pair_columns or {}, ())
    return finish(
        tables,
        out,
        quarantine,
        root=(image_root or source.parent).absolute(),
        sources=[source] if pairs is None else [source, pairs],
        split=SplitOptions(split, val, test, seed),
        strict=strict,
        progress=progress,
        unread=unread,
    )


def import_huggingface(
    source: Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] = (),
    labels: Sequence[str] = (),
    part: str | None = None,
    variants: Variants | None = None,
    decimal: Decimal | None = None,
    strict: bool = False,
) -> Catalog:
    """Import a Hugging Face data set, by a map of its columns.

    A ClassLabel becomes its name. A column with the feature Image is the photo where no other is
    named; its bytes are stored as they are, undecoded.

    Args:
        source: a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, a Parquet
            file, or a folder of them, as the hub holds data sets.
        out: the catalog's folder, which is written.
        columns: field to column, ``{"item_id": "id", "title": "name"}``, as for `import table`; "#"
            is the row's number, for data sets without an id.
        attributes: columns that become attributes.
        labels: columns that are kept as labels and never shown to a model.
        part: the split of a DatasetDict, or of the hub's files, ``train``.
        variants: what becomes of rows of one `group`; as for `import table`.
        decimal: as for `import table`.
        strict: raise on the first rejection.

    Raises:
        CatalogError: the data set cannot be read, is a DatasetDict without `part`, or lacks a
            column that was named.
        ConfigError: a field that was named is none.
    """
    quarantine = Quarantine()
    folder, split = _hub_part(source, part)
    raw, features = _hub_table(folder, split, quarantine)
    mapped = dict(columns or {})
    photos = [name for name in raw.columns if is_image(features.get(name))]
    if photos and "images" not in mapped and not {"images", "image"} & set(raw.columns):
        mapped["images"] = photos[0]
    if "item_id" not in mapped and "item_id" not in raw.columns:
        raise CatalogError(
            f"{folder} has no column 'item_id' (found: {', '.join(raw.columns)}); name the one "
            "with the ids (--column item_id=COLUMN), or take the rows' numbers "
            "(--column item_id=#)."
        )
    tables = _item_tables(
        raw,
        quarantine,
        columns=mapped,
        attributes=attributes,
        labels=labels,
        variants=variants,
        decimal=decimal,
    )
    root = (folder if folder.is_dir() else folder.parent).absolute()
    unread = _unread(raw, TABLE_FIELDS, mapped, (*attributes, *labels))
    return finish(
        tables, out, quarantine, root=root, sources=[source], strict=strict, unread=unread
    )


def _hub_part(source: Path, part: str | None) -> tuple[Path, str | None]:
    """Return the folder or file to read, and which of the hub's splits of it."""
    splits = dataset_splits(source)
    if not splits:
        if part is not None:
            raise CatalogError(f"{source} is no DatasetDict, so it has no part {part!r}.")
        return source, None
    if part is None and len(splits) > 1:
        raise CatalogError(
            f"{source} is a data set of the splits {', '.join(splits)}; name one, as in --set "
            f"part={splits[0]}."
        )
    if part is not None and part not in splits:
        raise CatalogError(f"{source} has no split {part!r}; use one of {', '.join(splits)}.")
    chosen = part or splits[0]
    return (source / chosen, None) if (source / chosen).is_dir() else (source, chosen)


def _hub_table(
    source: Path, split: str | None, quarantine: Quarantine
) -> tuple[Table, Mapping[str, object]]:
    if not source.exists():
        raise CatalogError(f"{source} does not exist; name the data set's folder or Parquet file.")
    shards = source.is_dir() and (list(source.glob("*.arrow")) or list(source.glob("*.parquet")))
    if source.is_dir() and not shards:
        # A repository of the hub keeps them in data/.
        if (source / "data").is_dir():
            return _hub_table(source / "data", split, quarantine)
        raise CatalogError(
            f"{source} holds no .arrow or .parquet file; name the folder that save_to_disk wrote, "
            "or a Parquet file."
        )
    return read_source(source, "items", quarantine, split), file_features(source)


def _unread(
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


def _item_tables(
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
        maps = attribute_column(items, quarantine)
        for entry, value, row, own_id in zip(maps, stock, raw.rows, items.columns["item_id"]):
            add_stock(entry, value, int(row), str(own_id), quarantine)
        items.columns["attributes"] = list(maps)
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
        own = field in table.columns and field in (*ITEM_FIELDS, *PAIR_COLUMNS)
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

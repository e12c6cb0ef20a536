"""The rules for items. What breaks one goes to quarantine with its reason; the rest goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.columns import (
    attribute_column,
    image_column,
    path_column,
    price_column,
    require_columns,
    text_column,
)
from tgqformer.catalog.delimited import MAX_FIELD_CHARS
from tgqformer.catalog.items import Item
from tgqformer.catalog.pair_rules import id_column
from tgqformer.catalog.photos import usable_photos
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.catalog.tables import Table
from tgqformer.catalog.text import STOCK
from tgqformer.catalog.values import MISSING_TEXTS, is_missing, plain_text, read_stock

MAX_ID_CHARS = 512
"""Ids become keys of stores and parts of URLs, which have such limits."""

Mask: TypeAlias = npt.NDArray[np.bool_]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PARENT = re.compile(r"(^|[/\\])\.\.([/\\]|$)")
_TEXTS = ("title", "brand", "category")


def id_fault(item_id: str) -> tuple[str, str] | None:
    """Return (rule, reason) where a text cannot be an item's id, None where it can."""
    if not item_id.strip():
        return "missing id", "the id is empty; give every item an id of its own"
    if is_missing(item_id):
        return (
            "missing id",
            f"the id is {shown(item_id)}, which stands for a missing value; give every item an id "
            "of its own",
        )
    if len(item_id) > MAX_ID_CHARS:
        return (
            "id too long",
            f"the id {shown(item_id)} is over {MAX_ID_CHARS} characters; shorten it",
        )
    if _CONTROL.search(item_id):
        return (
            "control character in id",
            f"the id {shown(item_id)} holds a control character; remove it",
        )
    if _PARENT.search(item_id):
        return (
            "path in id",
            f"the id {shown(item_id)} holds the path component '..', which could lead out of a "
            "folder; rename the item",
        )
    return None


def check_items(
    table: Table, root: Path | None, quarantine: Quarantine
) -> tuple[list[Item], list[int]]:
    """Return the items that keep the rules, and the number of each one's row.

    Raises:
        CatalogError: there is no column `item_id`.
    """
    require_columns(
        table,
        ["item_id"],
        "rename the column that holds the ids, or import the file with a column map "
        "(`tgqformer import table`)",
    )
    frame = pl.DataFrame(
        {
            "row": table.rows,
            "item_id": id_column(table, "item_id", quarantine),
            **{name: _plain(text_column(table, name, quarantine)) for name in _TEXTS},
            "price": price_column(table, quarantine),
        }
    )
    frame = frame.with_columns(path_column(frame["category"]))
    attributes = attribute_column(table, quarantine)
    for entry in attributes:
        stock = read_stock(entry.get(STOCK))
        if stock is not None:
            entry[STOCK] = "true" if stock else "false"
    sources = image_column(table, quarantine)
    keep = _keep_ids(frame, quarantine) & _keep_lengths(frame, attributes, quarantine)
    prices = _prices(frame, keep, quarantine)

    kept = np.flatnonzero(keep).tolist()
    rows: list[int] = frame["row"].gather(kept).to_list()
    ids: list[str] = frame["item_id"].gather(kept).to_list()
    photos = usable_photos([sources[i] for i in kept], rows, ids, root, quarantine)
    texts = [frame[name].gather(kept).to_list() for name in _TEXTS]
    items = [
        Item(item_id, title, brand, category, attributes[i], price, images)
        for i, item_id, title, brand, category, price, images in zip(
            kept, ids, *texts, prices.gather(kept).to_list(), photos
        )
    ]
    return items, rows


def _plain(texts: pl.Series) -> pl.Series:
    """Return texts without tags and entities of HTML."""
    marked = np.flatnonzero(texts.str.contains("[<&]").to_numpy())
    if not len(marked):
        return texts
    return texts.scatter(marked, [plain_text(text) for text in texts.gather(marked).to_list()])


def _keep_ids(frame: pl.DataFrame, quarantine: Quarantine) -> Mask:
    """Return which rows have an id that is well formed and stands there for the first time."""
    ids = frame["item_id"]
    suspect = (
        (ids.str.strip_chars().is_in(list(MISSING_TEXTS)))
        | (ids.str.len_chars() > MAX_ID_CHARS)
        | ids.str.contains(_CONTROL.pattern)
        | ids.str.contains("..", literal=True)
    ).to_numpy()
    keep = np.ones(frame.height, dtype=np.bool_)
    rows = frame["row"].to_list()
    for i in np.flatnonzero(suspect).tolist():
        if (fault := id_fault(ids[i])) is not None:
            keep[i] = False
            quarantine.add("items", rows[i], ids[i], "item_id", *fault)
    first = ids.to_frame().select(pl.col("item_id").is_first_distinct()).to_series().to_numpy()
    again = np.flatnonzero(keep & ~first).tolist()
    if again:
        origin = {ids[i]: rows[i] for i in reversed(np.flatnonzero(keep & first).tolist())}
        for i in again:
            keep[i] = False
            quarantine.add(
                "items",
                rows[i],
                ids[i],
                "item_id",
                "duplicate id",
                f"the id {shown(ids[i])} stands in row {origin[ids[i]]} already, which is kept; "
                "give each item one row",
            )
    return keep


def _keep_lengths(
    frame: pl.DataFrame, attributes: list[dict[str, str]], quarantine: Quarantine
) -> Mask:
    lengths = {name: frame[name].str.len_chars().to_numpy() for name in _TEXTS}
    lengths["attributes"] = np.fromiter(
        (sum(map(len, entry.values())) + sum(map(len, entry)) for entry in attributes),
        dtype=np.int64,
        count=len(attributes),
    )
    keep = np.ones(frame.height, dtype=np.bool_)
    for name, sizes in lengths.items():
        for i in np.flatnonzero(keep & (sizes > MAX_FIELD_CHARS)).tolist():
            keep[i] = False
            quarantine.add(
                "items",
                frame["row"][i],
                frame["item_id"][i],
                name,
                "field too long",
                f"the field has {sizes[i]:,} characters, more than the {MAX_FIELD_CHARS:,} that "
                "any product needs; look for an unclosed quote, or shorten it",
            )
    return keep


def price_fault(price: float) -> str:
    """Return why a number that is negative or not finite is no price."""
    return (
        f"the price is {price:g}; a price is a finite number from 0 upward, so correct it or leave "
        "it empty"
    )


def _prices(frame: pl.DataFrame, keep: Mask, quarantine: Quarantine) -> pl.Series:
    """Return the prices with null for those that are no amount of money."""
    prices = frame["price"]
    values = prices.fill_null(0.0).to_numpy()
    bad = ~np.isfinite(values) | (values < 0)
    for i in np.flatnonzero(bad & keep).tolist():
        quarantine.add(
            "items",
            frame["row"][i],
            frame["item_id"][i],
            "price",
            "bad price",
            price_fault(float(values[i])),
            CLEARED,
        )
    return pl.select(pl.when(pl.Series(bad)).then(None).otherwise(prices)).to_series()

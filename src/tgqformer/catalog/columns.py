"""From a table's columns, whatever their types, to plain values: text, prices, maps, photos.

A value that cannot be read is dropped and reported; its row stays. Which rows may stay is decided
in item_rules.py and pair_rules.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from tgqformer.catalog.images import encode_picture, is_picture
from tgqformer.catalog.quarantine import CLEARED, REPAIRED, Quarantine, shown
from tgqformer.catalog.tables import Table
from tgqformer.catalog.text import replace_surrogates
from tgqformer.catalog.values import (
    MISSING_TEXTS,
    plain_text,
    plain_value,
    read_price,
    split_links,
)
from tgqformer.errors import CatalogError, ImageError

ImageSource: TypeAlias = "str | bytes"
"""A photo as a table tells it: a path, or encoded bytes."""

Report: TypeAlias = Callable[[int, str, str, str], None]
"""Called with position, rule, reason and action."""


def require_columns(table: Table, names: Sequence[str], remedy: str) -> None:
    """Raise CatalogError, which lists what was found, where one of the columns is not there."""
    missing = [name for name in names if name not in table.columns]
    if missing and (table.columns or len(table.rows)):  # JSONL without a line has no column
        found = ", ".join(table.columns) or "none"
        raise CatalogError(
            f"The {table.name} table has no column {missing[0]!r} (found: {found}); {remedy}."
        )


def text_column(table: Table, name: str, quarantine: Quarantine, *, ids: bool = False) -> pl.Series:
    """Return a column as String, "" where nothing is known; a list becomes ``"A > B"``.

    Of `ids` a text that stands for nothing, ``"N/A"``, is kept, for their rules to name it.
    """
    values = table.columns.get(name)
    if values is None:
        return pl.Series(name, [""], dtype=pl.String).new_from_index(0, len(table.rows))
    if isinstance(values, list):
        report = _reporter(table, name, quarantine)
        told = [value if ids and isinstance(value, str) else plain_value(value) for value in values]
        texts = [_text(value, position, report) for position, value in enumerate(told)]
        return pl.Series(name, texts, dtype=pl.String)
    if isinstance(values.dtype, pl.List) and not values.dtype.inner.is_nested():
        values = values.cast(pl.List(pl.String)).list.join(" > ", ignore_nulls=True)
    if values.dtype.is_nested():
        raise _unfit(table, name, values, "text")
    try:
        found = as_text(values).fill_null("").alias(name)
    except pl.exceptions.PolarsError as error:
        raise _unfit(table, name, values, "text") from error
    if ids:
        return found
    nothing = found.str.strip_chars().is_in(list(MISSING_TEXTS - {""}))
    return pl.select(pl.when(nothing).then(pl.lit("")).otherwise(found)).to_series().alias(name)


def as_text(values: pl.Series) -> pl.Series:
    """Return a flat column as String; whole numbers, whatever their type, without a fraction.

    An id that pandas made a float, 8.0 for the sake of an empty cell elsewhere, is the id 8.
    """
    if not values.dtype.is_float():
        return values.cast(pl.String)
    whole = values.is_finite() & (values == values.round()) & (values.abs() < 2**53)
    return pl.select(
        pl.when(whole).then(values.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(
            values.fill_nan(None).cast(pl.String)
        )
    ).to_series()  # fmt: skip


def number_column(
    table: Table, name: str, quarantine: Quarantine, *, action: str = CLEARED
) -> pl.Series:
    """Return a column as Float64, null where it is missing or (reported, with `action`) no number.

    For what programs write: digits and a point. Prices, which people write, have `price_column`.
    """
    values = table.columns.get(name)
    if values is None:
        return pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, len(table.rows))
    if isinstance(values, pl.Series) and not values.dtype.is_numeric():
        values = values.to_list()
    if isinstance(values, pl.Series):
        return values.cast(pl.Float64).fill_nan(None).alias(name)
    report = _reporter(table, name, quarantine)
    numbers = [_number(value, position, report, action) for position, value in enumerate(values)]
    return pl.Series(name, numbers, dtype=pl.Float64)


def price_column(table: Table, quarantine: Quarantine) -> pl.Series:
    """Return the prices as Float64, with their signs; null where one is missing or cannot be read.

    See values.read_price for what is read. What cannot be, and each range, is reported.
    """
    values = table.columns.get("price")
    if values is None:
        return pl.Series("price", [None], dtype=pl.Float64).new_from_index(0, len(table.rows))
    if isinstance(values, pl.Series):
        if values.dtype.is_numeric():
            return values.cast(pl.Float64).fill_nan(None).alias("price")
        values = values.to_list()
    report = _reporter(table, "price", quarantine)
    prices: list[float | None] = []
    for position, value in enumerate(values):
        told = read_price(value)
        if told.fault is not None:
            report(position, *told.fault, CLEARED if told.amount is None else REPAIRED)
        prices.append(told.amount)
    return pl.Series("price", prices, dtype=pl.Float64)


def attribute_column(table: Table, quarantine: Quarantine) -> list[dict[str, str]]:
    """Return the attributes of each row.

    Read are mappings, lists of (key, value), structs, Arrow maps, and JSON objects as text.
    """
    values = table.columns.get("attributes")
    if values is None:
        return [{} for _ in table.rows]
    if isinstance(values, pl.Series):
        if isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.Struct):
            return _entries(values)
        values = values.to_list()
    report = _reporter(table, "attributes", quarantine)
    return [_attributes(value, position, report) for position, value in enumerate(values)]


def image_column(table: Table, quarantine: Quarantine) -> list[tuple[ImageSource, ...]]:
    """Return the photos of each row, as told.

    Read are a path or address, bytes, ``{"bytes": ..., "path": ...}`` as Hugging Face has it, a
    Pillow image, and lists of these; in text a list of paths or links as values.split_links reads
    it. The column is ``images``, or ``image``.
    """
    values = table.columns.get("images", table.columns.get("image"))
    if values is None:
        return [()] * len(table.rows)
    report = _reporter(table, "images", quarantine)
    sources = values.to_list() if isinstance(values, pl.Series) else values
    return [_images(value, position, report) for position, value in enumerate(sources)]


def _reporter(table: Table, field: str, quarantine: Quarantine) -> Report:
    ids = table.columns.get("item_id", table.columns.get("query_id"))

    def report(position: int, rule: str, reason: str, action: str) -> None:
        item_id = None if ids is None else ids[position]
        known = None if item_id is None else str(item_id)
        quarantine.add(table.name, int(table.rows[position]), known, field, rule, reason, action)

    return report


def _text(value: Any, position: int, report: Report) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        parts = (_text(plain_value(part), position, report) for part in value)
        value = " > ".join(part for part in parts if part)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = value if isinstance(value, str) else str(value)
    fit = replace_surrogates(text)
    if fit != text:
        report(
            position,
            "lone surrogate",
            f"the text {shown(fit)} held half of a UTF-16 pair, which became U+FFFD; write the "
            "whole character",
            REPAIRED,
        )
    return fit


def _number(value: Any, position: int, report: Report, action: str) -> float | None:
    value = plain_value(value)
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        report(
            position,
            "no number",
            f"{shown(value)} is no number; write digits and a point, with no currency sign, or "
            "leave it empty",
            action,
        )
        return None


_NOTHING = frozenset((None, *MISSING_TEXTS)) - {"", "None", "none"}
"""Of an attribute's value "None" may be the truth ("pattern: None"), and "" says as little."""


def _entries(values: pl.Series) -> list[dict[str, str]]:
    """Read List(Struct(key, value)), the form in which polars reads an Arrow map, in bulk."""
    lengths = values.list.len().fill_null(0).to_list()
    flat = values.filter(values.list.len().fill_null(0) > 0).explode()
    first, second = flat.struct.fields[:2]
    keys = flat.struct.field(first).cast(pl.String).fill_null("").to_list()
    texts = flat.struct.field(second).cast(pl.String).to_list()
    result: list[dict[str, str]] = []
    start = 0
    for length in lengths:
        stop = start + length
        pairs = zip(keys[start:stop], texts[start:stop])
        result.append({key: plain_text(text) for key, text in pairs if text not in _NOTHING})
        start = stop
    return result


def _attributes(value: Any, position: int, report: Report) -> dict[str, str]:
    parsed = value = plain_value(value)
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = None
    if isinstance(parsed, (list, tuple)):
        entries = [tuple(e.values()) if isinstance(e, Mapping) else e for e in parsed]
        if all(isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in entries):
            parsed = dict(entries)
    if isinstance(parsed, Mapping):
        with suppress(RecursionError):  # lists in lists in lists, hundreds deep
            told = ((key, _flat(entry)) for key, entry in parsed.items())
            return {
                _text(key, position, report): plain_text(_text(entry, position, report))
                for key, entry in told
                if entry is not None
            }
    report(
        position,
        "no map",
        f'{shown(value)} is no map of attributes; write an object such as {{"colour": "red"}}',
        CLEARED,
    )
    return {}


def _flat(value: Any) -> Any:
    kept = isinstance(value, str) and (value.strip() or value) not in _NOTHING
    told = value if kept else plain_value(value)
    if isinstance(told, list):
        parts = (_flat(part) for part in told)
        return ", ".join(str(part) for part in parts if part is not None)
    if isinstance(told, Mapping):
        return json.dumps(told, ensure_ascii=False, default=str)
    return told


def _images(value: Any, position: int, report: Report) -> tuple[ImageSource, ...]:
    if not is_picture(value):
        value = plain_value(value)
    if value is None:
        return ()
    if isinstance(value, str):
        value = split_links(value)
    parts = value if isinstance(value, list) else [value]
    return tuple(source for part in parts if (source := _image(part, position, report)) is not None)


def _image(part: Any, position: int, report: Report) -> ImageSource | None:
    if isinstance(part, Mapping):
        data = part.get("bytes")
        part = data if data is not None else part.get("path")
    if not is_picture(part):
        part = plain_value(part)
    if part is None:
        return None
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, str):
        return _text(part, position, report)
    if is_picture(part):
        try:
            return encode_picture(part)
        except ImageError as error:
            report(position, "unreadable image", str(error).rstrip("."), CLEARED)
            return None
    report(
        position,
        "no image",
        f"{shown(part)} is no image; give a path, the bytes of a file or a Pillow image",
        CLEARED,
    )
    return None


def _unfit(table: Table, name: str, values: pl.Series, wanted: str) -> CatalogError:
    return CatalogError(
        f"The column {name!r} of the {table.name} table has the type {values.dtype}; it should "
        f"hold {wanted}, so convert it."
    )

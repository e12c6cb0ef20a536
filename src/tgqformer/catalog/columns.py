"""From a table's columns, whatever their types, to plain values: text, prices, maps, photos.

A value that cannot be read is dropped and reported; its row stays. Which rows may stay is decided
in item_rules.py and pair_rules.py.
"""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from tgqformer.catalog.images import MAX_BYTES, as_picture, encode_picture
from tgqformer.catalog.quarantine import CLEARED, REPAIRED, Quarantine, shown
from tgqformer.catalog.tables import Table
from tgqformer.catalog.text import replace_surrogates
from tgqformer.catalog.values import (
    MISSING_TEXTS,
    parse_value,
    photo_of,
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

    An object of several values is no text and is reported. Of `ids` a text that stands for nothing,
    ``"N/A"``, is kept, for their rules to name it.
    """
    values = table.columns.get(name)
    if values is None:
        return pl.Series(name, [""], dtype=pl.String).new_from_index(0, len(table.rows))
    if isinstance(values, list):
        report = _reporter(table, name, quarantine)
        told = [value if ids and isinstance(value, str) else plain_value(value) for value in values]
        texts = [_text(value, position, report, ids) for position, value in enumerate(told)]
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


def path_column(texts: pl.Series) -> pl.Series:
    """Return categories; one that is a list in JSON or Python, ``["Home", "Lamps"]``, as a path."""
    marked = (
        texts.str.contains(r"^\s*\[\s*[\"'].*[\"']\s*\]\s*$")
        .fill_null(False)
        .to_numpy()
        .nonzero()[0]
    )
    if not len(marked):
        return texts
    return texts.scatter(marked, [_path(text) for text in texts.gather(marked).to_list()])


def _path(text: str) -> str:
    try:
        told = parse_value(text.strip())
    except ValueError:
        told = split_links(text)  # which reads the lists that Python and NumPy write
    if not isinstance(told, list) or not all(isinstance(part, str) for part in told):
        return text
    return " > ".join(part.strip() for part in told if part.strip())


def as_text(values: pl.Series) -> pl.Series:
    """Return a flat column as String; whole numbers, whatever their type, without a fraction.

    An id that pandas made a float, 8.0 for the sake of an empty cell elsewhere, is the id 8.
    """
    if values.dtype.is_decimal() and (values.cast(pl.Float64).abs() < 2**53).all():
        values = values.cast(pl.Float64)
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

    Read are mappings, lists of (key, value) or of ``{"name": ..., "value": ...}``, structs, Arrow
    maps, and objects of JSON or Python as text.
    """
    values = table.columns.get("attributes")
    if values is None:
        return [{} for _ in table.rows]
    if isinstance(values, pl.Series):
        inner = values.dtype.inner if isinstance(values.dtype, pl.List) else None
        if isinstance(inner, pl.Struct) and len(inner.fields) == 2:
            ends = _named_ends([known.name for known in inner.fields])
            if ends is not None:
                return _entries(values, *ends)
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


def _text(value: Any, position: int, report: Report, ids: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        known = [part for part in value.values() if isinstance(part, (str, int))]
        if ids and len(value) == len(known) == 1:  # {"$oid": "507f1f77"}
            return str(known[0])
        reason = (
            f"{shown(value)} is an object and no text; give one of its values, or map that in an "
            "import"
        )
        report(position, "no text", reason, CLEARED)
        return ""
    if isinstance(value, list):
        parts = (_text(plain_value(part), position, report, ids) for part in value)
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


_KEY_NAMES = ("key", "k", "name", "attribute", "label", "title", "attribute_name")
_VALUE_NAMES = ("value", "v", "val", "values", "option", "attribute_value")


def _named_ends(names: Sequence[str]) -> tuple[str, str] | None:
    """Return which fields of an entry are its key and its value, None where they do not say."""
    bare = {name.casefold(): name for name in reversed(names)}
    key = next((bare[name] for name in _KEY_NAMES if name in bare), None)
    value = next((bare[name] for name in _VALUE_NAMES if name in bare), None)
    return None if key is None or value is None else (key, value)


def _entries(values: pl.Series, first: str, second: str) -> list[dict[str, str]]:
    """Read List(Struct(key, value)), the form in which polars reads an Arrow map, in bulk."""
    lengths = values.list.len().fill_null(0).to_list()
    flat = values.filter(values.list.len().fill_null(0) > 0).explode()
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
            parsed = parse_value(value.strip())
        except ValueError:
            parsed = None
    if isinstance(parsed, (list, tuple)):
        parsed = _merged(parsed)
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


def _merged(entries: Sequence[Any]) -> Any:
    """Return entries, (key, value) or objects, as one mapping, None where they are none."""
    result: dict[Any, Any] = {}
    for entry in entries:
        if isinstance(entry, Mapping):
            ends = _named_ends([str(name) for name in entry])
            if ends is not None:
                entry = {entry[ends[0]]: entry[ends[1]]}
            elif len(entry) != 1:
                return None
            told = list(entry.items())
        elif isinstance(entry, (list, tuple)) and len(entry) == 2:
            told = [(entry[0], entry[1])]
        else:
            return None
        for key, value in told:
            if isinstance(key, (Mapping, list)):
                return None
            before = result.get(key)  # one name with two values has both
            result[key] = value if before is None else [before, value]
    return result


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
    if (picture := as_picture(value)) is not None:
        return _picture(picture, position, report)
    value = plain_value(value)
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value] if value[:5].lower() == "data:" else split_links(value)
    if isinstance(value, Mapping) and not ({"bytes", "path"} & value.keys()):
        # {"src": ..., "alt": ...}, or {"0": ..., "1": ...}
        whole = photo_of(value)
        numbered = whole is None and all(str(key).isdigit() for key in value)
        value = list(value.values()) if numbered else whole or value
    parts = value if isinstance(value, list) else [value]
    return tuple(source for part in parts for source in _image(part, position, report))


def _image(part: Any, position: int, report: Report) -> tuple[ImageSource, ...]:
    """Return the photo that a part of a list is, () where there is none; of a list all of its."""
    if isinstance(part, Mapping):
        data = part.get("bytes")
        told = data if data is not None else photo_of(part)
        part = told if told is not None or {"bytes", "path"} & part.keys() else part
    if (picture := as_picture(part)) is not None:
        return _picture(picture, position, report)
    part = plain_value(part)
    if part is None:
        return ()
    if isinstance(part, list) and all(isinstance(inner, (str, Mapping, list)) for inner in part):
        return tuple(source for inner in part for source in _image(inner, position, report))
    if isinstance(part, (bytes, bytearray, memoryview)):
        return (bytes(part),)
    if isinstance(part, Path):
        return (str(part),)
    if isinstance(part, str) and part[:5].lower() == "data:":
        try:
            return (data_url_bytes(part),)
        except ImageError as error:
            report(position, "unreadable image", str(error).rstrip("."), CLEARED)
            return ()
    if isinstance(part, str):
        return (_text(part, position, report),)
    report(
        position,
        "no image",
        f"{shown(part)} is no image; give a path, the bytes of a file or a Pillow image",
        CLEARED,
    )
    return ()


def _picture(picture: Any, position: int, report: Report) -> tuple[ImageSource, ...]:
    try:
        return (encode_picture(picture),)
    except ImageError as error:
        report(position, "unreadable image", str(error).rstrip("."), CLEARED)
        return ()


def data_url_bytes(url: str) -> bytes:
    """The bytes of a data: URL, of at most `catalog.images.MAX_BYTES`.

    Raises:
        ImageError: it is no picture, is cut short, or is too large.
    """
    head, comma, body = url.partition(",")
    kind = head[5:].split(";")[0].strip().lower()
    if not comma or (kind and not kind.startswith("image/")):
        raise ImageError(
            f"{shown(url[:60])} is no picture as a data: URL; write it as in "
            "data:image/jpeg;base64,BYTES."
        )
    if len(body) > 4 * MAX_BYTES // 3 + 4:
        raise ImageError(
            f"the data: URL has {len(body):,} characters, more than a photo of {MAX_BYTES:,} bytes "
            "takes; scale the photo down."
        )
    if not head.lower().endswith(";base64"):
        return urllib.parse.unquote_to_bytes(body)
    try:
        # padding may be left out, and white space and percent signs may stand in an address
        text = "".join(urllib.parse.unquote(body).split())
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            f"{shown(url[:60])} is no base64 ({error}); encode the bytes of the file again."
        ) from None


def _unfit(table: Table, name: str, values: pl.Series, wanted: str) -> CatalogError:
    return CatalogError(
        f"The column {name!r} of the {table.name} table has the type {values.dtype}; it should "
        f"hold {wanted}, so convert it."
    )

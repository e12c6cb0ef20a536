"""From whatever Python code hands to `encode` to items, and what of it could not be read.

One input is an `Item`, a dict, a title (a string), a Pillow image, or the path or the bytes of a
photo; many are a list, a tuple, a catalog or any iterator of them, mixed as they come. Dicts go
through the rules that the rows of a catalog keep (`item_rules.py`), so that a price or a list of
photos is read here as it is there.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tgqformer.catalog.columns import data_url_bytes
from tgqformer.catalog.images import encode_picture, is_picture
from tgqformer.catalog.items import DrawnPhoto, Item, RemotePhoto
from tgqformer.catalog.quarantine import DROPPED, REPAIRED, Quarantine, shown
from tgqformer.catalog.text import item_text
from tgqformer.errors import CatalogError, ConfigError, ImageError, UnreadInputWarning

if TYPE_CHECKING:
    from PIL.Image import Image

FIELDS = (
    "item_id", "id", "title", "text", "brand", "category", "attributes", "price", "image", "images",
)  # fmt: skip
"""Keys of an item given as a dict; "text" is another name of the title, "id" of item_id."""

OnError: TypeAlias = Literal["raise", "warn", "ignore"]

One: TypeAlias = "Item | Mapping[str, Any] | str | bytes | os.PathLike[str] | Image"
Given: TypeAlias = "One | Iterable[One]"
"""What `encode` takes."""

_ADDRESS = re.compile(
    r"^(data:image/.+|[a-z][a-z0-9+.-]*://\S+|.*\.(jpe?g|png|webp|gif|avif|bmp|tiff?))$",
    re.IGNORECASE | re.DOTALL,
)
_KINDS = (
    "give an Item, a dict, a title, a Pillow image, the path or the bytes of a photo, or a list or "
    "an iterator of them"
)


@dataclass(frozen=True)
class Fault:
    """Something of an input that could not be read: which input, and a sentence that says why."""

    row: int
    reason: str


@dataclass
class Inputs:
    """What was handed over.

    Attributes:
        items: N items, in order.
        single: it was one input, and no list of one.
        faults: what could not be read of them so far.
        empty: rows of strings and dicts in which nothing stands.
        given: N, what the items were made of.
    """

    items: list[Item]
    single: bool
    faults: list[Fault] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    given: Sequence[Any] = ()

    def name(self, row: int) -> str:
        """What a message calls an input."""
        one = self.given[row]
        if isinstance(one, Item):
            told = f"item {shown(one.item_id)}"
        elif isinstance(one, (bytes, bytearray, memoryview)):
            told = f"{len(bytes(one)):,} bytes"
        else:
            told = shown(one if isinstance(one, (str, Mapping)) else str(one))
        return f"the input ({told})" if self.single else f"input {row} ({told})"

    def tell(self, errors: OnError | None) -> None:
        """Raise or warn of what could not be read; nothing where all was.

        Args:
            errors: None raises for one input and warns for many.

        Raises:
            ImageError: something could not be read, and `errors` says to raise.
        """
        errors = errors or ("raise" if self.single else "warn")
        if errors == "ignore":
            return
        if self.faults:
            first = min(self.faults, key=lambda fault: fault.row)
            reason = f"{self.name(first.row)}: {first.reason.rstrip('.')}"
            count, rows = len(self.faults), len({fault.row for fault in self.faults})
            if errors == "raise":
                more = f" (and {count - 1:,} more that cannot be read)" if count > 1 else ""
                raise ImageError(f"{reason}{more}.")
            self._warn(
                "Photos and values that cannot be read count as missing: "
                f"{count:,}, in {rows:,} of {len(self.items):,} inputs; the first is in {reason}."
            )
        if self.empty:
            self._warn(
                f"{len(self.empty):,} of {len(self.items):,} inputs have neither text nor photo, "
                f"so their vectors say nothing; the first is {self.name(self.empty[0])}."
            )

    @staticmethod
    def _warn(text: str) -> None:
        warnings.warn(text, UnreadInputWarning, stacklevel=4)


def read_inputs(given: Any, errors: OnError | None = None, *, prompt: str = "") -> Inputs:
    """Items out of what a person may hand to `encode`.

    A photo is not decoded here; that a file is not there, or that a photo is given by a URL, is
    found.

    Args:
        given: one input, or any iterable of them.
        errors: checked; and where a fault is to be raised, this is done at once.
        prompt: text put before every title of a string or a dict.

    Raises:
        CatalogError: an input is of another kind, has an unknown key, breaks a rule of items, or
            is an `Item` with a field of another type than its own.
        ConfigError: `errors` is another word.
        ImageError: see `Inputs.tell`.
    """
    if errors not in (None, "raise", "warn", "ignore"):
        raise ConfigError(f"errors is {errors!r}, but must be 'raise', 'warn' or 'ignore'.")
    if hasattr(given, "read"):
        raise CatalogError(
            f"the input is an open file ({type(given).__name__}); give its bytes, file.read(), or "
            "its path as pathlib.Path."
        )
    single = is_one(given)
    several = [given] if single else _several(given)
    inputs = Inputs([], single, given=several)
    records: dict[int, dict[str, Any]] = {}
    for row, one in enumerate(several):
        if isinstance(one, Item):  # a catalog of a million of them is the usual case
            if (fault := _field_fault(one)) is not None:
                raise CatalogError(f"{inputs.name(row)}, {fault}.")
            inputs.items.append(one)
        else:
            inputs.items.append(_item(one, row, prompt, inputs, records))
    _read_records(records, inputs)
    if inputs.faults and (errors == "raise" or (errors is None and single)):
        inputs.tell(errors)
    return inputs


def is_one(given: Any) -> bool:
    """Whether something is one input, and not several."""
    if isinstance(given, (Item, str, bytes, bytearray, memoryview, os.PathLike, Mapping)):
        return True
    return is_picture(given)


def _several(given: Any) -> list[Any]:
    if hasattr(given, "columns") and hasattr(given, "shape"):
        raise CatalogError(
            f"a {type(given).__name__} is a table; give Catalog.from_rows(frame).items, which "
            "reads its columns by their names, or one column as titles."
        )
    if getattr(given, "ndim", 1) != 1:
        raise CatalogError(
            f"{_a(given)} of shape {tuple(given.shape)} is no input; give a photo as a Pillow "
            "image (PIL.Image.fromarray), and leave vectors to `similarity`."
        )
    try:
        return list(given)
    except TypeError:
        raise CatalogError(f"{_a(given)} is no input; {_KINDS}.") from None


def _item(
    one: Any, row: int, prompt: str, inputs: Inputs, records: dict[int, dict[str, Any]]
) -> Item:
    """An input as an item; that of a dict or a path holds its place until `records` are read."""
    item = Item(f"input {row}")
    if isinstance(one, str):
        if _ADDRESS.match(one):
            reason = (
                "it looks like the address of a photo and is read as a title; give the photo as "
                "pathlib.Path(...), as bytes, or as {'image': ...}"
            )
            inputs.faults.append(Fault(row, reason))
        if not one.strip():
            inputs.empty.append(row)
        return replace(item, title=prompt + one)
    if isinstance(one, Mapping):
        records[row] = _record(one, row, prompt, inputs)
    elif isinstance(one, os.PathLike):
        records[row] = {"images": [os.fspath(one)]}
    elif isinstance(one, (bytes, bytearray, memoryview)) or is_picture(one):
        photo = _photo(one, row, inputs)
        return item if photo is None else replace(item, images=(photo,))
    elif _is_missing(one):
        inputs.empty.append(row)
    else:
        raise CatalogError(f"{inputs.name(row)} is {_a(one)}; {_KINDS}.")
    return item


def _field_fault(item: Any) -> str | None:
    """What field of an `Item` is of another type than its own: dicts have rules for that."""
    for name in ("title", "brand", "category"):
        value = getattr(item, name)
        if not isinstance(value, str):
            return f"{name}: {shown(value)} is {_a(value)} and no text; leave it out or give one"
    if not isinstance(item.attributes, Mapping):
        told = shown(item.attributes)
        return f"attributes: {told} is {_a(item.attributes)} and no dict; give name: text"
    for name, value in item.attributes.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            told = f"{shown(name)}: {shown(value)}"
            return f"attributes: {told} is not of two texts; write both as such"
    if not isinstance(item.images, (tuple, list)):
        told = shown(item.images)
        return f"images: {told} is {_a(item.images)} and no tuple of photos; put it into one"
    for place, photo in enumerate(item.images):
        if not isinstance(photo, (Path, bytes, DrawnPhoto, RemotePhoto)):
            return (
                f"photo {place}: {shown(photo)} is {_a(photo)}; give a pathlib.Path or the bytes "
                "of a file, or a dict with 'images' in place of the Item"
            )
    return None


def _record(given: Mapping[str, Any], row: int, prompt: str, inputs: Inputs) -> dict[str, Any]:
    """A dict as a row of a catalog's items table, its id as own_id."""
    unknown = sorted(str(key) for key in given if key not in FIELDS)
    if unknown:
        raise CatalogError(
            f"{inputs.name(row)} has the unknown key {unknown[0]!r}; the known ones are "
            f"{', '.join(FIELDS)}."
        )

    def first(*keys: str) -> Any:
        return next((given[key] for key in keys if not _is_missing(given.get(key))), None)

    record = {key: first(key) for key in ("brand", "category", "attributes", "price")}
    record["own_id"], record["title"] = first("item_id", "id"), first("title", "text")
    if prompt and record["title"] is not None:
        record["title"] = f"{prompt}{record['title']}"
    parts: list[Any] = []
    for told in (given.get("image"), given.get("images")):
        if isinstance(told, np.ndarray):  # as rows of pandas have lists
            told = told.tolist()
        parts += told if isinstance(told, (list, tuple)) else [told]
    known = (
        part for part in parts if not (_is_missing(part) or (isinstance(part, str) and not part))
    )
    sources = (_source(part, row, inputs) for part in known)
    record["images"] = [source for source in sources if source is not None]
    return record


def _source(part: Any, row: int, inputs: Inputs) -> Any:
    """A photo of a dict as the items table takes it; None where it is told already."""
    if is_picture(part) or isinstance(part, (bytes, bytearray, memoryview)):
        return _photo(part, row, inputs)
    if isinstance(part, os.PathLike):
        return os.fspath(part)
    if isinstance(part, str) and part[:5].lower() == "data:":
        try:
            return data_url_bytes(part)
        except ImageError as error:
            inputs.faults.append(Fault(row, f"images: {error}"))
            return None
    if isinstance(part, (str, Mapping)):
        return part
    raise CatalogError(
        f"{inputs.name(row)} has {_a(part)} for a photo; give a Pillow image, the path or the "
        "bytes of a file, or a data: URL."
    )


def _photo(given: Any, row: int, inputs: Inputs) -> bytes | None:
    """The bytes of a photo; None where it is a picture that cannot be read, which is told."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    try:
        return encode_picture(given)
    except ImageError as error:
        inputs.faults.append(Fault(row, str(error)))
        return None


def _read_records(records: Mapping[int, dict[str, Any]], inputs: Inputs) -> None:
    """Put the items of dicts and paths in their places, by the rules of a catalog's rows."""
    if not records:
        return
    from tgqformer.catalog.item_rules import check_items
    from tgqformer.catalog.tables import rows_table

    ids = {row: record.pop("own_id", None) for row, record in records.items()}
    for row, record in records.items():
        record["item_id"] = f"input {row}"
    quarantine = Quarantine()
    items, rows = check_items(rows_table(records.items(), "items", quarantine), None, quarantine)
    for entry in quarantine:
        if entry.action == DROPPED:
            raise CatalogError(f"{inputs.name(entry.row)}, {entry.field}: {entry.reason}.")
        if entry.action != REPAIRED:
            inputs.faults.append(Fault(entry.row, f"{entry.field}: {entry.reason}"))
    told = {fault.row for fault in inputs.faults}
    for row, item in zip(rows, items, strict=True):
        inputs.items[row] = item if ids[row] is None else replace(item, item_id=str(ids[row]))
        if row not in told and not (item.images or item_text(item)):
            inputs.empty.append(row)


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")  # pandas', which is not asked for
    )


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"

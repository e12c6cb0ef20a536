"""Google Merchant Center's product data: tab-separated text, or XML as RSS 2.0 or Atom.

The same files go to Meta, Pinterest and Bing, so many shops have one whatever they sell with.
"""

from __future__ import annotations

import gzip
import html
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from tgqformer.catalog.importers.offers import (
    Offer,
    Read,
    Variants,
    feed_importer,
    feed_name,
    open_feed,
)
from tgqformer.catalog.importers.parts import plain
from tgqformer.catalog.quarantine import REPAIRED, Quarantine
from tgqformer.catalog.tables import rows_table
from tgqformer.catalog.values import links
from tgqformer.errors import CatalogError

MAX_XML_BYTES = 1_000_000_000
"""Of an XML feed, unpacked, which is read whole."""

_ATTRIBUTES = {
    "color": ("color", "colour"),
    "size": ("size",),
    "material": ("material",),
    "pattern": ("pattern",),
    "gender": ("gender",),
    "age_group": ("agegroup",),
    "style": ("style",),
}
_NAMES = {
    "id": ("id", "offerid", "retailerid"),
    "title": ("title", "name"),
    "brand": ("brand",),
    "product_type": ("producttype",),
    "google_category": ("googleproductcategory",),
    "price": ("price",),
    "sale_price": ("saleprice",),
    "stock": ("availability",),
    "image": ("imagelink",),
    "more_images": ("additionalimagelink", "additionalimagelinks"),
    "group": ("itemgroupid",),
    "details": ("productdetail",),
    **_ATTRIBUTES,
}
_ITEMS = ("item", "entry", "product")
_SEVERAL = "\n"
_COMMA = re.compile(r",\s*")
_DETAIL = re.compile(r"\n|,(?=[^,:\t]*:[^,:\t]*:)")
_DECLARED = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([\w.-]+)", re.IGNORECASE)
_OWN_ENTITIES = ("amp", "lt", "gt", "quot", "apos")
_BARE = re.compile(r"&(?!#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|\w{2,31};)")
_NAMED = re.compile(r"&(\w{2,31});")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _read(source: Path, _: Variants, quarantine: Quarantine) -> Read:
    with _opened(source) as file:
        head = file.read(512)
    xml = head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<")
    rows, unread = open_feed(
        rows_table(enumerate(_xml_items(source, quarantine), start=1), "items", quarantine)
        if xml
        else source,
        "feed for Google Merchant Center",
        _NAMES,
        {"id": _NAMES["id"], "title": _NAMES["title"]},
        quarantine,
    )
    return [_offer(number, row) for number, row in rows], unread


import_google_merchant = feed_importer(
    "google_merchant",
    _read,
    "group",
    """Import a feed of product data for Google Merchant Center: .tsv, .txt, .csv or .xml.

    The category is the product_type, else the google_product_category where that is a path and not
    a number. Colour, size, material, pattern, gender, age group and product_detail are attributes.
    `availability` becomes the stock, the sale_price a label beside the price. image_link comes
    before additional_image_link. Rows of one item_group_id are variants, and it is their id where
    they are one item.""",
)


def _offer(number: int, row: dict[str, str]) -> Offer:
    typed = _first_type(row.get("product_type", "").split(_SEVERAL)[0])
    google = row.get("google_category", "")
    attributes = {
        name: plain(value.replace(_SEVERAL, ", "))
        for name in _ATTRIBUTES
        if (value := row.get(name))
    }
    for line in _DETAIL.split(row.get("details", "")):
        parts = line.split("\t" if "\t" in line else ":")  # section, name, value
        if len(parts) > 1 and parts[-2].strip() and parts[-1].strip():
            attributes.setdefault(plain(parts[-2]), plain(parts[-1]))
    photos = [*links(row.get("image", "")), *links(row.get("more_images", ""))]
    return Offer(
        number,
        row.get("id", ""),
        row.get("group", ""),
        row.get("title", ""),
        row.get("brand", ""),
        typed or ("" if google.isdigit() else google),
        row.get("price"),
        row.get("stock"),
        attributes,
        links=list(dict.fromkeys(photos)),
        labels={"sale_price": row["sale_price"]} if row.get("sale_price") else {},
    )


def _first_type(told: str) -> str:
    """Return the first of several paths that a comma parts, which begin alike."""
    parts = _COMMA.split(told)
    root = parts[0].partition(">")[0].strip()
    several = all(">" in part and part.partition(">")[0].strip() == root for part in parts)
    return parts[0] if several else told


def _opened(source: Path) -> BinaryIO:
    try:
        with source.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return gzip.open(source, "rb") if packed else source.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise CatalogError(
            f"{source} cannot be read ({error.strerror or error}); name the file of the feed."
        ) from error


class _Items:
    """Collects an XML feed's items as expat comes by them.

    Of an element that comes several times (additional_image_link) the texts are joined by line
    breaks, of one with children (product_detail) the children's by tabs.
    """

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []
        self._item: dict[str, list[str]] | None = None
        self._path: list[str] = []
        self._text: list[str] = []
        self._parts: list[str] = []
        self._own: set[str] = set()

    def start(self, name: str, _: dict[str, str]) -> None:
        bare = name.rpartition(":")[2]
        if self._item is None:
            if bare.lower() in _ITEMS:
                self._item, self._path, self._own = {}, [], set()
            return
        self._path.append(name)
        self._text = []

    def data(self, text: str) -> None:
        if self._item is not None and self._path:
            self._text.append(text)

    def end(self, name: str) -> None:
        if self._item is None:
            return
        if not self._path:
            self.done.append({key: _SEVERAL.join(told) for key, told in self._item.items()})
            self._item = None
            return
        self._path.pop()
        text = "".join(self._text).strip()
        self._text = []
        if self._path:
            self._parts.append(" ".join(text.split()))
            return
        text, self._parts = text or "\t".join(self._parts), []
        if text:
            key = feed_name(name)
            if ":" in name:  # <g:title> is worth more than RSS's <title>
                if key not in self._own:
                    self._item.pop(key, None)
                    self._own.add(key)
            elif key in self._own:
                return
            self._item.setdefault(key, []).append(text)


def _xml_items(source: Path, quarantine: Quarantine) -> list[dict[str, Any]]:
    """Return the items of an XML feed; one that is not well-formed is mended, or read so far."""
    try:
        with _opened(source) as file:
            data = file.read(MAX_XML_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"{source} cannot be read ({error}); fetch it anew.") from error
    if len(data) > MAX_XML_BYTES:
        raise CatalogError(
            f"{source} has over {MAX_XML_BYTES:,} bytes; write several files, or one as TSV."
        )
    items, fault = _parsed(source, data.lstrip(b" \t\r\n"))
    if fault is None:
        return items
    told = f"{expat.ErrorString(fault.code)} in line {fault.lineno:,}"
    mended, rest = _parsed(source, _mended(data))
    if rest is None:
        reason = (
            f"the file is no well-formed XML ({told}), and was read with bare '&', entities of "
            "HTML, control characters and bytes of Windows-1252 as what they mean; write it by a "
            "program that escapes them"
        )
        quarantine.add("items", 0, None, "file", "no well-formed XML", reason, REPAIRED)
        return mended
    told = f"{expat.ErrorString(rest.code)} in line {rest.lineno:,}"
    if not mended:
        raise CatalogError(
            f"{source} is no well-formed XML: {told}; fetch it anew, or mend that line."
        ) from rest
    reason = f"the XML breaks off ({told}), and nothing behind that is read; fetch it anew"
    quarantine.add("items", len(mended) + 1, None, "row", "no well-formed XML", reason)
    return mended


def _parsed(
    source: Path, data: bytes | str
) -> tuple[list[dict[str, Any]], expat.ExpatError | None]:
    """Return the items of an XML text, and the error at which they end."""
    # Without namespaces: hand-made feeds use g: and do not declare it.
    parser = expat.ParserCreate()
    items = _Items()
    parser.buffer_text = True
    parser.StartElementHandler = items.start
    parser.CharacterDataHandler = items.data
    parser.EndElementHandler = items.end

    def refuse(*arguments: Any) -> None:  # entities within entities fill any memory
        raise CatalogError(
            f"{source} declares entities of its own, which no feed needs; write it without them."
        )

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        return items.done, error
    return items.done, None


def _mended(data: bytes) -> str:
    """Return an XML text in which what is often left unescaped is escaped."""
    declared = _DECLARED.search(data[:200])
    encodings = [declared[1].decode() if declared else "utf-8", "utf-8", "cp1252", "latin-1"]
    for encoding in encodings:
        with suppress(LookupError, UnicodeDecodeError):
            text = data.decode(encoding)
            break
    text = re.sub(r"^\ufeff?\s*(<\?xml[^>]*\?>)?", "", text)
    text = _CONTROL.sub(" ", _BARE.sub("&amp;", text))
    return _NAMED.sub(_entity, text)


def _entity(found: re.Match[str]) -> str:
    if found[1] in _OWN_ENTITIES:
        return found[0]
    meant = html.unescape(found[0])
    return f"&amp;{found[1]};" if meant == found[0] else meant

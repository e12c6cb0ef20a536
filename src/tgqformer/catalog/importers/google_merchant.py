"""Google Merchant Center's product data: tab-separated text, or XML as RSS 2.0 or Atom.

The same files go to Meta, Pinterest and Bing, so many shops have one whatever they sell with.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.frames import read_source
from tgqformer.catalog.importers.offers import (
    Offer,
    Variants,
    feed_name,
    import_offers,
    one_line,
    records,
    require_feed,
)
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import Table, rows_table
from tgqformer.catalog.values import Decimal, links
from tgqformer.errors import CatalogError

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
    "stock": ("availability",),
    "image": ("imagelink",),
    "more_images": ("additionalimagelink", "additionalimagelinks"),
    "group": ("itemgroupid",),
    "details": ("productdetail",),
    **_ATTRIBUTES,
}
_GOOGLE = "http://base.google.com"
_ITEMS = ("item", "entry")
_SEVERAL = "\n"
_BLOCK = 1 << 16


def import_google_merchant(
    source: Path,
    out: Path,
    *,
    variants: Variants = "group",
    images: Path | None = None,
    decimal: Decimal | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import a feed of product data for Google Merchant Center.

    The category is the product_type, else the google_product_category where that is a path and not
    a number. Colour, size, material, pattern, gender and age group are attributes, as are the
    product_detail's of XML. `availability` becomes the stock. Links of photos, image_link before
    additional_image_link, are kept in the labels (column `image_urls`), for `tgqformer
    download-images`.

    Args:
        source: .tsv, .txt or .csv, or .xml, also with .gz.
        out: the catalog's folder, which is written.
        variants: "group": each row is an item, rows of one item_group_id being a group; or
            "one-item": rows of one item_group_id are one item, which has that as its id.
        images: a folder with photos named ``<item id>.jpg``, which are taken.
        decimal: "point" or "comma", what stands before the fraction in prices that have two
            readings (1.299).
        strict: raise on the first rejection.
        progress: is taken for the sake of the other importers; there is nothing to wait for.

    Raises:
        CatalogError: the file cannot be read, or is no such feed.
    """
    quarantine = Quarantine()
    with _opened(source) as file:
        head = file.read(512)
    if head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<"):
        numbered = enumerate(_xml_items(source), start=1)
        table: Table = rows_table(numbered, "items", quarantine)
    else:
        table = read_source(source, "items", quarantine)
    if len(table.rows) or table.columns:
        needed = {"id": _NAMES["id"], "title": _NAMES["title"]}
        require_feed(table, needed, "feed for Google Merchant Center")
    offers = (_offer(number, row) for number, row in records(table, _NAMES, quarantine))
    return import_offers(
        offers,
        out,
        quarantine,
        source=source,
        variants=variants,
        images=images,
        decimal=decimal,
        strict=strict,
    )


def _offer(number: int, row: dict[str, str]) -> Offer:
    typed = row.get("product_type", "").split(_SEVERAL)[0]
    google = row.get("google_category", "")
    attributes = {
        name: one_line(value.replace(_SEVERAL, ", "))
        for name in _ATTRIBUTES
        if (value := row.get(name))
    }
    for line in row.get("details", "").split(_SEVERAL):
        name, _, value = line.rpartition("\t")
        if name and value:
            attributes.setdefault(one_line(name.rpartition("\t")[2]), one_line(value))
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
    )


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
    """Collects an XML feed's items as expat comes by them; memory holds one at a time.

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
        bare = name.rpartition(" ")[2]
        if self._item is None:
            if bare.lower() in _ITEMS:
                self._item, self._path, self._own = {}, [], set()
            return
        self._path.append(bare)
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
        bare, text = self._path.pop(), "".join(self._text).strip()
        self._text = []
        if self._path:
            self._parts.append(" ".join(text.split()))
            return
        text, self._parts = text or "\t".join(self._parts), []
        if text:
            key = feed_name(bare)
            if name.startswith(_GOOGLE):  # whose <g:title> is worth more than RSS's <title>
                if key not in self._own:
                    self._item.pop(key, None)
                    self._own.add(key)
            elif key in self._own:
                return
            self._item.setdefault(key, []).append(text)


def _xml_items(source: Path) -> Iterator[dict[str, Any]]:
    parser = expat.ParserCreate(namespace_separator=" ")
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
        with _opened(source) as file:
            while block := file.read(_BLOCK):
                parser.Parse(block, False)
                yield from items.done
                items.done.clear()
            parser.Parse(b"", True)
            yield from items.done
    except expat.ExpatError as error:
        raise CatalogError(
            f"{source} is no well-formed XML: {expat.ErrorString(error.code)} in line "
            f"{error.lineno:,}; fetch it anew, or mend that line."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"{source} cannot be read ({error}); fetch it anew.") from error

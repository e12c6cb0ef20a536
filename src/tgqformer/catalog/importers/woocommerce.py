"""WooCommerce's product export: a variable product, and its variations that name it as Parent."""

from __future__ import annotations

import re
from pathlib import Path

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.frames import read_source
from tgqformer.catalog.importers.offers import (
    Offer,
    Variants,
    deepest,
    import_offers,
    one_line,
    records,
    require_feed,
)
from tgqformer.catalog.quarantine import REPAIRED, Quarantine, shown
from tgqformer.catalog.values import Decimal, links, plain_text

_ATTRIBUTES = range(1, 21)
_NAMES = {
    "id": ("id",),
    "type": ("type",),
    "sku": ("sku",),
    "title": ("name",),
    "in_stock": ("instock",),
    "stock": ("stock",),
    "price": ("regularprice", "price"),
    "category": ("categories",),
    "brand": ("brands", "brand"),
    "images": ("images",),
    "parent": ("parent",),
    "published": ("published",),
    **{f"name{n}": (f"attribute{n}name",) for n in _ATTRIBUTES},
    **{f"value{n}": (f"attribute{n}values", f"attribute{n}value") for n in _ATTRIBUTES},
}
_COMMA = re.compile(r"(?<!\\),")


def import_woocommerce(
    source: Path,
    out: Path,
    *,
    variants: Variants = "one-item",
    images: Path | None = None,
    decimal: Decimal | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import a product export of WooCommerce (Products > Export), its headers in English.

    Ids are those of the column ID, the SKU being kept as a label. Of several Categories the deepest
    is taken. Links of photos are kept in the labels (column `image_urls`), for `tgqformer
    download-images`.

    Args:
        source: the .csv file.
        out: the catalog's folder, which is written.
        variants: "one-item": a product takes in its variations, with all photos and values and the
            lowest price; or "group": each variation is an item, with what it lacks (brand,
            category, photos) from its product, which is then no item itself.
        images: a folder with photos named ``<item id>.jpg``, which are taken.
        decimal: "point" or "comma", what stands before the fraction in prices that have two
            readings (1.299).
        strict: raise on the first rejection.
        progress: is taken for the sake of the other importers; there is nothing to wait for.

    Raises:
        CatalogError: the file cannot be read, or is no such export.
    """
    quarantine = Quarantine()
    table = read_source(source, "items", quarantine)
    needed = {"ID": ("id", "sku"), "Name": ("name",)}
    require_feed(table, needed, "export of WooCommerce with English headers")
    rows = list(records(table, _NAMES, quarantine))
    places: dict[str, int] = {}
    for place, (_, row) in enumerate(rows):
        for name in (f"id:{row.get('id')}", row.get("sku"), row.get("id")):
            if name and row.get("type", "").lower() != "variation":
                places.setdefault(name, place)
    offers = [_offer(number, row) for number, row in rows]
    parents: set[int] = set()
    for place, (number, row) in enumerate(rows):
        told = row.get("parent", "")
        if not told or row.get("type", "").lower() not in ("variation", ""):
            continue
        parent = places.get(told, places.get(told.replace("id: ", "id:")))
        if parent is None:
            reason = (
                f"no row has the SKU or id {shown(told)} of its Parent, so it is an item by "
                "itself; export the product with its variations"
            )
            quarantine.add(
                "items", number, offers[place].item_id, "Parent", "no parent", reason, REPAIRED
            )
            continue
        parents.add(parent)
        _inherit(offers[place], offers[parent], variants)
    for place in parents:
        offers[place].group = offers[place].item_id
    kept = [o for n, o in enumerate(offers) if variants == "one-item" or n not in parents]
    return import_offers(
        kept,
        out,
        quarantine,
        source=source,
        variants=variants,
        images=images,
        decimal=decimal,
        strict=strict,
    )


def _offer(number: int, row: dict[str, str]) -> Offer:
    attributes = {
        one_line(name): one_line(value)
        for n in _ATTRIBUTES
        if (name := row.get(f"name{n}")) and (value := row.get(f"value{n}"))
    }
    paths = _COMMA.split(plain_text(row.get("category", "")))
    return Offer(
        number,
        row.get("id") or row.get("sku", ""),
        title=row.get("title", ""),
        brand=row.get("brand", ""),
        category=deepest([path.replace("\\,", ",") for path in paths]),
        price=row.get("price"),
        stock=row.get("in_stock") or row.get("stock"),
        attributes=attributes,
        links=links(row.get("images", "")),
        labels={"sku": row.get("sku") or None},
    )


def _inherit(offer: Offer, parent: Offer, variants: Variants) -> None:
    """Give a variation its group and, where it is an item of its own, what it does not say."""
    offer.group = parent.item_id
    if variants == "one-item":
        values = parent.attributes  # which list all of them: "Blue, Green"
        offer.attributes = {n: v for n, v in offer.attributes.items() if n not in values}
        return
    offer.title = offer.title or parent.title
    offer.brand = offer.brand or parent.brand
    offer.category = offer.category or parent.category
    others = {n: v for n, v in parent.attributes.items() if n not in offer.attributes}
    several = {n: v for n, v in others.items() if not re.search(r",\s", v)}
    offer.attributes = {**offer.attributes, **several}
    offer.links = list(dict.fromkeys([*offer.links, *parent.links]))

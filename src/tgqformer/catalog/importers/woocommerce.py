"""WooCommerce's product export: a variable product, and its variations that name it as Parent."""

from __future__ import annotations

import re
from pathlib import Path

from tgqformer.catalog.importers.offers import (
    Offer,
    Read,
    Variants,
    deepest,
    feed_importer,
    open_feed,
)
from tgqformer.catalog.importers.parts import plain
from tgqformer.catalog.quarantine import REPAIRED, Quarantine, shown
from tgqformer.catalog.values import links, plain_text

_ATTRIBUTES = range(1, 21)
_NAMES = {
    "id": ("id",),
    "type": ("type",),
    "sku": ("sku",),
    "title": ("name",),
    "in_stock": ("instock",),
    "stock": ("stock",),
    "price": ("regularprice", "price"),
    "sale_price": ("saleprice",),
    "category": ("categories",),
    "brand": ("brands", "brand"),
    "images": ("images",),
    "parent": ("parent",),
    "published": ("published",),
    **{f"name{n}": (f"attribute{n}name",) for n in _ATTRIBUTES},
    **{f"value{n}": (f"attribute{n}values", f"attribute{n}value") for n in _ATTRIBUTES},
}
_COMMA = re.compile(r"(?<!\\),")


def _read(source: Path, variants: Variants, quarantine: Quarantine) -> Read:
    rows, unread = open_feed(
        source,
        "export of WooCommerce with English headers",
        _NAMES,
        {
            "ID": ("id", "sku"),
            "Name": ("name",),
            "Type": ("type", "regularprice", "price", "categories", "images"),
        },
        quarantine,
    )
    places: dict[str, int] = {}
    for place, (_, row) in enumerate(rows):
        for name in (f"id:{row.get('id')}", row.get("sku"), row.get("id")):
            if name and not _is_variation(row):
                places.setdefault(name, place)
    offers = [_offer(number, row) for number, row in rows]
    parents: dict[int, int] = {}

    def whole_of(place: int) -> int:
        while place in parents:
            place = parents[place]
        return place

    for place, (number, row) in enumerate(rows):
        told = row.get("parent", "")
        if not told or not (_is_variation(row) or not row.get("type")):
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
        if whole_of(parent) == place:  # a row that is its own Parent, or its Parent's
            continue
        parents[place] = parent
        _inherit(offers[place], offers[parent], variants)
    products = set(parents.values())
    for place in products:
        offers[place].group = offers[place].item_id
    # A product comes before its variations, wherever these stand: its title is theirs together.
    order = sorted(range(len(offers)), key=lambda n: (whole_of(n), n in parents, n))
    one_item = variants == "one-item"
    return [offers[n] for n in order if one_item or n not in products], unread


def _is_variation(row: dict[str, str]) -> bool:
    return "variation" in (kind.strip() for kind in row.get("type", "").lower().split(","))


import_woocommerce = feed_importer(
    "woocommerce",
    _read,
    "one-item",
    """Import a product export of WooCommerce (Products > Export), its headers in English.

    Ids are those of the column ID, the SKU being kept as a label, as are Published and the Sale
    price. Of several Categories the deepest is taken. As a group, variations have what they lack
    (brand, category, photos) from their product, which is then no item itself.""",
)


def _offer(number: int, row: dict[str, str]) -> Offer:
    attributes = {
        plain(name): plain(value)
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
        labels={
            "sku": row.get("sku") or None,
            **{name: row[name] for name in ("published", "sale_price") if row.get(name)},
        },
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

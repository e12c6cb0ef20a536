"""Shopify's product export: the rows of one Handle are one product, its variants and its photos.

Read are both the columns of the classic export ("Handle", "Image Src", "Variant Price") and those
of the newer one ("URL handle", "Product image URL", "Price"), and the JSON that a shop answers
/products.json with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tgqformer.catalog.frames import read_source
from tgqformer.catalog.importers.offers import (
    Offer,
    Read,
    Variants,
    feed_importer,
    open_feed,
)
from tgqformer.catalog.importers.parts import plain
from tgqformer.catalog.quarantine import REPAIRED, Quarantine, shown
from tgqformer.catalog.tables import Table, rows_table
from tgqformer.catalog.values import links, photo_of, plain_value

_OPTIONS = (1, 2, 3)
_NESTED = ("variants", "images", "image", "options", "handle", "id")
_NAMES = {
    "handle": ("handle", "urlhandle"),
    "title": ("title",),
    "brand": ("vendor",),
    "category": ("productcategory", "standardizedproducttype", "standardproducttype"),
    "type": ("type", "customproducttype", "producttype"),
    "sku": ("variantsku", "sku"),
    "price": ("variantprice", "price"),
    "stock": ("variantinventoryqty", "inventoryquantity"),
    "policy": ("variantinventorypolicy", "continuesellingwhenoutofstock"),
    "tracker": ("variantinventorytracker", "inventorytracker"),
    "image": ("imagesrc", "productimageurl"),
    "position": ("imageposition",),
    "variant_image": ("variantimage", "variantimageurl"),
    "status": ("status",),
    **{f"option{n}": (f"option{n}name",) for n in _OPTIONS},
    **{f"value{n}": (f"option{n}value",) for n in _OPTIONS},
}


def _read(source: Path, variants: Variants, quarantine: Quarantine) -> Read:
    table = read_source(source, "items", quarantine)
    if "variants" in table.columns:
        table = rows_table(_json_rows(table), "items", quarantine)
    needed = {"Handle": _NAMES["handle"], "Title": ("title",)}
    rows, unread = open_feed(table, "export of Shopify", _NAMES, needed, quarantine)
    products: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in rows:
        if row["handle"]:
            products.setdefault(row["handle"], []).append((number, row))
        elif any(row.values()):
            reason = "the row has no Handle, so nothing tells whose it is; complete it"
            quarantine.add("items", number, None, "Handle", "missing id", reason)
    offers = [
        offer
        for handle, told in products.items()
        for offer in _product(handle, told, variants, quarantine)
    ]
    return _with_ids(offers), unread


import_shopify = feed_importer(
    "shopify",
    _read,
    "one-item",
    """Import a product export of Shopify (Products > Export > CSV), or a shop's /products.json.

    A product's brand is its Vendor, its category the Product Category, else the Type; its options
    (Size, Colour) are attributes. Photos are in the order of Image Position. The Status is a label.
    As one item its id is the Handle; as a group each variant has its SKU as id, or, where it has
    none of its own, Handle and options, and the Handle is the group.""",
)


def _json_rows(table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    """The products of /products.json as the rows of the export."""
    names = list(table.columns)
    for place, number in enumerate(table.rows.tolist()):
        told = {name: table.columns[name][place] for name in names}
        first: dict[str, Any] = {name: told[name] for name in names if name not in _NESTED}
        for n, option in enumerate(plain_value(told.get("options")) or [], start=1):
            first[f"Option{n} Name"] = option.get("name") if isinstance(option, Mapping) else option
        rows = [first]
        for n, variant in enumerate(plain_value(told["variants"]) or []):
            if not isinstance(variant, Mapping):
                continue
            row = {
                **{f"Option{k} Value": variant.get(f"option{k}") for k in _OPTIONS},
                "SKU": variant.get("sku") or variant.get("id"),
                "Price": variant.get("price"),
                "Inventory quantity": variant.get("inventory_quantity", variant.get("available")),
                "Variant Image": photo_of(variant.get("featured_image") or {}),
            }
            rows[0] |= row if not n else {}
            rows += [row] if n else []
        photos = plain_value(told.get("images")) or []
        rows += [{"Image Src": link} for link in links(photos)]
        yield from ((number, {"Handle": told.get("handle"), **row}) for row in rows)


def _product(
    handle: str, rows: list[tuple[int, dict[str, str]]], variants: Variants, quarantine: Quarantine
) -> list[Offer]:
    """The variants of a product, one at least, each with what holds for all of them."""
    first = next((row for _, row in rows if row.get("title")), rows[0][1])
    for number, row in rows:
        if row.get("title") not in ("", None, first.get("title")):
            reason = (
                f"the Handle has the title {shown(first.get('title'))} already, and not "
                f"{shown(row['title'])}; give each product a Handle of its own"
            )
            quarantine.add("items", number, handle, "title", "second title", reason, REPAIRED)
    photos = _photos(rows)
    names = {n: plain(first.get(f"option{n}", "")) for n in _OPTIONS}
    offers = []
    for number, row in rows:
        told = [row.get(name, "") for name in ("value1", "value2", "value3", "sku", "price")]
        if not any(told):  # a row for a photo alone
            continue
        own = links(row.get("variant_image", ""))
        options = {
            names[n] or f"Option {n}": plain(row[f"value{n}"])
            for n in _OPTIONS
            if row.get(f"value{n}") and row[f"value{n}"] != "Default Title"
        }
        offers.append(
            Offer(
                number,
                row.get("sku", "").removeprefix("'"),  # written so that zeros stay
                handle,
                first.get("title", ""),
                first.get("brand", ""),
                first.get("category") or first.get("type", ""),
                row.get("price"),
                _stock(row),
                options,
                links=[*own, *(link for link in photos if link not in own)],
                labels={"status": first.get("status") or None},
            )
        )
    if offers:
        if (
            variants == "one-item"
        ):  # in the order of the gallery, a variant's own photo in its place
            every = dict.fromkeys([*photos, *(link for o in offers for link in o.links)])
            offers[0].links = list(every)
        return offers
    category = first.get("category") or first.get("type", "")
    title, brand = first.get("title", ""), first.get("brand", "")
    return [Offer(rows[0][0], handle, handle, title, brand, category, links=photos)]


def _photos(rows: list[tuple[int, dict[str, str]]]) -> list[str]:
    """The product's links by Image Position; those without one come at the end."""
    found: list[tuple[float, int, str]] = []
    for place, (_, row) in enumerate(rows):
        position = row.get("position", "")
        order = float(position) if position.replace(".", "", 1).isdigit() else float("inf")
        found += [(order, place, link) for link in links(row.get("image", ""))]
    return list(dict.fromkeys(link for _, _, link in sorted(found)))


def _stock(row: dict[str, str]) -> str:
    """What is there, or may be sold all the same; without a tracker there is always enough."""
    if row.get("policy", "").lower() in ("continue", "true", "yes"):
        return "yes"
    return row.get("stock", "")


def _with_ids(offers: list[Offer]) -> list[Offer]:
    """Give each variant an id that no other one has: its SKU, or its Handle and options."""
    seen: dict[str, int] = {}
    for offer in offers:
        seen[offer.item_id] = seen.get(offer.item_id, 0) + 1
    for offer in offers:
        if not offer.item_id or seen[offer.item_id] > 1:
            told = "-".join("-".join(v.split()) for v in offer.attributes.values())
            offer.item_id = f"{offer.group}/{told}" if told else offer.group
    return offers

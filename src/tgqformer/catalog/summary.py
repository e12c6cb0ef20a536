"""Counting what a catalog holds and what it lacks, and naming the columns that nothing reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from tgqformer.catalog.pair_rules import SPLITS

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item


ITEM_COLUMNS = ("item_id", "title", "brand", "category", "price", "attributes", "images", "image")
PAIR_COLUMNS = ("query_id", "target_id", "weight", "split")

_MEANT = {
    "item_id": "id sku product_id productid article_id asin parent_asin handle gtin ean code "
    "itemid",
    "title": "name product_name productname prod_name product_title item_name display_name "
    "productdisplayname heading label",
    "brand": "vendor manufacturer maker brand_name store",
    "category": "categories product_type producttype type department google_product_category "
    "category_name category_path breadcrumb breadcrumbs group",
    "price": "cost amount regular_price list_price unit_price sale_price variant_price",
    "attributes": "attrs properties features specs specifications details",
    "images": "image_path image_paths image_url image_urls image_link image_src img imgs photo "
    "photos picture pictures pic thumbnail thumb file filename file_name path",
    "query_id": "query source source_id from item item_id item_a id_a left",
    "target_id": "target destination to other related related_id item_b id_b right",
    "weight": "score strength count n value similarity",
    "split": "set fold part subset",
    "user": "user_id userid customer customer_id customerid visitor visitor_id visitorid session "
    "session_id sessionid client client_id account_id uid reviewerid",
    "item": "item_id itemid product product_id productid article article_id sku asin "
    "parent_asin id",
    "time": "timestamp ts datetime date t_dat event_time created_at unixreviewtime when at",
}
"""What people call the columns, beside our names."""


@dataclass(frozen=True, slots=True)
class UnreadColumn:
    """A column of the items or the pairs that nothing reads.

    Attributes:
        table: "items" or "pairs".
        column: its name.
        meant: our name of what it likely holds, "" where nothing is known.
    """

    table: str
    column: str
    meant: str

    def __str__(self) -> str:
        place = "" if self.table == "items" else f"{self.table}."
        return f"{place}{self.column}" + (f" ({self.meant}?)" if self.meant else "")


def unread_columns(table: str, columns: Iterable[str]) -> list[UnreadColumn]:
    """Return the columns of a table of items or pairs that nothing reads, in their order."""
    given = list(columns)
    read = ITEM_COLUMNS if table == "items" else PAIR_COLUMNS
    missing = [name for name in read if name not in given and name != "image"]
    if "image" in given:
        missing = [name for name in missing if name != "images"]
    return [
        UnreadColumn(table, name, likely_meant(name, missing)) for name in given if name not in read
    ]


def likely_meant(name: str, wanted: Sequence[str]) -> str:
    """Return which of the wanted columns a name likely means, "" where none."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    for field in wanted:
        if plain == field or plain in _MEANT.get(field, "").split():
            return field
    near = difflib.get_close_matches(plain, wanted, n=1, cutoff=0.8)
    return near[0] if near else ""


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return counts of items, photos and missing fields; pairs, queries and pool by split.

    The values are integers, or maps to integers, ready for JSON.
    """
    items = catalog.items
    parts = {split: catalog.pair_table.filter(pl.col("split") == split) for split in SPLITS}
    return {
        "items": len(items),
        "images": sum(len(item.images) for item in items),
        "items without image": sum(not item.images for item in items),
        "items without title": sum(not item.title.strip() for item in items),
        "items without category": sum(not item.category.strip() for item in items),
        "items with price": sum(item.price is not None for item in items),
        "pairs": {split: part.height for split, part in parts.items()},
        "queries": {split: part["query"].n_unique() for split, part in parts.items()},
        "pool": {split: len(catalog.pool_indices(split)) for split in SPLITS},
        "quarantine": catalog.quarantine.counts(),
    }


def summarise(catalog: Catalog) -> str:
    """Return the counts that matter in one line."""
    told = describe(catalog)
    pairs = ", ".join(f"{name} {count:,}" for name, count in told["pairs"].items())
    return (
        f"{told['items']:,} items ({told['items without image']:,} without image, "
        f"{told['items without title']:,} without title), {told['images']:,} images, "
        f"{catalog.pair_table.height:,} pairs ({pairs}); {catalog.quarantine.summary()}"
    )


def photos_read(items: Sequence[Item], most: int) -> dict[str, int]:
    """Count how many photos of how many items a model reads that looks at `most` of each.

    Returns:
        "photos" in all, "read" of them, "items" that have any, "several" that have more than one,
        "cut" that have more than `most`, and "max_images", which is `most`.
    """
    counts = [len(item.images) for item in items]
    return {
        "photos": sum(counts),
        "read": sum(min(count, most) for count in counts),
        "items": sum(count > 0 for count in counts),
        "several": sum(count > 1 for count in counts),
        "cut": sum(count > most for count in counts),
        "max_images": most,
    }


def tell_photos(told: dict[str, int]) -> str:
    """Return what `photos_read` counted in one sentence; "" where no item has several photos."""
    if not told["several"]:
        return ""
    most = told["max_images"]
    sentence = (
        f"{told['read']:,} of {told['photos']:,} photos of {told['items']:,} items are read, at "
        f"most {most} of an item"
    )
    if told["cut"]:
        sentence += f"; {told['cut']:,} items have more, whose first {most} count"
    return f"{sentence} (embedder.max_images)."

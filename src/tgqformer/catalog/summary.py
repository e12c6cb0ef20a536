"""Counting what a catalog holds and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from tgqformer.catalog.pair_rules import SPLITS

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item


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

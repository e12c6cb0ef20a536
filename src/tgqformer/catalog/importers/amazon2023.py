"""Amazon Reviews 2023 (Hou et al., arXiv 2403.03952).

Product metadata, one object a line: ``meta_Clothing_Shoes_and_Jewelry.jsonl.gz``. A product is a
`parent_asin`, the family of its sizes and colours. `bought_together` is empty in most categories;
pairs then come from the reviews, which name user, parent_asin and timestamp: see sessions.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.amazon import Product, import_products
from tgqformer.catalog.importers.parts import Split, amount, plain, strings

_MAX_ATTRIBUTES = 20
# Ranks, dates and parcels say nothing of the product.
_SKIPPED_DETAILS = {
    "best sellers rank",
    "customer reviews",
    "date first available",
    "is discontinued by manufacturer",
    "item model number",
    "package dimensions",
    "asin",
    "upc",
}


def import_amazon2023(
    source: Path,
    out: Path,
    *,
    images: Path | None = None,
    paired: bool = False,
    max_targets: int = 20,
    limit: int | None = None,
    split: Split = "random",
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import one category's metadata file.

    Photos are not downloaded: their URLs are kept in the labels (column `image_urls`, the main
    photo first), for `tgqformer download-images`; photos named ``<parent_asin>.jpg`` in the folder
    `images` are taken.

    Args:
        source: ``meta_*.jsonl.gz``, or the same unpacked, or a Parquet file of the hub's
            ``raw_meta_*``; the contents tell which, whatever the name.
        out: the catalog's folder, which is written.
        images: a folder with the photos.
        max_targets: of a product's `bought_together` only the first so many count.
        paired: leave out the products that no pair names.
        limit: read only so many lines.
        split, val, test, seed, strict, progress: see parts.finish.

    Raises:
        CatalogError: the file cannot be read.
    """

    def read(entry: dict[str, Any]) -> Product:
        linked = strings(entry.get("bought_together"))[:max_targets]
        return Product(_row(entry), _image_urls(entry.get("images")), [linked])

    return import_products(
        source,
        out,
        read,
        images=images,
        paired=paired,
        limit=limit,
        split=split,
        val=val,
        test=test,
        seed=seed,
        strict=strict,
        progress=progress,
    )


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    details = _details(entry.get("details"))
    brand = plain(details.pop("Brand", None)) or plain(entry.get("store"))
    category = [plain(part) for part in strings(entry.get("categories"))]
    return {
        "item_id": entry.get("parent_asin"),
        "title": plain(entry.get("title")),
        "brand": brand,
        "category": category or plain(entry.get("main_category")),
        "attributes": details,
        "price": amount(entry.get("price")),
    }


def _details(told: Any) -> dict[str, str]:
    if isinstance(told, str):  # so in the Hugging Face edition
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    if not isinstance(told, dict):
        return {}
    kept = {
        name: plain(value)
        for name, value in told.items()
        if isinstance(value, str) and name.lower() not in _SKIPPED_DETAILS
    }
    return dict(list(kept.items())[:_MAX_ATTRIBUTES])


def _image_urls(told: Any) -> list[str]:
    """Read a list of photos, or the lists by resolution of the Hugging Face edition."""
    if isinstance(told, dict):
        names = list(told)
        columns = [list(told[name] or []) for name in names]
        told = [dict(zip(names, values)) for values in zip(*columns)]
    if not isinstance(told, list):
        return []
    photos = [photo for photo in told if isinstance(photo, dict)]
    photos.sort(key=lambda photo: photo.get("variant") != "MAIN")
    best = (photo.get("hi_res") or photo.get("large") or photo.get("thumb") for photo in photos)
    return [url for url in best if isinstance(url, str)]

"""From products to what a catalog holds: items as sellers list them, and labels as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.storefront.metadata import Metadata, spoil_metadata
from tgqformer.storefront.pairs import pool_of
from tgqformer.storefront.regimes import Regime
from tgqformer.storefront.shop import Product
from tgqformer.storefront.streams import stream


def describe_product(product: Product, regime: Regime, seed: int) -> tuple[Metadata, list[str]]:
    """Return what the seller writes, and the names of its faults."""
    if not regime.spoiled:
        return product.metadata, []
    rng = stream(seed, "faults", product.number)
    return spoil_metadata(product.metadata, product.category, product.cell.tier, rng)


def make_item(product: Product, metadata: Metadata, folder: Path | None) -> Item:
    """Return the item; `folder` is the catalog's, None where there is no photo."""
    photo = () if folder is None else (folder / "images" / f"{product.item_id}.jpg",)
    return Item(
        item_id=product.item_id,
        title=metadata.title,
        brand=metadata.brand,
        category=metadata.category,
        attributes=metadata.attributes,
        price=metadata.price,
        images=photo,
    )


def make_labels(
    products: Sequence[Product],
    regimes: Sequence[Regime],
    faults: Sequence[list[str]],
    records: Mapping[str, Mapping[str, Any]],
    split: Mapping[str, str],
) -> pl.DataFrame:
    """Return what is known of the products and never shown to a model, a row for each.

    Columns: item_id; noise (the regime), photo (its kind, "none" where there is none), faults of
    the metadata, overlays; pool and split; group, category, brand, tier (0..3), the true ones;
    pattern, colourway and silhouette (0..2), the hidden style; product_box (x0, y0, x1, y1 in
    pixels, null without a photo) and distractor_boxes.
    """
    known = [records.get(product.item_id, {}) for product in products]
    texts = {
        "item_id": [p.item_id for p in products],
        "noise": [r.name for r in regimes],
        "photo": [r.photo or "none" for r in regimes],
        "pool": [pool_of(split[p.item_id]) for p in products],
        "split": [split[p.item_id] for p in products],
        "group": [p.cell.group for p in products],
        "category": [p.category.path for p in products],
        "brand": [p.brand for p in products],
        "pattern": [p.cell.pattern for p in products],
        "colourway": [p.cell.colourway for p in products],
    }
    return pl.DataFrame(
        {
            **{name: pl.Series(name, values, pl.String) for name, values in texts.items()},
            "tier": pl.Series("tier", [p.cell.tier for p in products], pl.Int64),
            "silhouette": pl.Series("silhouette", [p.look.silhouette for p in products], pl.Int64),
            "faults": pl.Series("faults", list(faults), pl.List(pl.String)),
            "overlays": pl.Series(
                "overlays", [k.get("overlays", []) for k in known], pl.List(pl.String)
            ),
            "product_box": pl.Series(
                "product_box", [k.get("product_box") for k in known], pl.List(pl.Int64)
            ),
            "distractor_boxes": pl.Series(
                "distractor_boxes",
                [k.get("distractor_boxes", []) for k in known],
                pl.List(pl.List(pl.Int64)),
            ),
        }
    )

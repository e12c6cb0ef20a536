"""From products to what a catalog holds: items as sellers list them, and labels as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.items import Item
from tgqformer.storefront.metadata import Metadata, spoil_metadata
from tgqformer.storefront.pairs import pool_of
from tgqformer.storefront.photo import photo_name
from tgqformer.storefront.regimes import Drawing, Regime
from tgqformer.storefront.shop import Product
from tgqformer.storefront.streams import stream
from tgqformer.storefront.taxonomy import CATEGORIES


def describe_product(product: Product, regime: Regime, seed: int) -> tuple[Metadata, list[str]]:
    """Return what the seller writes, and the names of its faults."""
    if not regime.spoiled:
        return product.metadata, []
    rng = stream(seed, "faults", product.number)
    return spoil_metadata(product.metadata, product.category, product.cell.tier, rng)


def make_item(product: Product, metadata: Metadata, folder: Path, photos: int) -> Item:
    """Return the item with so many photos; `folder` is the catalog's."""
    names = [photo_name(product.item_id, place) for place in range(photos)]
    return Item(
        item_id=product.item_id,
        title=metadata.title,
        brand=metadata.brand,
        category=metadata.category,
        attributes=metadata.attributes,
        price=metadata.price,
        images=tuple(folder / "images" / name for name in names),
    )


def make_labels(
    products: Sequence[Product],
    regimes: Sequence[Regime],
    faults: Sequence[list[str]],
    records: Mapping[str, Mapping[str, Any]],
    split: Mapping[str, str],
    *,
    held_out: Set[str],
    drawing: Drawing,
    kinds: Sequence[Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Return what is known of the products and never shown to a model, a row for each.

    Columns: item_id; noise (the regime), photo (its kind, "none" where there is none), faults of
    the metadata, overlays; pool and split; group, category, brand, tier (0..3), the true ones;
    pattern, colourway and silhouette (0..2), the hidden style; product_box (x0, y0, x1, y1 in
    pixels, null without a photo) and distractor_boxes.

    From the second drawing on also: family (the item_id of the first of its sisters, null without
    sisters) and popularity; stuffing (the things of other categories in the title, before any
    fault); distractors (their categories, in the order of their boxes) and slogan (the words of
    the overlay of this name, null without); held_out (whether its category has no training pairs).

    Where items have several photos all of this is of the first, and photos has the `kinds` of all.
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
    labels = pl.DataFrame(
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
    if kinds is not None:
        every = pl.Series("photos", [list(own) for own in kinds], pl.List(pl.String))
        labels = labels.with_columns(every)
    if drawing.version == 1:
        return labels
    sizes = Counter(p.family for p in products)
    heads = [products[p.family].item_id if sizes[p.family] > 1 else None for p in products]
    paths = {category.name: category.path for category in CATEGORIES}
    beside = [[paths[name] for name in k.get("distractors", [])] for k in known]
    slogans = [k.get("slogan") or None for k in known]
    return labels.with_columns(
        pl.Series("family", heads, pl.String),
        pl.Series("popularity", [p.popularity for p in products], pl.Float64),
        pl.Series("stuffing", [list(p.stuffing) for p in products], pl.List(pl.String)),
        pl.Series("distractors", beside, pl.List(pl.String)),
        pl.Series("slogan", slogans, pl.String),
        pl.Series("held_out", [p.category.name in held_out for p in products], pl.Boolean),
    )

"""The one call that draws a shop to a folder: photos, what sellers list, and the labels."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import polars as pl

from tgqformer import __version__
from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.catalog.tables import write_table
from tgqformer.cores import cores
from tgqformer.corruption.canvas import stream
from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import write_bytes
from tgqformer.progress import track
from tgqformer.storefront.metadata import CATEGORIES, Metadata, spoil_metadata
from tgqformer.storefront.photo import CHUNK, Job, draw_photos, photo_name
from tgqformer.storefront.regimes import (
    DRAWINGS,
    LATEST,
    NOISES,
    Drawing,
    Regime,
    draw_kinds,
    draw_regime,
)
from tgqformer.storefront.shop import Product, make_products
from tgqformer.storefront.shoppers import (
    hold_out,
    pool_of,
    sessions_to_pairs,
    shop_sessions,
    split_pairs,
    split_products,
)

MIN_ITEMS = 20
MIN_SIZE, MAX_SIZE = 32, 2048
MAX_HELD_OUT = 10
MAX_PHOTOS = 12
_UNTOLD = {"drawing": 1, "held_out": 0, "photos": "1-1"}
"""What a manifest means that does not say so."""


@dataclass(frozen=True, slots=True)
class Options:
    """What decides every byte of a shop, beside the versions of the libraries.

    Attributes:
        items: how many.
        noise: one of NOISES.
        seed: of everything.
        size: side of the photos in pixels.
        version: of the drawing, a key of DRAWINGS.
        held_out: how many categories have no training pairs.
        photos: how many of an item, at least and at most.
    """

    items: int
    noise: str
    seed: int
    size: int
    version: int
    held_out: int
    photos: tuple[int, int] = (1, 1)

    @property
    def drawing(self) -> Drawing:
        """What the version has in it."""
        return DRAWINGS[self.version]

    def check(self) -> None:
        """Raise ConfigError where a value breaks its rule."""
        if self.items < MIN_ITEMS:
            raise ConfigError(f"items is {self.items}, but a shop needs at least {MIN_ITEMS}.")
        if self.noise not in NOISES:
            raise ConfigError(
                f"noise {self.noise!r} is unknown; choose one of {', '.join(NOISES)}."
            )
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise ConfigError(
                f"size is {self.size}, but must lie in {MIN_SIZE}..{MAX_SIZE} pixels; 224 is usual."
            )
        if self.version not in DRAWINGS:
            raise ConfigError(
                f"drawing {self.version} is unknown; choose one of {', '.join(map(str, DRAWINGS))}."
            )
        if self.noise == "siblings" and not self.drawing.kin:
            raise ConfigError(
                f"noise {self.noise!r} is not in drawing {self.version}; choose drawing {LATEST}."
            )
        if not 0 <= self.held_out <= MAX_HELD_OUT:
            raise ConfigError(
                f"held_out is {self.held_out}, but must lie in 0..{MAX_HELD_OUT} of the "
                "20 categories; 4 is usual."
            )
        least, most = self.photos
        if not 1 <= least <= most <= MAX_PHOTOS:
            raise ConfigError(
                f"photos is {least}-{most}, but must be two numbers within 1..{MAX_PHOTOS}, the "
                "lower one first; 1-4 is usual."
            )

    def manifest(self) -> dict[str, Any]:
        """Return the options and the versions that decide the bytes."""
        photos = "{}-{}".format(*self.photos)
        rules = {"drawing": self.version, "held_out": self.held_out, "photos": photos}
        return {
            "generator": "tgqformer storefront",
            "version": __version__,
            "items": self.items,
            "noise": self.noise,
            "seed": self.seed,
            "size": self.size,
            **{name: value for name, value in rules.items() if value != _UNTOLD[name]},
            "libraries": {
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                "polars": pl.__version__,
            },
        }


def draw_storefront(
    out: str | Path,
    *,
    items: int = 5000,
    noise: str = "market",
    seed: int = 0,
    size: int = 224,
    version: int = LATEST,
    held_out: int = 0,
    photos: tuple[int, int] = (1, 1),
    workers: int | None = None,
    progress: bool = False,
) -> Catalog:
    """Draw a shop to a folder: items, photos, labels, sessions and pairs.

    Everything is drawn in a hidden folder beside `out`, which takes its name at the end; a run
    that was stopped goes on where it was. A shop of the same options that is already there is
    returned as it is.

    Args:
        out: the folder, absent or empty.
        items: how many products, at least 20.
        noise: "market" (a mixture as on a marketplace), or "clean", "overlay", "clutter", "heavy",
            "siblings" (as heavy, but all that stands around is of the product's own category) or
            "mislabelled" for every item. The same seed gives the same products, sessions and pairs
            under any noise.
        seed: the same seed gives the same bytes, for given versions of Pillow and polars.
        size: side of the photos in pixels.
        version: of the drawing; 2 has what real shops have, and 1 is the first one, for figures
            that were made with it: `tgqformer.storefront` tells both.
        held_out: how many of the 20 categories, up to 10, have no training pairs: all of their
            items are test items.
        photos: how many photos an item has, at least and at most. The first is the same whatever
            is asked for; the others are packshots, details, and scenes or overlays where the noise
            has such.
        workers: processes that draw; as many as there are cores where None.
        progress: show a bar on stderr.

    Returns:
        The catalog; its `labels` tell the regime, the hidden style and the boxes of each item.

    Raises:
        ConfigError: an option breaks its rule.
        StorageError: `out` holds something else, or cannot be written.
    """
    options = Options(items, noise, seed, size, version, held_out, photos)
    options.check()
    if workers is not None and workers < 1:
        raise ConfigError(
            f"workers is {workers}, but must be 1 or more; leave it out for all cores."
        )
    out = Path(out).absolute()
    manifest = options.manifest()
    if _holds(out, manifest):
        return Catalog.load(out)
    partial = _make_partial(out, manifest)
    try:
        digests = _draw(options, partial, workers or cores(), progress)
        manifest["digest"] = _digest_folder(partial, digests)
        shutil.rmtree(partial / "chunks")
        (partial / "plan.json").unlink()
        write_bytes(partial / "manifest.json", _json(manifest))
        partial.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder, and run the same command again to go on."
        ) from error
    except StorageError as error:
        told = str(error).removesuffix(".")
        raise StorageError(f"{told}, and run the same command again to go on.") from error
    return Catalog.load(out)


def _draw(options: Options, folder: Path, workers: int, progress: bool) -> dict[str, str]:
    """Write everything but the manifest; return the digest of every photo by its path."""
    drawing, held_out = options.drawing, hold_out(options.held_out, options.seed)
    products = make_products(options.items, options.seed, drawing)
    regimes = [draw_regime(options.noise, options.seed, p.number) for p in products]
    kinds = [
        draw_kinds(regime, options.noise, options.photos, options.seed, product.number)
        for product, regime in zip(products, regimes)
    ]
    jobs = [
        Job(
            number=product.number,
            item_id=product.item_id,
            look=product.look,
            kind=kind,
            brand=product.brand,
            version=options.version,
            place=place,
        )
        for product, own in zip(products, kinds)
        for place, kind in enumerate(own)
    ]
    chunks = draw_photos(jobs, folder, size=options.size, seed=options.seed, workers=workers)
    total = -(-len(jobs) // CHUNK)
    records: dict[str, dict[str, Any]] = {}
    for chunk in track(chunks, total=total, text="drawing photos", show=progress):
        records.update((record["file"], record) for record in chunk)
    sessions = shop_sessions(products, options.seed, drawing)
    write_table(sessions, folder / "sessions.parquet")
    split = split_products(products, held_out, options.seed)
    described = [_describe(p, r, options.seed) for p, r in zip(products, regimes)]
    catalog = Catalog(
        [
            _item(product, metadata, folder, len(own))
            for product, own, (metadata, _) in zip(products, kinds, described)
        ],
        split_pairs(sessions_to_pairs(sessions), split),
        _labels(
            products,
            regimes,
            [faults for _, faults in described],
            {r["item_id"]: r for name, r in records.items() if name == photo_name(r["item_id"])},
            split,
            held_out=held_out,
            drawing=drawing,
            kinds=None if options.photos == (1, 1) else kinds,
        ),
    )
    catalog.save(folder)
    return {f"images/{name}": record["sha256"] for name, record in records.items()}


def _describe(product: Product, regime: Regime, seed: int) -> tuple[Metadata, list[str]]:
    """Return what the seller writes, and the names of its faults."""
    if not regime.spoiled:
        return product.metadata, []
    rng = stream(seed, "faults", product.number)
    return spoil_metadata(product.metadata, product.category, product.cell.tier, rng)


def _item(product: Product, metadata: Metadata, folder: Path, photos: int) -> Item:
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


def _labels(
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


def _holds(out: Path, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the shop is there already; raise StorageError where something else is."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = _read_json(out / "manifest.json")
    found.pop("digest", None)
    if found == manifest:
        return True
    what = "something else"
    if found.get("generator") == manifest["generator"]:
        there, wanted = _UNTOLD | found, _UNTOLD | dict(manifest)
        changed = [
            f"{k} {v!r}, not {wanted.get(k)!r}" for k, v in there.items() if v != wanted.get(k)
        ]
        what = f"another shop ({'; '.join(changed)})"
    raise StorageError(f"{out} holds {what}; remove it or choose another folder.")


def _make_partial(out: Path, manifest: Mapping[str, Any]) -> Path:
    """Return the hidden folder beside `out`, kept if it was begun with the same options."""
    partial = out.with_name(f".{out.name}.partial")
    if partial.exists() and _read_json(partial / "plan.json") != manifest:
        shutil.rmtree(partial)
    write_bytes(partial / "plan.json", _json(manifest))
    return partial


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _digest_folder(folder: Path, photos: Mapping[str, str]) -> str:
    """Return the SHA-256 of the lines "path sha256" of all photos and tables, sorted."""
    digests = dict(photos)
    for path in folder.glob("*.parquet"):
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()

"""The one call that draws a shop to a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import polars as pl
from PIL import Image, ImageDraw

from tgqformer import __version__
from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.files import write_table
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.progress import track
from tgqformer.cores import cores
from tgqformer.corruption.canvas import font
from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import atomic_path, write_bytes
from tgqformer.storefront.listing import describe_product, make_item, make_labels
from tgqformer.storefront.pairs import hold_out, sessions_to_pairs, split_pairs, split_products
from tgqformer.storefront.photo import CHUNK, Job, draw_photos, photo_name
from tgqformer.storefront.regimes import (
    DRAWINGS,
    LATEST,
    NOISES,
    REGIMES,
    Drawing,
    draw_kinds,
    draw_regime,
)
from tgqformer.storefront.shop import make_products
from tgqformer.storefront.shoppers import shop_sessions

MIN_ITEMS = 20
MIN_SIZE, MAX_SIZE = 32, 2048
MAX_HELD_OUT = 10
MAX_PHOTOS = 12
_UNTOLD = {
    "drawing": 1,
    "held_out": 0,
    "photos": "1-1",
}  # what a manifest that does not say so means


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
    described = [describe_product(p, r, options.seed) for p, r in zip(products, regimes)]
    catalog = Catalog(
        [
            make_item(product, metadata, folder, len(own))
            for product, own, (metadata, _) in zip(products, kinds, described)
        ],
        split_pairs(sessions_to_pairs(sessions), split),
        make_labels(
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


# -- sheet -----------------------------------------------------------------------------------------
# A contact sheet of a catalog's photos, a labelled row for each noise regime.


def contact_sheet(
    catalog: Catalog, out_png: str | Path, rows: int = 1, cols: int = 8, *, tile: int = 128
) -> None:
    """Write a PNG of the catalog's first photos.

    Args:
        catalog: any; where its labels have a column `noise`, each regime gets rows of its own.
        out_png: the file, written atomically.
        rows: rows for each regime.
        cols: photos in a row.
        tile: side of a photo on the sheet in pixels.

    Raises:
        ImageError: a photo cannot be read.
        StorageError: the file cannot be written.
    """
    shown = _rows(catalog, rows, cols)
    margin, caption = 96, 15
    size = (margin + cols * (tile + 4), len(shown) * (tile + caption + 4) + 4)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, positions) in enumerate(shown):
        y = 4 + row * (tile + caption + 4)
        draw.text((6, y + tile // 2 - 8), name, fill="black", font=font(14))
        for column, position in enumerate(positions):
            item = catalog[position]
            x = margin + column * (tile + 4)
            photo = decode_image(item.images[0]).resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(photo, (x, y))
            draw.rectangle((x - 1, y - 1, x + tile, y + tile), outline=(225, 225, 225))
            draw.text((x, y + tile + 2), _fit(item.title or "-", tile), (90, 90, 90), font(9))
    out = Path(out_png)
    with atomic_path(out) as temporary:
        sheet.quantize(256, Image.Quantize.MEDIANCUT).save(temporary, "PNG", optimize=True)


def _rows(catalog: Catalog, rows: int, cols: int) -> list[tuple[str, list[int]]]:
    with_photo = [i for i, item in enumerate(catalog.items) if item.images]
    if catalog.labels is None or "noise" not in catalog.labels.columns:
        groups = {"": with_photo}
    else:
        noise = catalog.labels["noise"].cast(pl.String).to_list()
        names = [*REGIMES, *sorted({n for n in noise if n is not None} - set(REGIMES))]
        groups = {name: [i for i in with_photo if noise[i] == name] for name in names}
    return [
        (name if row == 0 else "", group[row * cols : (row + 1) * cols])
        for name, group in groups.items()
        for row in range(min(rows, -(-len(group) // cols)))
    ]


def _fit(text: str, width: int) -> str:
    while len(text) > 1 and font(9).getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    return text

"""The same corrupted photos for every method, made once and kept on disk: of queries, of a catalog.

As sellers do, each photo gets a few kinds of its own: two overlays, or two kinds of clutter, or
both together. One item has the same kinds at every severity, only stronger. They come from those
that training may use ("seen") or from those that it never does ("unseen"). The files stay, so that
the token cache, which knows photos by their bytes, has each of them encoded once for all methods.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import ImageRef, Item
from tgqformer.catalog.progress import track
from tgqformer.catalog.writing import check_target, save_copy
from tgqformer.corruption import CLUTTER, OVERLAYS, UNSEEN_CLUTTER, UNSEEN_OVERLAYS
from tgqformer.errors import ConfigError, ImageError
from tgqformer.evaluation.robustness import corrupt_item
from tgqformer.files import write_bytes

Family: TypeAlias = Literal["seen", "unseen"]
FAMILIES = {"seen": (CLUTTER, OVERLAYS), "unseen": (UNSEEN_CLUTTER, UNSEEN_OVERLAYS)}
KINDS = ("overlays", "clutter", "overlays+clutter")
SEVERITIES = (0.25, 0.5, 0.75, 1.0)
SEED = 3
MARK = "corrupted.json"
"""In a corrupted copy: by which corruption it was made; of the family "seen" where it says none."""


def draw_queries(catalog: Catalog, most: int, split: str = "test") -> Catalog:
    """The catalog with at most so many queries of a split, drawn once for all.

    The pairs of other splits stay: `evaluate` masks a query's known partners by them.
    """
    query = np.unique(catalog.pair_indices(split)[0])
    chosen: Indices = np.random.default_rng(SEED).permutation(query)[:most]
    kept = (pl.col("split") != split) | pl.col("query").is_in(np.sort(chosen).tolist())
    return catalog.with_pairs(catalog.pair_table.filter(kept))


def corrupted_items(
    items: Sequence[Item],
    kind: str,
    severity: float,
    folder: Path,
    *,
    max_images: int = 1,
    family: Family = "seen",
) -> list[Item]:
    """The items with corrupted photos, as files below `folder`; drawn where they are not there.

    Args:
        kind: one of KINDS.
        severity: above 0, to 1.
        max_images: photos of each item that a model looks at; the others are left out.
        family: whether the kinds are those that training may use; each has its own folder.

    Raises:
        StorageError: the disk refuses.
    """
    below = folder if family == "seen" else folder / family
    place = below / kind / f"{severity:g}"
    return [_item(item, _kinds(item, kind, family), severity, place, max_images) for item in items]


def corrupt_catalog(
    catalog: Catalog,
    folder: Path,
    kind: str,
    severity: float,
    *,
    family: Family = "seen",
    progress: bool = False,
) -> Catalog:
    """A copy of the catalog in `folder`, with every photo corrupted, all else the same.

    A second call goes on where the first was stopped: photos that are there are not drawn again.

    Raises:
        CatalogError: the catalog has no items.
        ConfigError: `folder` is the catalog's own or holds another one, the kind or the family is
            unknown or the severity no share.
        StorageError: the disk refuses.
    """
    catalog.require_items()
    check_target(catalog, folder, MARK)  # before photos are drawn into it
    if kind not in KINDS:
        raise ConfigError(f"kind '{kind}' is unknown; choose one of {', '.join(KINDS)}.")
    if family not in FAMILIES:
        raise ConfigError(f"family '{family}' is unknown; choose one of {', '.join(FAMILIES)}.")
    if not 0 < severity <= 1:
        raise ConfigError(f"severity ({severity}) must lie above 0 and be at most 1.")
    photos = folder / "images"
    items = [
        corrupted_items([item], kind, severity, photos, max_images=len(item.images), family=family)[
            0
        ]
        for item in track(catalog.items, total=len(catalog), text="Drawing", show=progress)
    ]
    mark = {"kind": kind, "severity": severity}
    told = json.dumps(mark if family == "seen" else {**mark, "family": family})
    return save_copy(catalog, items, folder, MARK, f"{told}\n")


def _item(item: Item, kinds: Sequence[str], severity: float, folder: Path, most: int) -> Item:
    seen = replace(item, images=item.images[:most])
    name = sha256(item.item_id.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    paths = [folder / f"{name}-{n}-{_key(photo)}.png" for n, photo in enumerate(seen.images)]
    if not all(path.is_file() for path in paths):
        drawn = corrupt_item(seen, kinds, severity, SEED)
        for path, photo in zip(paths, drawn.images, strict=True):
            # a photo that cannot be read stays what it was: no bytes were drawn
            if isinstance(photo, bytes):
                write_bytes(path, photo, sync=False)
    photos: list[ImageRef] = [
        path if path.is_file() else own for path, own in zip(paths, seen.images, strict=True)
    ]
    return replace(seen, images=tuple(photos))


def _key(photo: ImageRef) -> str:
    """Of the photo's bytes: items of another shop may have the same ids. "" if it is unreadable."""
    try:
        return image_key(photo)[:24]
    except ImageError:
        return ""


def _kinds(item: Item, kind: str, family: Family) -> list[str]:
    """The item's own kinds: clutter first, as it is there before anyone lays anything over it."""
    stream = zlib.crc32(item.item_id.encode("utf-8", "surrogatepass"))
    rng = np.random.default_rng([SEED, stream])
    clutter, overlays = (rng.permutation(list(known))[:2].tolist() for known in FAMILIES[family])
    return (clutter if "clutter" in kind else []) + (overlays if "overlays" in kind else [])

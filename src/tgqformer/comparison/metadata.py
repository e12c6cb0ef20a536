"""Other metadata than an item's own, for the connector alone or for the backbone too.

Where a connector that is guided by wrong or poorer metadata finds as much as before, the guidance
does not guide.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import ImageRef, Item
from tgqformer.catalog.progress import track
from tgqformer.catalog.text import TEXT_FIELDS, item_text
from tgqformer.catalog.writing import check_target, save_copy
from tgqformer.corruption import CLUTTER, OVERLAYS, UNSEEN_CLUTTER, UNSEEN_OVERLAYS
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import ConfigError, ImageError
from tgqformer.evaluation.robustness import corrupt_item
from tgqformer.files import write_bytes

SEED = 5


@dataclass(frozen=True)
class Metadata:
    """What takes the place of the items' own metadata.

    Attributes:
        label: as tables show it.
        fields: of which the text is made; none of them is no metadata at all.
        shuffle: each item that has a text is given another one's.
        backbone: the backbone reads it too, not only the connector.
        note: one sentence.
    """

    label: str
    fields: tuple[str, ...] = TEXT_FIELDS
    shuffle: bool = False
    backbone: bool = False
    note: str = ""

    def texts(self, items: Sequence[Item]) -> dict[str, str]:
        """Item id to text; the same for the same items in the same order."""
        told = {item.item_id: item_text(item, fields=self.fields) for item in items}
        if self.shuffle:
            known = [item_id for item_id, text in told.items() if text]
            order = np.random.default_rng(SEED).permutation(len(known))
            moved = {known[i]: told[known[j]] for i, j in zip(order, np.roll(order, 1))}
            told |= moved
        return told


class OtherMetadata(ItemEmbedder):
    """An embedder that reads `given` texts; an item whose metadata is hidden stays without.

    Attributes:
        given: item id to text; items that are not in it keep their own.
        backbone: the backbone reads them too.
    """

    def __init__(self, embedder: ItemEmbedder, given: dict[str, str], *, backbone: bool) -> None:
        """The model of `embedder`, shared with it; `given` is encoded at once."""
        super().__init__(embedder.config, embedder.features, embedder.model)
        self.given, self.backbone, self.facts = given, backbone, embedder.facts
        self.features.fill([], texts=sorted(set(given.values())))

    def connector_text(self, item: Item, text: str) -> str:
        """The item's given text; "" where its metadata is hidden."""
        return self.given.get(item.item_id, text) if text else ""

    def batch(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        prompt_texts: Sequence[str] | None = None,
    ) -> ItemBatch:
        """As `ItemEmbedder.batch`; the backbone too reads the given texts, if it is to."""
        texts = [self.text(item) for item in items] if texts is None else texts
        prompts = texts if prompt_texts is None else prompt_texts
        if self.backbone:
            prompts = [self.connector_text(i, text) for i, text in zip(items, prompts, strict=True)]
        return super().batch(items, texts=texts, prompt_texts=prompts)


def builder(metadata: Metadata | None, items: Sequence[Item]) -> Callable[..., ItemEmbedder]:
    """`ItemEmbedder.from_config`, or one that reads other metadata."""
    if metadata is None:
        return ItemEmbedder.from_config
    return partial(_build, metadata, items)


def _build(metadata: Metadata, items: Sequence[Item], *args: Any, **options: Any) -> ItemEmbedder:
    embedder = ItemEmbedder.from_config(*args, **options)
    return with_metadata(embedder, metadata, items)


def with_metadata(
    embedder: ItemEmbedder, metadata: Metadata | None, items: Sequence[Item]
) -> ItemEmbedder:
    """`embedder` reading the `metadata` of `items`; itself where there is none."""
    if metadata is None:
        return embedder
    return OtherMetadata(embedder, metadata.texts(items), backbone=metadata.backbone)


# -- corrupted -------------------------------------------------------------------------------------
# The same corrupted photos for every method, made once and kept on disk: of queries, of a catalog.
#
# As sellers do, each photo gets a few kinds of its own: two overlays, or two kinds of clutter, or
# both together. One item has the same kinds at every severity, only stronger. They come from those
# that training may use ("seen") or from those that it never does ("unseen"). The files stay, so
# that the token cache, which knows photos by their bytes, has each of them encoded once for all
# methods.

Family: TypeAlias = Literal["seen", "unseen"]
FAMILIES = {"seen": (CLUTTER, OVERLAYS), "unseen": (UNSEEN_CLUTTER, UNSEEN_OVERLAYS)}
KINDS = ("overlays", "clutter", "overlays+clutter")
SEVERITIES = (0.25, 0.5, 0.75, 1.0)
PHOTO_SEED = 3
MARK = "corrupted.json"
"""In a corrupted copy: by which corruption it was made; of the family "seen" where it says none."""


def draw_queries(catalog: Catalog, most: int, split: str = "test") -> Catalog:
    """The catalog with at most so many queries of a split, drawn once for all.

    The pairs of other splits stay: `evaluate` masks a query's known partners by them.
    """
    query = np.unique(catalog.pair_indices(split)[0])
    chosen: Indices = np.random.default_rng(PHOTO_SEED).permutation(query)[:most]
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
        drawn = corrupt_item(seen, kinds, severity, PHOTO_SEED)
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
    rng = np.random.default_rng([PHOTO_SEED, stream])
    clutter, overlays = (rng.permutation(list(known))[:2].tolist() for known in FAMILIES[family])
    return (clutter if "clutter" in kind else []) + (overlays if "overlays" in kind else [])

"""Corrupted photos, the same for every model: of one item, of queries, of a catalog; and a curve.

As sellers do, each photo gets a few kinds of its own: two overlays, or two kinds of clutter, or
both together. One item has the same kinds at every severity, only stronger. They come from those
that training may use ("seen") or from those that it never does ("unseen"). The files of
`corrupted_items` and `corrupt_catalog` stay, so that the token cache, which knows photos by their
bytes, has each of them encoded once for all methods.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from PIL import Image

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.images import decode_image, image_key
from tgqformer.catalog.items import Embedder, ImageRef, Item
from tgqformer.catalog.writing import check_target, save_copy
from tgqformer.corruption import CLUTTER, OVERLAYS, UNSEEN_CLUTTER, UNSEEN_OVERLAYS, corrupt
from tgqformer.errors import ConfigError, ImageError
from tgqformer.evaluation.evaluate import KS, evaluate
from tgqformer.evaluation.result import Evaluation
from tgqformer.files import write_bytes
from tgqformer.progress import track
from tgqformer.retrieval.scores import Vectors, as_vectors

Family: TypeAlias = Literal["seen", "unseen"]
Where: TypeAlias = Literal["queries", "all"]
FAMILIES = {"seen": (CLUTTER, OVERLAYS), "unseen": (UNSEEN_CLUTTER, UNSEEN_OVERLAYS)}
KINDS = ("overlays", "clutter", "overlays+clutter")
SEVERITIES = (0.25, 0.5, 0.75, 1.0)
MARK = "corrupted.json"
"""In a corrupted copy: by which corruption it was made; of the family "seen" where it says none."""
_SEED = 3


def corrupt_item(item: Item, kinds: Sequence[str], severity: float, seed: int = 0) -> Item:
    """The item with all its photos corrupted, as PNG bytes; photos that cannot be read stay."""
    photos: list[ImageRef] = []
    for number, photo in enumerate(item.images):
        try:
            image = decode_image(photo)
        except ImageError:
            photos.append(photo)
            continue
        # The stream hangs on the item, not on its place, so that any part of a catalog agrees.
        stream = zlib.crc32(item.item_id.encode("utf-8", "surrogatepass"))
        rng = np.random.default_rng([seed, stream, number])
        buffer = io.BytesIO()
        corrupt(image, kinds, severity, rng).save(buffer, "PNG", compress_level=1)
        photos.append(buffer.getvalue())
    return replace(item, images=tuple(photos))


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


def _item(item: Item, kinds: Sequence[str], severity: float, folder: Path, most: int) -> Item:
    seen = replace(item, images=item.images[:most])
    name = sha256(item.item_id.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    paths = [folder / f"{name}-{n}-{_key(photo)}.png" for n, photo in enumerate(seen.images)]
    if not all(path.is_file() for path in paths):
        drawn = corrupt_item(seen, kinds, severity, _SEED)
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
    rng = np.random.default_rng([_SEED, stream])
    clutter, overlays = (rng.permutation(list(known))[:2].tolist() for known in FAMILIES[family])
    return (clutter if "clutter" in kind else []) + (overlays if "overlays" in kind else [])


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
    items: list[Item] = []
    for item in track(catalog.items, total=len(catalog), text="Drawing", show=progress):
        most = len(item.images)
        items += corrupted_items([item], kind, severity, photos, max_images=most, family=family)
    mark = {"kind": kind, "severity": severity}
    told = json.dumps(mark if family == "seen" else {**mark, "family": family})
    return save_copy(catalog, items, folder, MARK, f"{told}\n")


def draw_queries(catalog: Catalog, most: int, split: str = "test") -> Catalog:
    """The catalog with at most so many queries of a split, drawn once for all.

    The pairs of other splits stay: `evaluate` masks a query's known partners by them.
    """
    query = np.unique(catalog.pair_indices(split)[0])
    chosen: Indices = np.random.default_rng(_SEED).permutation(query)[:most]
    kept = (pl.col("split") != split) | pl.col("query").is_in(np.sort(chosen).tolist())
    return catalog.with_pairs(catalog.pair_table.filter(kept))


@dataclass(frozen=True)
class RobustnessPoint:
    """One severity of one kind.

    Attributes:
        kind: the corruptions that were applied, joined by "+".
        severity: 0 (untouched) to 1.
        evaluation: what the model still finds.
    """

    kind: str
    severity: float
    evaluation: Evaluation

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "metrics": {name: i.to_dict() for name, i in self.evaluation.metrics.items()},
        }


def robustness_curve(
    embedder: Embedder,
    catalog: Catalog,
    *,
    kinds: Sequence[str | Sequence[str]],
    severities: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    where: Where = "queries",
    split: str = "test",
    ks: Sequence[int] = KS,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> list[RobustnessPoint]:
    """Evaluate `embedder` on corrupted photos, kind by kind, severity by severity.

    The corrupted photos reach the embedder as the images of ordinary items, losslessly encoded, so
    any embedder can be asked. One seed gives each item the same corruption for every model and,
    only stronger, at every severity, so points can be compared query by query.

    Args:
        kinds: names of `corruption.CORRUPTIONS`, each one or a sequence applied in that order.
        where: corrupt the photos of the "queries" alone, which then search a clean pool, or of
            "all" items.

    Raises:
        ConfigError: an unknown kind, a severity outside 0..1, or an unknown `where`.
        CatalogError: the split has no pair that can be ranked.
    """
    if where not in ("queries", "all"):
        raise ConfigError(f"where is {where!r}, but must be 'queries' or 'all'.")
    chains = [(kind,) if isinstance(kind, str) else tuple(kind) for kind in kinds]
    _check(chains, severities)
    queries = np.unique(catalog.pair_indices(split)[0])
    everything = np.union1d(catalog.pool_indices(split), queries)
    clean = _encode(embedder, [catalog.items[row] for row in everything], progress=progress)
    found = np.zeros((len(catalog.items), clean.shape[1]), dtype=np.float32)
    found[everything] = clean
    changed = queries if where == "queries" else everything
    points = []
    for names in chains:
        for severity in severities:
            asking = found.copy()
            if severity != 0:
                items = [corrupt_item(catalog.items[r], names, severity, seed) for r in changed]
                asking[changed] = _encode(embedder, items, progress=progress)
            evaluation = evaluate(
                found if where == "queries" else asking,
                catalog,
                split=split,
                name=str(getattr(embedder, "name", "model")),
                query_vectors=asking,
                ks=ks,
                bootstrap=bootstrap,
                seed=seed,
            )
            points.append(RobustnessPoint("+".join(names), float(severity), evaluation))
    return points


def _check(chains: Sequence[Sequence[str]], severities: Sequence[float]) -> None:
    """Let a wrong name or severity be told before an hour of encoding, not after."""
    for names in chains:
        for severity in severities:
            corrupt(Image.new("RGB", (16, 16)), names, severity, np.random.default_rng(0))


def _encode(embedder: Embedder, items: Sequence[Item], *, progress: bool) -> Vectors:
    return as_vectors(embedder.encode(items, progress=progress), "the embedder's output")

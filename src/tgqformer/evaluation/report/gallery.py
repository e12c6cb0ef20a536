"""Queries with the neighbours a model finds for them, as thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item
from tgqformer.errors import ImageError
from tgqformer.evaluation.breakdown import describe_queries
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import as_vectors

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

THUMBNAIL = 192
"""Longest side of a thumbnail, in pixels: twice its size on the page, for sharp screens."""


@dataclass(frozen=True)
class GalleryCell:
    """One item.

    Attributes:
        image: a JPEG, or None where there is no photo that can be read.
        title: "" where unknown.
        subtitle: its category, say.
        score: of a neighbour; None for a query.
        right: whether a neighbour is a target of the query; None for a query.
    """

    image: bytes | None
    title: str
    subtitle: str = ""
    score: float | None = None
    right: bool | None = None

    @property
    def source(self) -> str | None:
        """The image as a data URI."""
        if self.image is None:
            return None
        return "data:image/jpeg;base64," + base64.b64encode(self.image).decode("ascii")


@dataclass(frozen=True)
class GalleryRow:
    """A query, its neighbours, best first, and a note such as its noise regime."""

    query: GalleryCell
    neighbours: tuple[GalleryCell, ...]
    note: str = ""


def gallery_rows(
    catalog: Catalog,
    vectors: npt.NDArray[Any],
    *,
    split: str = "test",
    count: int = 12,
    k: int = 5,
    seed: int = 0,
) -> list[GalleryRow]:
    """Draw `count` queries of `split` at random and look up their `k` neighbours in its pool.

    Args:
        vectors: [N, D] in the order of `catalog.items`.

    Queries are drawn, not chosen: a gallery of the best rows would say nothing. Those with a photo
    come first, since a gallery is there to be looked at.
    """
    stored = as_vectors(vectors)
    query, target, _ = catalog.pair_indices(split)
    pool = catalog.pool_indices(split)
    wanted = np.unique(query[np.isin(target, pool)])
    shuffled = np.random.default_rng(seed).permutation(wanted)
    drawn = sorted(shuffled.tolist(), key=lambda row: not catalog.items[row].images)[:count]
    if not drawn:
        return []
    place = {int(row): position for position, row in enumerate(pool)}
    index = ExactIndex([catalog.items[row].item_id for row in pool], stored[pool])
    scores, rows = index.search(stored[drawn], k, exclude=[place.get(row, -1) for row in drawn])
    notes = noise_notes([catalog.items[row] for row in drawn], catalog)
    gallery = []
    for row, found, values, note in zip(drawn, rows, scores, notes):
        right = set(target[query == row].tolist())
        neighbours = [
            gallery_cell(catalog.items[pool[r]], score=float(s), right=int(pool[r]) in right)
            for r, s in zip(found, values)
            if r >= 0
        ]
        gallery.append(GalleryRow(gallery_cell(catalog.items[row]), tuple(neighbours), note))
    return gallery


def thumbnail(item: Item) -> bytes | None:
    """The item's first readable photo as a small JPEG; None where there is none."""
    from tgqformer.catalog.images import decode_image

    for photo in item.images:
        try:
            image = decode_image(photo, size_hint=THUMBNAIL)
        except ImageError:
            continue
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=82, optimize=True)
        return buffer.getvalue()
    return None


def gallery_cell(
    item: Item, *, score: float | None = None, right: bool | None = None
) -> GalleryCell:
    """`item` as it is shown: first readable photo, title, category."""
    return GalleryCell(thumbnail(item), item.title, item.category, score, right)


def noise_notes(items: Sequence[Item], catalog: Catalog) -> list[str]:
    """The noise regime of each item, "" where the catalog's labels tell none."""
    described = describe_queries(items, catalog.labels)
    if "noise" not in described.columns:
        return [""] * len(items)
    return described["noise"].to_list()

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
from tgqformer.evaluation.evaluate import known_partners
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import Vectors, as_vectors

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
    answers = nearest(catalog, stored, drawn, split=split, k=k)
    notes = noise_notes([catalog.items[row] for row in drawn], catalog)
    gallery = []
    for row, found, note in zip(drawn, answers, notes):
        right = set(target[query == row].tolist())
        neighbours = [
            gallery_cell(catalog.items[other], score=score, right=other in right)
            for other, score in found
        ]
        gallery.append(GalleryRow(gallery_cell(catalog.items[row]), tuple(neighbours), note))
    return gallery


def nearest(
    catalog: Catalog, vectors: Vectors, rows: Sequence[int], *, split: str, k: int
) -> list[list[tuple[int, float]]]:
    """The `k` items of a split's pool that score highest with each of `rows`, and their scores.

    What `evaluate` ranks by: the query itself and its known partners of earlier splits are left
    out. `vectors` [N, D], `rows` and the answers are in the order of `catalog.items`.
    """
    pool = catalog.pool_indices(split)
    place = {int(row): position for position, row in enumerate(pool)}
    asking = np.unique(np.asarray(rows, dtype=np.int64))
    which, partner = known_partners(catalog, split, asking)
    most = int(np.bincount(which).max(initial=0))
    index = ExactIndex([catalog.items[row].item_id for row in pool], vectors[pool])
    exclude = [place.get(row, -1) for row in rows]
    scores, found = index.search(vectors[rows], k + most, exclude=exclude)
    answers = []
    for row, values, places in zip(rows, scores, found):
        known = set(partner[asking[which] == row].tolist())
        told = ((int(pool[p]), float(value)) for p, value in zip(places, values) if p >= 0)
        answers.append([one for one in told if one[0] not in known][:k])
    return answers


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

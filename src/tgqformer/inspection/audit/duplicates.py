"""Photos that stand twice: the same bytes, and nearly the same picture.

Frozen vectors alone do not tell a copy from a photo of a similar thing: saved again, a photo of the
storefront keeps a cosine of 0.95 with itself (median), and one photo in ten has that much with a
photo of another product. So they only propose, and a small picture decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.catalog.photo_groups import photo_groups
from tgqformer.catalog.progress import track
from tgqformer.inspection.explain import photo_of

PROPOSED = 5
"""Nearest photos of each photo that are looked at."""

LEAST_COSINE = 0.85
"""Of two frozen vectors; below it nothing is a copy."""

KEPT = 16_384
"""Small pictures kept at a time: 110 MB."""

SIDE = 24
"""Of the small picture, in pixels: enough to tell stripes from dots, and 7 kB."""


@dataclass(frozen=True)
class NearPair:
    """Two items whose photos are nearly the same, and how alike, as a correlation or a cosine."""

    first: int
    second: int
    score: float


def same_photos(items: Sequence[Item], *, progress: bool = False) -> list[list[int]]:
    """Groups of items joined by byte-identical photos, the largest first."""
    groups = photo_groups(items, placeholder_after=max(1, len(items)), progress=progress)
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(items) else []
    found = [part.tolist() for part in parts if len(part) > 1]
    return sorted(found, key=lambda group: (-len(group), group[0]))


def near_pairs(
    items: Sequence[Item],
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    same: Sequence[Sequence[int]],
    *,
    least: float,
    progress: bool = False,
) -> list[NearPair]:
    """Pairs of items whose photos are nearly the same picture, the most alike first.

    Args:
        scores, rows: [N, K] of the nearest photos, see `neighbours.photo_neighbours`.
        same: groups of byte-identical photos, which are no news here.
        least: correlation of the small pictures from which on they count as the same.
    """
    pairs = proposed(scores[:, :PROPOSED], rows[:, :PROPOSED], same)
    picture = lru_cache(maxsize=KEPT)(lambda row: small_picture(items[row]))
    found = []
    for one in track(pairs, total=len(pairs), text="near copies", show=progress):
        score = float(picture(one.first) @ picture(one.second))
        if score >= least:
            found.append(NearPair(one.first, one.second, score))
    return sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second))


def proposed(
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    same: Sequence[Sequence[int]],
) -> list[NearPair]:
    """Neighbours with near vectors, each pair once; those of the same bytes left out."""
    group = np.arange(len(rows))
    for members in same:
        group[list(members)] = members[0]
    query, place = np.nonzero((scores >= LEAST_COSINE) & (rows >= 0))
    other, score = rows[query, place], scores[query, place]
    apart = group[query] != group[other]
    first, second = np.minimum(query, other)[apart], np.maximum(query, other)[apart]
    pairs = {(int(a), int(b)): float(s) for a, b, s in zip(first, second, score[apart])}
    return [NearPair(a, b, s) for (a, b), s in sorted(pairs.items())]


def small_picture(item: Item) -> npt.NDArray[np.float32]:
    """The first readable photo at SIDE x SIDE, brightness and contrast taken out: unit [SIDE^2 3].

    All zero where there is none, or where it shows one even colour.
    """
    photo = photo_of(item, size_hint=SIDE)
    if photo is None:
        return np.zeros(SIDE * SIDE * 3, dtype=np.float32)
    small = photo.resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / np.float32(length) if length > 1 else np.zeros_like(values)

"""Which photos speak against their metadata: two witnesses, and how they are heard together.

The neighbours: where most of the photos that look like an item's stand in one other category, its
own is doubtful. The model: whether the photo agrees better with the words of that other category
than with those of its own. The plain agreement of photo and metadata is told beside them; it ranks
worse, because it is low for cluttered photos too (docs/audit.md has the figures).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.catalog.photos import photo_groups
from tgqformer.catalog.progress import track
from tgqformer.inspection.audit.metadata import Votes
from tgqformer.inspection.explain import photo_of

LIKELY = 0.5
"""From this share of the neighbours on, more in one other category than in the own, and where the
model agrees with them, the photo is said to speak against the category."""

DOUBT = -0.5
"""The model is asked about the items whose neighbours' verdict is above this."""

MARGIN_WEIGHT = 2.0
"""A difference of two cosines counts as much as twice so large a share of the neighbours."""

DEVIATION_WEIGHT = 0.1
"""Where no neighbour can be asked: of a robust standard deviation of the agreement."""


LEAST_SPREAD = 0.01
"""Of a category's agreement, a cosine: where all agree alike, a hair's breadth is no deviation."""


@dataclass(frozen=True)
class Disagreement:
    """An item whose photo speaks against its metadata.

    Attributes:
        position: in the catalog.
        score: how strongly; items are ranked by it.
        agreement: cosine of photo and metadata, None where the model tells none.
        deviation: of the agreement from the median of the item's category, in robust standard
            deviations; None likewise.
        margin: how much better the photo agrees with the other category's words than with those
            of its own, a difference of cosines; None where the model was not asked.
        own: share of the nearest photos in the item's own category, None where none can be asked.
        other: the category that most of the rest stand in, "" where there is none.
        other_share: their share.
    """

    position: int
    score: float
    agreement: float | None
    deviation: float | None
    margin: float | None
    own: float | None
    other: str
    other_share: float | None

    @property
    def likely(self) -> bool:
        """Whether the neighbours make the category doubtful, and the model does not object."""
        if self.own is None or self.other_share is None:
            return False
        return self.other_share - self.own >= LIKELY and (self.margin or 0.0) >= 0


def disagreements(
    votes: Votes,
    agreement: npt.NDArray[np.float64],
    margin: npt.NDArray[np.float64],
    categories: Sequence[str],
) -> list[Disagreement]:
    """Rank all items that have something to compare, the worst first.

    Args:
        agreement: [N] of photo and metadata, NaN where unknown.
        margin: [N] see `Disagreement`, NaN where unknown.
    """
    deviation = within_category(agreement, categories)
    scores = combined(votes, margin, deviation)
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    return [
        Disagreement(
            position=int(row),
            score=float(scores[row]),
            agreement=_known(agreement[row]),
            deviation=_known(deviation[row]),
            margin=_known(margin[row]),
            own=_known(votes.own[row]),
            other=votes.category[row],
            other_share=_known(votes.best[row]),
        )
        for row in order
        if np.isfinite(scores[row])
    ]


def doubtful(votes: Votes) -> npt.NDArray[np.int64]:
    """The items about whose category the model is asked."""
    with np.errstate(invalid="ignore"):
        asked = (votes.best - votes.own > DOUBT) & (votes.best > 0)
    return np.flatnonzero(asked).astype(np.int64)


def combined(
    votes: Votes, margin: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[N] the verdicts in one number; NaN where there is none."""
    verdict = votes.best - votes.own
    heard = verdict + MARGIN_WEIGHT * np.nan_to_num(margin)
    return np.where(np.isnan(verdict), -DEVIATION_WEIGHT * deviation - 1, heard)


def within_category(
    agreement: npt.NDArray[np.float64], categories: Sequence[str]
) -> npt.NDArray[np.float64]:
    """[N] agreement less the median of its category, in robust standard deviations.

    A category of fewer than five items is measured against the whole catalog.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(~np.isnan(agreement)):
        groups[categories[int(row)]].append(int(row))
    small = [row for rows in groups.values() if len(rows) < 5 for row in rows]
    everything = np.flatnonzero(~np.isnan(agreement))
    parts = [(rows, rows) for rows in groups.values() if len(rows) >= 5]
    deviation = np.full(len(agreement), np.nan)
    for rows, among in [*parts, (small, everything.tolist())]:
        if rows:
            middle = np.median(agreement[among])
            spread = 1.4826 * np.median(np.abs(agreement[among] - middle))
            deviation[rows] = (agreement[rows] - middle) / max(float(spread), LEAST_SPREAD)
    return deviation


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


# -- duplicates ------------------------------------------------------------------------------------
# Photos that stand twice: the same bytes, and nearly the same picture.
#
# Frozen vectors alone do not tell a copy from a photo of a similar thing: saved again, a photo of
# the storefront keeps a cosine of 0.95 with itself (median), and one photo in ten has that much
# with a photo of another product. So they only propose, and a small picture decides.

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

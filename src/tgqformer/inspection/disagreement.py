"""Which photos speak against their metadata: two witnesses, and how they are heard together.

The neighbours: where most of the photos that look like an item's stand in one other category, its
own is doubtful. The model: whether the photo agrees better with the words of that other category
than with those of its own. The plain agreement of photo and metadata is told beside them; it ranks
worse, because it is low for cluttered photos too (docs/audit.md has the figures).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from tgqformer.catalog.items import Item
from tgqformer.config import whole_number
from tgqformer.progress import track
from tgqformer.retrieval.neighbours import NeighbourSearch, text_codes

if TYPE_CHECKING:
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.towers.base import TowerBatch

LIKELY = 0.5
"""From this share of the neighbours on, more in one other category than in the own, and where the
model agrees with them, the photo is said to speak against the category."""
_DOUBT = -0.5
"""The model is asked about the items whose neighbours' verdict is above this."""
_MARGIN_WEIGHT = 2.0
"""A difference of two cosines counts as much as twice so large a share of the neighbours."""
_DEVIATION_WEIGHT = 0.1
"""Where no neighbour can be asked: of a robust standard deviation of the agreement."""
_LEAST_SPREAD = 0.01
"""Of a category's agreement, a cosine: where all agree alike, a hair's breadth is no deviation."""
_DIMS = 256
"""A photo's vector is turned by a random rotation onto so many dimensions: 1 kB an item. A cosine
of 0.98 stays within 0.002 of itself (Johnson & Lindenstrauss: the error is relative to 1 - cos)."""


@dataclass(frozen=True)
class Looked:
    """What the towers and the connector say of N items.

    Attributes:
        photos: float32 [N, d] unit rows of the frozen image tower, zero without a photo.
        agreement: [N] of photo and metadata, a cosine; NaN where an item lacks either, or where
            the model tells none.
        presence: bool [N, 2]: has a photo that can be read, has metadata.
        words: category to float32 [Dtg], the mean of its items' global text vectors.
    """

    photos: npt.NDArray[np.float32]
    agreement: npt.NDArray[np.float64]
    presence: npt.NDArray[np.bool_]
    words: Mapping[str, npt.NDArray[np.float32]]


def look_at(
    embedder: ItemEmbedder,
    items: Sequence[Item],
    categories: Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> Looked:
    """Look at N items once, in batches, so that memory is bounded by what is returned.

    Args:
        categories: of the items, "" where unknown.
    """
    features = embedder.features
    embedder.model.eval()
    rotation = _rotation(features.image_tower.global_dim)
    photos = np.zeros((len(items), rotation.shape[1]), dtype=np.float32)
    agreement = np.full(len(items), np.nan)
    presence = np.zeros((len(items), 2), dtype=np.bool_)
    names, codes = text_codes(categories)
    sums = np.zeros((len(names), features.text_tower.global_dim))
    counts = np.zeros(len(names))
    features.fill(items, progress=progress)
    starts = range(0, len(items), whole_number(batch_size, "batch_size"))
    batches = features.batches(items, batch_size=batch_size)
    shown = track(starts, total=len(starts), text="auditing", show=progress)
    for start, towers in zip(shown, batches):
        rows = slice(start, start + len(towers))
        presence[rows] = towers.presence.numpy()
        photos[rows] = towers.image_global.float().numpy() @ rotation
        agreement[rows] = _agreement(embedder, towers)
        told = presence[rows, 1] & (codes[rows] >= 0)
        np.add.at(sums, codes[rows][told], towers.text_global.float().numpy()[told])
        np.add.at(counts, codes[rows][told], 1)
    photos /= np.maximum(np.linalg.norm(photos, axis=1, keepdims=True), 1e-12)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    words = {names[code]: means[code] for code in np.flatnonzero(counts)}
    return Looked(photos, agreement, presence, words)


def _agreement(embedder: ItemEmbedder, towers: TowerBatch) -> npt.NDArray[np.float64]:
    """[B] the agreement of photo and metadata, NaN where an item lacks either.

    It is the connector's; where that has none and the towers share a space, it is the cosine of
    their global vectors; else there is none, and all are NaN.
    """
    with torch.inference_mode():
        told = embedder.model.connect(towers.to(embedder.device)).agreement
    if told is None and embedder.features.shared_space:
        told = torch.cosine_similarity(towers.image_global, towers.text_global)[:, None]
    values = np.full(len(towers), np.nan)
    if told is not None:
        both = towers.presence.all(dim=1).numpy()
        values[both] = told[:, 0].double().cpu().numpy()[both]
    return values


def _rotation(width: int) -> npt.NDArray[np.float32]:
    """A random orthonormal [width, min(width, _DIMS)]."""
    rng = np.random.default_rng(0)
    square, _ = np.linalg.qr(rng.standard_normal((width, min(width, _DIMS))))
    return square.astype(np.float32)


@dataclass(frozen=True)
class Votes:
    """What the nearest photos say of N items' categories.

    Attributes:
        own: [N] the share of neighbours in the item's own category; NaN where there is none to
            ask or to compare.
        best: [N] the largest share of another category; NaN likewise.
        category: [N] that category, "" where there is none.
    """

    own: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    category: Sequence[str]


def photo_neighbours(
    photos: npt.NDArray[np.float32], there: npt.NDArray[np.bool_], k: int, *, progress: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The k nearest photos of every photo, exactly, in blocks of bounded memory.

    Args:
        photos: [N, D] unit rows.
        there: [N] which items have a photo.

    Returns:
        Cosines [N, k] and positions [N, k]; -inf and -1 where there is none.
    """
    known = np.flatnonzero(there)
    scores = np.full((len(photos), k), -np.inf, dtype=np.float32)
    rows = np.full((len(photos), k), -1, dtype=np.int64)
    if len(known) > 1:
        search = NeighbourSearch(photos[known], min(k, len(known) - 1))
        parts = search.blocks()
        for number, found_scores, found in track(
            search.search(), total=len(parts), text="neighbours", show=progress
        ):
            block = parts[number]
            width = found.shape[1]
            scores[known[block], :width] = found_scores
            rows[known[block], :width] = np.where(found >= 0, known[found], -1)
    return scores, rows


def vote(rows: npt.NDArray[np.int64], categories: Sequence[str]) -> Votes:
    """Let neighbours [N, K] vote for their own categories; those without one have no vote."""
    names, codes = text_codes(categories)
    own = np.full(len(rows), np.nan)
    best = np.full(len(rows), np.nan)
    winners = [""] * len(rows)
    for position, neighbours in enumerate(rows):
        voters = codes[neighbours[neighbours >= 0]]
        counts = np.bincount(voters[voters >= 0], minlength=len(names)).astype(np.float64)
        mine = codes[position]
        if not counts.sum() or not categories[position]:
            continue
        shares = counts / counts.sum()
        own[position] = shares[mine]
        shares[mine] = -1
        winner = int(shares.argmax())
        best[position] = max(0.0, float(shares[winner]))
        winners[position] = names[winner] if best[position] > 0 else ""
    return Votes(own, best, winners)


def doubtful(votes: Votes) -> npt.NDArray[np.int64]:
    """The items about whose category the model is asked."""
    with np.errstate(invalid="ignore"):
        asked = (votes.best - votes.own > _DOUBT) & (votes.best > 0)
    return np.flatnonzero(asked).astype(np.int64)


def margins(
    embedder: ItemEmbedder,
    items: Sequence[Item],
    words: Mapping[str, npt.NDArray[np.float32]],
    own: Sequence[str],
    other: Sequence[str],
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> npt.NDArray[np.float64]:
    """How much better a photo agrees with another category's words than with its own one's.

    The model is shown the photo with the mean text of a category in place of the item's own. So an
    odd photo, which agrees little with anything, is not taken for one in the wrong place.

    Args:
        words: see `Looked`.
        own, other: [N] categories.

    Returns:
        [N] difference of two cosines; NaN where the model tells no agreement.
    """
    values = np.full(len(items), np.nan)
    starts = range(0, len(items), whole_number(batch_size, "batch_size"))
    batches = embedder.features.batches(items, batch_size=batch_size)
    shown = track(starts, total=len(starts), text="doubtful categories", show=progress)
    for start, towers in zip(shown, batches):
        rows = slice(start, start + len(towers))
        here, there = (
            _agreement(embedder, _with_words(towers, [words[name] for name in names[rows]]))
            for names in (own, other)
        )
        values[rows] = there - here
    return values


def _with_words(towers: TowerBatch, words: Sequence[npt.NDArray[np.float32]]) -> TowerBatch:
    """The same photos with other global text vectors."""
    told = torch.from_numpy(np.stack(words)).to(towers.text_global.dtype)
    return replace(towers, text_global=told)


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


def combined(
    votes: Votes, margin: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """[N] the verdicts in one number; NaN where there is none."""
    verdict = votes.best - votes.own
    heard = verdict + _MARGIN_WEIGHT * np.nan_to_num(margin)
    return np.where(np.isnan(verdict), -_DEVIATION_WEIGHT * deviation - 1, heard)


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
            deviation[rows] = (agreement[rows] - middle) / max(float(spread), _LEAST_SPREAD)
    return deviation


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""One pass over a catalog: of each item the frozen photo vector and the agreement of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from tgqformer.catalog.items import Item
from tgqformer.catalog.progress import track
from tgqformer.config import whole_number
from tgqformer.retrieval.neighbours import text_codes

if TYPE_CHECKING:
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.towers.base import TowerBatch

DIMS = 256
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
        agreement[rows] = agreement_of(embedder, towers)
        told = presence[rows, 1] & (codes[rows] >= 0)
        np.add.at(sums, codes[rows][told], towers.text_global.float().numpy()[told])
        np.add.at(counts, codes[rows][told], 1)
    photos /= np.maximum(np.linalg.norm(photos, axis=1, keepdims=True), 1e-12)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    words = {names[code]: means[code] for code in np.flatnonzero(counts)}
    return Looked(photos, agreement, presence, words)


def agreement_of(embedder: ItemEmbedder, towers: TowerBatch) -> npt.NDArray[np.float64]:
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
            agreement_of(embedder, _with_words(towers, [words[name] for name in names[rows]]))
            for names in (own, other)
        )
        values[rows] = there - here
    return values


def _with_words(towers: TowerBatch, words: Sequence[npt.NDArray[np.float32]]) -> TowerBatch:
    """The same photos with other global text vectors."""
    told = torch.from_numpy(np.stack(words)).to(towers.text_global.dtype)
    return replace(towers, text_global=told)


def _rotation(width: int) -> npt.NDArray[np.float32]:
    """A random orthonormal [width, min(width, DIMS)]."""
    rng = np.random.default_rng(0)
    square, _ = np.linalg.qr(rng.standard_normal((width, min(width, DIMS))))
    return square.astype(np.float32)

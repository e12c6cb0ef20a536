"""The nearest photos of every photo, and what their categories say of an item's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.progress import track
from tgqformer.retrieval.neighbours import NeighbourSearch, text_codes


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

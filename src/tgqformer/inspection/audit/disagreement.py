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

import numpy as np
import numpy.typing as npt

from tgqformer.inspection.audit.neighbours import Votes

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

"""What the service asks of whatever can say why: a protocol, so that no torch is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item


@dataclass(frozen=True)
class AttentionMap:
    """Where on an item's first photo a stream reads.

    Attributes:
        values: float32 [h, w], not negative, of sum 1.
        seen: the share of the stream's attention that they are.
        window: x0, y0, x1, y1 of the grid as shares of the photo's width and height; beyond 0..1
            where the tower pads, within where it cuts.
    """

    values: npt.NDArray[np.float32]
    seen: float = 1.0
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class GateReading:
    """A gate of one item.

    Attributes:
        mean: over its channels, of the factor that the stream is scaled by; 1 leaves it as it is.
        values: [n], quantiles of the channels' factors, lowest first.
    """

    mean: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why an item's embedding is what it is.

    Attributes:
        heatmaps: stream ("anchored", "exploratory", ...) to its map; empty without a photo.
        gates: stream to its gate.
        agreement: cosine of photo and metadata, None where the model has none.
        words: words of the metadata, in its order, and how much the anchored queries follow each.
        similarity: cosine of the pair, None without another item.
        shares: "baseline", "image" and "text", which add up to the similarity; a part may be below
            zero; empty without another item.
        notes: what is not there, and why, in sentences.
    """

    heatmaps: Mapping[str, AttentionMap] = field(default_factory=dict)
    gates: Mapping[str, GateReading] = field(default_factory=dict)
    agreement: float | None = None
    words: Sequence[tuple[str, float]] = ()
    similarity: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Explainer(Protocol):
    """Anything that explains an item's embedding, and its similarity to another item's."""

    def explain(self, item: Item, other: Item | None = None) -> Explanation:
        """Explain `item`, and its similarity to `other` where one is given."""
        ...

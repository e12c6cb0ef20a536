"""What the service asks of whatever can say why: a protocol, so that no torch is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GateReading:
    """A gate of one item.

    Attributes:
        mean: over its channels, of the factor that the stream is scaled by.
        values: [n], the factor of each channel or of a few groups of them.
    """

    mean: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why an item's embedding is what it is.

    Attributes:
        heatmaps: stream ("anchored", "exploratory", ...) to attention over the photo, float32
            [h, w], not negative, of sum 1; empty for an item without a photo.
        gates: gate's name to what it says.
        agreement: cosine of photo and metadata, None where the model has none.
        shares: part ("image", "text") to its share of the pair's similarity, of sum 1; empty
            without another item.
        similarity: cosine of the pair, None without another item.
        words: words of the metadata to how much the anchored queries follow them, of sum 1.
    """

    heatmaps: Mapping[str, Map] = field(default_factory=dict)
    gates: Mapping[str, GateReading] = field(default_factory=dict)
    agreement: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    similarity: float | None = None
    words: Mapping[str, float] = field(default_factory=dict)


class Explainer(Protocol):
    """Anything that explains an item's embedding, and its similarity to another item's."""

    def explain(self, item: Item, other: Item | None = None) -> Explanation:
        """Explain `item`, and its similarity to `other` where one is given."""
        ...

"""The frozen towers as embedders: what no training reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tgqformer.catalog.items import Item
from tgqformer.catalog.protocols import Vectors
from tgqformer.evaluation.reference import concat_normalised
from tgqformer.towers.features import ItemFeatures

BATCH = 256


class FrozenEmbedder:
    """The towers' own vectors of an item, side by side; a missing part is zero."""

    def __init__(
        self, name: str, features: ItemFeatures, parts: Sequence[Literal["image", "text"]]
    ) -> None:
        self.name, self.features, self.parts = name, features, tuple(parts)

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Float32 [N, D], rows of unit length, or zero where an item has none of the parts."""
        self.features.fill(items, progress=progress)
        starts = range(0, len(items), BATCH)
        found = [self.features.globals(items[start : start + BATCH]) for start in starts]
        return concat_normalised(
            [np.concatenate([getattr(each, part) for each in found]) for part in self.parts]
        )

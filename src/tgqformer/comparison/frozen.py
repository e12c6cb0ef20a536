"""The frozen towers as embedders, and the base made of them: what no training reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.catalog.protocols import Vectors
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.evaluation.reference import concat_normalised
from tgqformer.towers.features import ItemFeatures
from tgqformer.training.start import fit_base

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


class BaseEmbedder:
    """The frozen base, fitted to a catalog as a run fits it: what a run of ours starts as."""

    def __init__(self, name: str, embedder: ItemEmbedder, catalog: Catalog, *, seed: int) -> None:
        self.name, self.embedder = name, embedder
        embedder.features.fill(catalog.items)
        fit_base(embedder, catalog, seed)

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Float32 [N, D], rows of unit length, or zero where an item has no part."""
        return self.embedder.encode_base(items)

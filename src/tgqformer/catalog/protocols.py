"""What evaluation, retrieval and service ask of a model: that it encodes items, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Anything that turns items into L2-normalised vectors."""

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Return float32 [N, D], row i for items[i], each row of unit length."""
        ...

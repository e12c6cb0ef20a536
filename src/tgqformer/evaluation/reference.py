"""Reference points: models that are only arrays, judged as any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.retrieval.scores import Vectors, as_vectors, unit


class Precomputed:
    """An `Embedder` over vectors [N, D] that were made elsewhere, one for each of `ids`.

    Raises:
        ConfigError: ids and vectors differ in number.
        StorageError: a value is not finite.
    """

    def __init__(self, name: str, ids: Sequence[str], vectors: npt.ArrayLike) -> None:
        self.name = name
        self._vectors = as_vectors(vectors, f"{name}'s vectors")
        if len(ids) != len(self._vectors):
            raise ConfigError(
                f"{len(ids)} ids came with {len(self._vectors)} vectors of {name}, but each id "
                "needs exactly one."
            )
        self._row = {item_id: row for row, item_id in enumerate(ids)}

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Look the items up by id: float32 [len(items), D]; CatalogError for an unknown one."""
        try:
            rows = [self._row[item.item_id] for item in items]
        except KeyError as error:
            raise CatalogError(
                f"{self.name} has no vector for item {error.args[0]!r}; compute it for the whole "
                "catalog."
            ) from None
        found: Vectors = self._vectors[rows]
        return found


def concat_normalised(
    parts: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None
) -> Vectors:
    """Put several vectors of each item side by side, without any training.

    Each part [N, Di] is scaled to unit rows; a row of zeros stands for a missing part (no photo,
    no title) and stays zero. `weights`, equal unless given, are those of the parts' cosines in the
    score of two whole items. The result [N, sum of Di] has unit rows again, so that an item without
    a photo is compared by what it has; a row with no part at all stays zero.

    Raises:
        ConfigError: no parts, parts of different lengths, or weights that do not fit.
    """
    arrays = [as_vectors(part, f"part {number}") for number, part in enumerate(parts)]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ConfigError(
            f"the parts have {lengths} rows, but all need the same number, and one part at least."
        )
    shares = np.ones(len(arrays)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(arrays),) or not (shares >= 0).all() or not shares.any():
        raise ConfigError(
            f"weights are {weights}, but must be {len(arrays)} numbers from 0, not all of them 0."
        )
    # The score multiplies both sides, so each carries the root of the weight.
    return unit(np.hstack([unit(a) * np.sqrt(w) for a, w in zip(arrays, shares)]))

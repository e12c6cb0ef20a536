"""The catalog in two dimensions: principal components of a bounded sample, made in the background.

The sample is drawn by id, so that the map stays the same from one start to the next.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tgqformer.retrieval.protocols import VectorStore
from tgqformer.retrieval.scores import Vectors

_DRIFT = 0.05  # share of items by which a store may change before its map is drawn again


@dataclass(frozen=True)
class CatalogMap:
    """A map of a store.

    Attributes:
        ids: of n items.
        points: float32 [n, 2], each axis within -1..1.
        explained: share of the sample's variance along each axis.
        total: items in the store.
    """

    ids: list[str]
    points: npt.NDArray[np.float32]
    explained: tuple[float, float]
    total: int


class MapMaker:
    """Keeps the map of one store; it is drawn when it is first asked for, and when outgrown."""

    def __init__(self, index: VectorStore, items: int) -> None:
        self._index, self._items = index, items
        self._made: CatalogMap | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def current(self) -> CatalogMap | None:
        """The map, None while the first is drawn."""
        made = self._made
        size = len(self._index)
        if made is None or abs(size - made.total) > _DRIFT * max(made.total, 1):
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._make, name="map", daemon=True)
                    self._thread.start()
        return made

    def close(self) -> None:
        """Wait for a map that is being drawn."""
        if self._thread is not None:
            self._thread.join(30.0)

    def _make(self) -> None:
        total = len(self._index)
        ids, vectors = self._index.sample(self._items)
        points, explained = project(vectors)
        self._made = CatalogMap(ids, points, explained, total)


def project(vectors: Vectors) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """The first two principal components of [n, D] and their shares of the variance.

    Each axis is scaled into -1..1, and points to where its largest coefficient is positive.
    """
    points = np.zeros((len(vectors), 2), dtype=np.float32)
    if len(vectors) < 2:
        return points, (0.0, 0.0)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    total = float(values.clip(0).sum())
    shares = [0.0, 0.0]
    for column in range(min(2, vectors.shape[1])):
        axis = axes[:, -1 - column]
        axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
        along = centred @ axis
        reach = float(np.abs(along).max())
        if total > 0 and reach > 1e-9:
            points[:, column] = along / reach
            shares[column] = float(max(values[-1 - column], 0.0)) / total
    return points, (shares[0], shares[1])

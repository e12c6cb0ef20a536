"""What the page is shown beside results: explanations of items, and a map of the catalog.

Whatever can say why is a protocol here, so that no torch is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item
from tgqformer.retrieval.protocols import VectorStore
from tgqformer.retrieval.scores import Vectors

_DRIFT = 0.05  # share of items by which a store may change before its map is drawn again


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


@dataclass(frozen=True)
class CatalogMap:
    """The catalog in two dimensions: principal components of a bounded sample.

    The sample is drawn by id, so that the map stays the same from one start to the next.

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
    """Keeps the map of one store, which is drawn when first asked for and when outgrown."""

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

"""A stream's attention over a photo's tokens, laid over the photo as the tower saw it.

The map is the mean over heads, layers and queries. Each is a distribution, so their mean is a share
of the stream's attention too, and nothing is lost or counted twice; a maximum over heads would show
what a single head saw, and sum to nothing. Attention says where a stream reads, not what follows
from it (Jain & Wallace, arXiv 1902.10186): tokens have seen their surroundings through the tower,
and the layers after it may ignore what was read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

    from tgqformer.towers.base import ImageTower, Window

MOST_LEADING = 5
"""Class token and registers before a grid: DINOv2 and DINOv3 have one and four."""


@dataclass(frozen=True)
class Layout:
    """How a photo's tokens lie over it.

    Attributes:
        rows, columns: of the grid, read row by row.
        leading: class tokens and registers before it, which lie nowhere.
        window: x0, y0, x1, y1 of the grid in pixels of the photo, outside of it where the tower
            pads.
        size: width and height of the photo.
    """

    rows: int
    columns: int
    leading: int
    window: Window
    size: tuple[int, int]

    def shares(self, box: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
        """How much of each cell lies in a box x0, y0, x1, y1 of the photo: [rows, columns]."""
        x0, y0, x1, y1 = self.window
        across = _overlap(np.linspace(x0, x1, self.columns + 1), box[0], box[2])
        down = _overlap(np.linspace(y0, y1, self.rows + 1), box[1], box[3])
        return np.outer(down, across)

    def centres(self, box: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
        """Whether the centre of each cell lies in a box: [rows, columns]."""
        x0, y0, x1, y1 = self.window
        x = x0 + (np.arange(self.columns) + 0.5) * (x1 - x0) / self.columns
        y = y0 + (np.arange(self.rows) + 0.5) * (y1 - y0) / self.rows
        across, down = (box[0] <= x) & (x < box[2]), (box[1] <= y) & (y < box[3])
        return np.logical_and.outer(down, across)


@dataclass(frozen=True)
class Heatmap:
    """Where in a photo a stream reads.

    Attributes:
        weights: float32 [rows, columns], sums to 1 (all zero where the stream did not look).
        seen: the share of the stream's attention that these weights are; the rest lay on the null
            token, the class token, registers, or the item's other photos.
        layout: where the cells lie.
    """

    weights: npt.NDArray[np.float32]
    seen: float
    layout: Layout

    def inside(self, box: tuple[float, float, float, float]) -> float:
        """The share of the map inside a box x0, y0, x1, y1 of the photo, in [0, 1]."""
        return float((self.weights * self.layout.shares(box)).sum())

    def points_into(self, box: tuple[float, float, float, float]) -> float:
        """Whether the centre of the highest cell lies in a box: 1 or 0, between them for ties.

        The pointing game (Zhang et al., arXiv 1608.00507), without its tolerance of 15 pixels.
        """
        best = self.weights == self.weights.max()
        return float(self.layout.centres(box)[best].mean())

    def over_photo(self) -> npt.NDArray[np.float32]:
        """The map at the photo's own size and aspect: [height, width], smooth, in 0..1."""
        from PIL import Image

        width, height = self.layout.size
        highest = float(self.weights.max()) or 1.0
        cells = Image.fromarray(self.weights / np.float32(highest))
        x0, y0, x1, y1 = self.layout.window
        # pixels of the photo, in cells; a cell's value stands at its centre
        scale_x, scale_y = self.layout.columns / (x1 - x0), self.layout.rows / (y1 - y0)
        padded = _with_border(cells)
        affine = (scale_x, 0.0, 1 - x0 * scale_x, 0.0, scale_y, 1 - y0 * scale_y)
        laid = padded.transform(
            (width, height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        return np.clip(np.asarray(laid, dtype=np.float32), 0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: weights as rows of numbers, window, size and the share that was seen."""
        return {
            "weights": self.weights.tolist(),
            "seen": self.seen,
            "window": list(self.layout.window),
            "size": list(self.layout.size),
        }


def layout_of(tower: ImageTower, photo: Image.Image, tokens: int) -> Layout | None:
    """How the tokens of a photo lie over it; None where they are no grid.

    Args:
        tokens: how many there are from the photo's first on; those after its own are of others.
    """
    size = photo.size
    if tower.num_tokens is None:  # as many patches as the photo's shape gives
        shapes = tower.preprocess(photo).get("spatial_shapes")
        if shapes is None:
            return None
        rows, columns = (int(side) for side in shapes.tolist())
        return Layout(rows, columns, 0, tower.window(*size), size)
    count = min(tokens, tower.num_tokens)
    side = math.isqrt(count)
    if not side or count - side * side > MOST_LEADING:
        return None
    return Layout(side, side, count - side * side, tower.window(*size), size)


def heatmap(attention: npt.NDArray[Any], layout: Layout) -> Heatmap:
    """One photo's map.

    Args:
        attention: [Q, P] of one item, averaged over heads and layers, null token left out.
    """
    mean = attention.astype(np.float64).mean(axis=0)  # [Q, P] -> [P]
    start, cells = layout.leading, layout.rows * layout.columns
    on_grid = mean[start : start + cells]
    seen = float(on_grid.sum())
    weights = on_grid / seen if seen > 0 else np.zeros_like(on_grid)
    grid = weights.reshape(layout.rows, layout.columns).astype(np.float32)
    return Heatmap(grid, seen, layout)


def _overlap(edges: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float64]:
    """The share of each interval between `edges` that lies within low..high."""
    inner = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    shares: npt.NDArray[np.float64] = np.clip(inner, 0, None) / np.diff(edges)
    return shares


def _with_border(cells: Image.Image) -> Image.Image:
    """The map with its outermost cells repeated, so that the photo's rim has a value."""
    from PIL import Image

    return Image.fromarray(np.pad(np.asarray(cells), 1, mode="edge"))

"""A stream's attention over a photo's tokens as a map, and an explanation drawn as one picture.

The map is the mean over heads, layers and queries. Each is a distribution, so their mean is a share
of the stream's attention too, and nothing is lost or counted twice; a maximum over heads would show
what a single head saw, and sum to nothing. Attention says where a stream reads, not what follows
from it (Jain & Wallace, arXiv 1902.10186): tokens have seen their surroundings through the tower,
and the layers after it may ignore what was read.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.evaluation.figures import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from PIL import Image

    from tgqformer.inspection.explain import Contributions, Explanation
    from tgqformer.towers.base import ImageTower, Window

_MOST_LEADING = 5
"""Class token and registers before a grid: DINOv2 and DINOv3 have one and four."""
_MOST_WORDS = 12
_ROW_HEIGHT, _PAIR_HEIGHT, _PANEL_WIDTH = 3.3, 1.7, 2.9
_BAR, _WORD, _PHOTO, _TEXT = "#0a7265", "#5b5fc7", "#b4560b", "#5b5fc7"
_COLOURS = "inferno"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a title is no formula
}


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


def _overlap(edges: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float64]:
    """The share of each interval between `edges` that lies within low..high."""
    inner = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    shares: npt.NDArray[np.float64] = np.clip(inner, 0, None) / np.diff(edges)
    return shares


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


def _with_border(cells: Image.Image) -> Image.Image:
    """The map with its outermost cells repeated, so that the photo's rim has a value."""
    from PIL import Image

    return Image.fromarray(np.pad(np.asarray(cells), 1, mode="edge"))


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
    if not side or count - side * side > _MOST_LEADING:
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


def gate_range(gate: npt.NDArray[np.float32]) -> dict[str, float]:
    """Mean of a gate's channels, and the bounds of the middle 80 % of them."""
    low, high = np.quantile(gate, [0.1, 0.9])
    return {"mean": float(gate.mean()), "low": float(low), "high": float(high)}


def draw(explanation: Explanation, *, dpi: int = 110) -> Image.Image:
    """Draw an explanation as an RGB picture.

    Photo and heatmaps stand side by side, all in the photo's own aspect; then the gates (bars: the
    mean over channels, lines: the middle 80 %) and the words that the anchored queries are made of.
    What is missing is said in words.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from PIL import Image

    rows = [explanation] if explanation.other is None else [explanation, explanation.other]
    most = max(len(row.heatmaps) for row in rows)
    heights = [_ROW_HEIGHT] * len(rows) + [_PAIR_HEIGHT] * (explanation.contributions is not None)
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # matplotlib's own font lacks the glyphs of many scripts, and draws a box for each
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        size = ((most + 1) * _PANEL_WIDTH + 6.4, sum(heights))
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
        parts: list[Any] = below[:, 0].tolist()
        for part, row in zip(parts, rows):
            _draw_item(part, row, most)
        if explanation.contributions is not None:
            _draw_pair(parts[-1], explanation.contributions)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", facecolor="white")
    return Image.open(buffer).convert("RGB")


def _draw_item(figure: SubFigure | Figure, row: Explanation, most: int) -> None:
    title = plain(row.item.title or "(no title)", 110)
    figure.suptitle(f"{plain(row.item.item_id, 40)}: {title}", x=0.01, ha="left", fontsize=10)
    ratios = [_PANEL_WIDTH] * (most + 1) + [2.6, 3.4]
    axes: Any = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    _show_photo(axes[0], row)
    for number in range(most):
        names = list(row.heatmaps)
        if number < len(names) and row.photo is not None:
            name = names[number]
            _show_heat(axes[number + 1], row.photo, row.heatmaps[name], name)
        else:
            axes[number + 1].axis("off")
    _show_gates(axes[-2], row)
    _show_words(axes[-1], row)
    if row.notes:
        figure.supxlabel(" ".join(row.notes), x=0.01, ha="left", fontsize=8, color="#625f59")


def _show_photo(axes: Axes, row: Explanation) -> None:
    if row.photo is None:
        axes.text(0.5, 0.5, "no photo", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.imshow(np.asarray(row.photo))
    axes.set_title("photo", fontsize=9)
    axes.axis("off")


def _show_heat(axes: Axes, photo: Image.Image, found: Heatmap, name: str) -> None:
    axes.imshow(overlay(photo, found))
    axes.set_title(f"{name} ({100 * found.seen:.0f} % of it here)", fontsize=9)
    axes.axis("off")


def _show_gates(axes: Axes, row: Explanation) -> None:
    agreement = "none" if row.agreement is None else f"{row.agreement:.2f}"
    axes.set_title(f"agreement of photo and\nmetadata: {agreement}", fontsize=9)
    if not row.gates:
        axes.axis("off")
        return
    names = list(row.gates)
    ranges = [gate_range(row.gates[name]) for name in names]
    axes.barh(names, [r["mean"] for r in ranges], color=_BAR, height=0.5)
    axes.hlines(names, [r["low"] for r in ranges], [r["high"] for r in ranges], "#1c1b19")
    axes.axvline(1, color="#b3b3b3", linewidth=1, linestyle="--")
    axes.set_xlim(0, 2)
    axes.set_ylim(len(names) - 0.3, -0.7)
    axes.set_xlabel("gate: channels are scaled by")


def _show_words(axes: Axes, row: Explanation) -> None:
    axes.set_title("words the anchored queries follow", fontsize=9)
    if not row.words:
        axes.axis("off")
        return
    heaviest = sorted(row.words, key=lambda word: -word.weight)[:_MOST_WORDS]
    shown = sorted(heaviest, key=lambda word: word.start)
    places = np.arange(len(shown))
    axes.barh(places, [100 * word.weight for word in shown], color=_WORD, height=0.6)
    axes.set_yticks(places, [plain(word.text, 18) for word in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("% of their attention to words")


def _draw_pair(figure: SubFigure | Figure, pair: Contributions) -> None:
    figure.suptitle(
        f"similarity {pair.similarity:.2f}, taken apart", x=0.01, ha="left", fontsize=10
    )
    axes: Any = figure.subplots()
    parts = {
        "an unknown item": (pair.baseline, "#aaa59b"),
        "photos": (pair.image, _PHOTO),
        "metadata": (pair.text, _TEXT),
    }
    start = 0.0
    for number, (value, colour) in enumerate(parts.values()):
        axes.barh(number, value, left=start, color=colour, height=0.6)
        start += value
    axes.axvline(0, color="#b3b3b3", linewidth=1)
    axes.axvline(pair.similarity, color="#1c1b19", linewidth=1, linestyle="--")
    names = [f"{name}  {value:+.2f}" for name, (value, _) in parts.items()]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.05)
    axes.set_xlabel("cosine; each bar starts where the one above it ends")


def overlay(photo: Image.Image, found: Heatmap) -> npt.NDArray[np.float32]:
    """The photo, greyed, under its map: float32 [height, width, 3] in 0..1."""
    import matplotlib

    heat = found.over_photo()
    grey = np.asarray(photo.convert("L"), dtype=np.float32)[..., None] / 255
    colours = matplotlib.colormaps[_COLOURS](heat)[..., :3]
    alpha = 0.25 + 0.55 * heat[..., None]
    mixed: npt.NDArray[np.float32] = ((1 - alpha) * grey + alpha * colours).astype(np.float32)
    return mixed

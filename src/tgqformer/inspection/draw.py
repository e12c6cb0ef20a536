"""An explanation as one picture: a row for each item, and a pair's similarity taken apart below."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.evaluation.report.figures import plain
from tgqformer.inspection.explain import gate_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from PIL import Image

    from tgqformer.inspection.explain import Contributions, Explanation
    from tgqformer.inspection.heatmap import Heatmap

MOST_WORDS = 12
ROW_HEIGHT, PAIR_HEIGHT, PANEL_WIDTH = 3.3, 1.7, 2.9
BAR, WORD, PHOTO, TEXT = "#0a7265", "#5b5fc7", "#b4560b", "#5b5fc7"
COLOURS = "inferno"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a dollar sign in a title is no formula
}


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
    heights = [ROW_HEIGHT] * len(rows) + [PAIR_HEIGHT] * (explanation.contributions is not None)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # matplotlib's own font lacks the glyphs of many scripts, and draws a box for each
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        size = ((most + 1) * PANEL_WIDTH + 6.4, sum(heights))
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
    ratios = [PANEL_WIDTH] * (most + 1) + [2.6, 3.4]
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
    axes.barh(names, [r["mean"] for r in ranges], color=BAR, height=0.5)
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
    heaviest = sorted(row.words, key=lambda word: -word.weight)[:MOST_WORDS]
    shown = sorted(heaviest, key=lambda word: word.start)
    places = np.arange(len(shown))
    axes.barh(places, [100 * word.weight for word in shown], color=WORD, height=0.6)
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
        "photos": (pair.image, PHOTO),
        "metadata": (pair.text, TEXT),
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
    colours = matplotlib.colormaps[COLOURS](heat)[..., :3]
    alpha = 0.25 + 0.55 * heat[..., None]
    mixed: npt.NDArray[np.float32] = ((1 - alpha) * grey + alpha * colours).astype(np.float32)
    return mixed

"""What the figures of a comparison share: a look for each method, and names beside their lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tgqformer.comparison.results import Results
from tgqformer.evaluation.report.drawing import MARKERS, SERIES, plain

LONGEST = 22
"""Letters of a method's name in a figure, which a phone must still show."""
_DASHES = ("-", "--", "-.", ":")
_LINE = 0.145  # inches that a name needs in height


@dataclass(frozen=True)
class Look:
    """How a method is drawn in every figure.

    Attributes:
        colour: a stand-in that the page's CSS replaces.
        dash, marker: tell apart what colour does not.
        ours: drawn strong.
    """

    label: str
    colour: str
    dash: str
    marker: str
    ours: bool

    @property
    def width(self) -> float:
        return 2.4 if self.ours else 1.1

    @property
    def weight(self) -> str:
        return "bold" if self.ours else "normal"


def looks(results: Results) -> dict[str, Look]:
    """One look for each method: ours in the first colour, the frozen ones in the last."""
    rivals = [n for n, m in results.methods.items() if m.group not in ("frozen", "ours")]
    frozen = [n for n, m in results.methods.items() if m.group == "frozen"]
    found = {}
    for name, method in results.methods.items():
        if name == results.ours or method.group == "ours":
            colour, number = SERIES[0], 0
        elif method.group == "frozen":
            colour, number = SERIES[-1], frozen.index(name) + 1
        else:
            place = rivals.index(name)
            colour, number = SERIES[1 + place % 4], place // 4
        found[name] = Look(
            plain(method.label, LONGEST),
            colour,
            _DASHES[number % len(_DASHES)],
            MARKERS[list(results.methods).index(name) % len(MARKERS)],
            name == results.ours,
        )
    return found


def panel_height(lines: int, least: float = 2.5) -> float:
    """Inches that a panel needs so that the names of so many lines fit beside it."""
    return max(least, 0.75 + _LINE * lines)


def name_lines(axes: Any, ends: Sequence[tuple[float, float, Look]], height: float) -> None:
    """Write each line's name beside its last point (x, y), moved apart where they would touch.

    Args:
        height: of the figure in inches, as `panel_height` gave it.
    """
    low, high = axes.get_ylim()
    gap = _LINE / (height - 0.6)
    places = spread([(y - low) / (high - low) for _, y, _ in ends], gap)
    for (x, y, look), place in zip(ends, places):
        axes.annotate(
            look.label,
            xy=(x, y),
            xytext=(1.04, place),
            textcoords="axes fraction",
            color=look.colour,
            fontsize=8,
            fontweight=look.weight,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look.colour,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
            },
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart until neighbours differ by `gap`, their order and middle kept.

    Those that touch form a block about the mean of what its members want.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[int]] = []
    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and _top(blocks[-2], wanted, gap) + gap > _bottom(
            blocks[-1], wanted, gap
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    found = [0.0] * len(wanted)
    for block in blocks:
        for number, i in enumerate(block):
            found[i] = _bottom(block, wanted, gap) + number * gap
    return found


def _bottom(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    middle = sum(wanted[i] for i in block) / len(block)
    return middle - gap * (len(block) - 1) / 2


def _top(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return _bottom(block, wanted, gap) + gap * (len(block) - 1)

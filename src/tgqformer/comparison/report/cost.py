"""Quality against cost: one point for each method, its name beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tgqformer.comparison.report.drawing import Look, looks
from tgqformer.comparison.report.standing import figure_of, ranked
from tgqformer.comparison.report.words import short_count
from tgqformer.comparison.results import Results
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.report.drawing import drawing, svg_text


def cost_figure(
    results: Results, catalog: str, metric: str, costs: Mapping[str, int], label: str, name: str
) -> str:
    """Quality against a cost on a logarithmic axis, one labelled point for each method.

    Args:
        costs: method -> its cost, more than zero.
        label: of the axis.
        name: tells this figure's ids from those of others on the page.
    """
    shown = [n for n in ranked(results, catalog, metric) if costs.get(n, 0) > 0]
    if not shown:
        return ""
    with drawing(height=3.3) as figure:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes = figure.subplots()
        axes.set_xscale("log")
        style = looks(results)
        points = []
        for method in shown:
            one = figure_of(results, method, catalog, metric)
            assert one is not None
            look, x, y = style[method], costs[method], 100 * one.value
            if one.low is not None and one.high is not None:
                axes.vlines(x, 100 * one.low, 100 * one.high, look.colour, linewidth=1.2, alpha=0.5)
            axes.plot(
                [x],
                [y],
                color=look.colour,
                marker=look.marker,
                markersize=8 if look.ours else 5.5,
                linestyle="",
            )
            points.append((float(x), y, look))
        cheapest, dearest = min(costs[n] for n in shown), max(costs[n] for n in shown)
        # Room for the names; methods that cost nearly the same must not look far apart.
        middle, half = math.sqrt(cheapest * dearest), max(math.sqrt(dearest / cheapest), 1.4)
        axes.set_xlim(middle / half**1.25, middle * half**1.25 * 1.15)
        axes.margins(y=0.12)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{label}, logarithmic")
        axes.set_ylabel(f"{metric_label(metric)}, %")
        _place_names(figure, axes, points)
        text = "; ".join(
            f"{look.label}: {short_count(x)}, {metric_label(metric)} {y:.1f}"
            for x, y, look in points
        )
        return svg_text(figure, f"Quality against {label}. {text}.", name)


def _place_names(figure: Any, axes: Any, points: Sequence[tuple[float, float, Look]]) -> None:
    """Name each point where its name covers least of the other names and points."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    dots = [axes.transData.transform((x, y)) for x, y, _ in points]
    frame = axes.get_window_extent(renderer)
    scale = figure.dpi / 72
    taken: list[tuple[float, float, float, float]] = [
        (x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in dots
    ]
    for (x, y, look), (left, bottom) in sorted(
        zip(points, dots), key=lambda one: not one[0][2].ours
    ):
        width, height = len(look.label) * 4.6 * scale, 9 * scale
        best: tuple[float, float, float] | None = None
        for distance in (6, 12, 20, 30, 42):
            for dx, dy in ((1, 0), (-1, 0), (1, 0.7), (1, -0.7), (-1, 0.7), (-1, -0.7)):
                start = left + dx * distance * scale - (width if dx < 0 else 0)
                base = bottom + dy * distance * scale - height / 2
                box = (start, base, start + width, base + height)
                cost = sum(_overlap(box, other) for other in taken) + distance
                cost += 1e3 * (box[0] < frame.x0 or box[3] > frame.y1 or box[1] < frame.y0)
                cost += 1e3 * (box[2] > frame.x1 + 30 * scale)
                if best is None or cost < best[0]:
                    best = (cost, start, base)
        assert best is not None
        _, start, base = best
        taken.append((start, base, start + width, base + height))
        near = start + (width if start < left else 0)
        axes.annotate(
            look.label,
            xy=(x, y),
            xytext=((near - left) / scale, (base + height / 2 - bottom) / scale),
            textcoords="offset points",
            ha="right" if start < left else "left",
            va="center",
            fontsize=8,
            fontweight=look.weight,
            color=look.colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look.colour, "linewidth": 0.4, "shrinkA": 0},
        )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    tall = min(a[3], b[3]) - max(a[1], b[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0

"""The figures of a comparison: dots with whiskers, lines over a step or a severity, cost.

A method has one look in all of them, and its name stands beside its line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tgqformer.comparison.results import GateFigure, Results
from tgqformer.comparison.standing import (
    CORRUPTIONS,
    corruption_kinds,
    figure_of,
    gain_over,
    learning_curves,
    names,
    ranked,
    relative_percent,
    short_count,
)
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.figures import (
    FAINT,
    INK,
    MARKERS,
    SERIES,
    drawing,
    legend_above,
    plain,
    svg_text,
)
from tgqformer.evaluation.intervals import Interval

GATE_PARTS = {
    "anchored": "anchored gate, mean",
    "exploratory": "exploratory gate, mean",
    "agreement": "image–title agreement, cosine",
}
_LONGEST = 22
"""Letters of a method's name in a figure, which a phone must still show."""
_DASHES = ("-", "--", "-.", ":")
_LINE = 0.145  # inches that a name needs in height
_ROW = 0.24  # inches


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


@dataclass(frozen=True)
class Line:
    """A line with a band: x ascending, as many of each; the band is None where there is none."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    band: tuple[tuple[float, ...], tuple[float, ...]] | None
    look: Look


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
            plain(method.label, _LONGEST),
            colour,
            _DASHES[number % len(_DASHES)],
            MARKERS[list(results.methods).index(name) % len(MARKERS)],
            name == results.ours,
        )
    return found


def hits_figure(results: Results, catalog: str, metrics: Sequence[str], headline: str) -> str:
    """Every method's figures on one catalog, a row for each, best first; "" where there are none.

    The K of a row differ in marker and colour; a row's name is bold where it is ours.
    """
    order = ranked(results, catalog, headline)
    if not order:
        return ""
    with drawing(height=0.75 + _ROW * len(order)) as figure:
        axes = figure.subplots()
        for number, metric in enumerate(metrics):
            found = {
                row: one
                for row, name in enumerate(order)
                if (one := figure_of(results, name, catalog, metric)) is not None
            }
            colour = SERIES[number % len(SERIES)]
            for row, one in found.items():
                _whisker(axes, row, Interval(one.value, one.low, one.high), colour)
            axes.plot(
                [100 * one.value for one in found.values()],
                list(found),
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=4.5,
                linestyle="",
                label=metric_label(metric),
            )
        axes.set_xlim(0, 100)
        _name_rows(axes, results, order)
        legend_above(axes, columns=len(metrics))
        axes.set_xlabel("percent")
        text = "; ".join(
            f"{results.methods[name].label}: "
            + ", ".join(
                f"{metric_label(m)} {100 * one.value:.1f}"
                for m in metrics
                if (one := figure_of(results, name, catalog, m)) is not None
            )
            for name in order
        )
        return svg_text(
            figure,
            f"Figures on {catalog}, percent. {text}.",
            f"hits-{list(results.catalogs).index(catalog)}",
        )


def gains_figure(results: Results, catalog: str, metric: str) -> str:
    """How far ours is ahead of each other method, in points, with the relative gain in words."""
    gains = {
        name: gain
        for name in ranked(results, catalog, metric)
        if (gain := gain_over(results, name, catalog, metric)) is not None
    }
    if not gains:
        return ""
    with drawing(height=0.75 + _ROW * len(gains)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        for row, gain in enumerate(gains.values()):
            colour = SERIES[0] if gain.apart and gain.absolute.value > 0 else SERIES[-1]
            if gain.apart and gain.absolute.value < 0:
                colour = SERIES[1]
            _whisker(axes, row, gain.absolute, colour)
            axes.plot(
                [100 * gain.absolute.value],
                [row],
                color=colour,
                marker="o",
                markersize=5,
                markerfacecolor=colour if gain.apart else "none",
                linestyle="",
            )
            told = f"{100 * gain.absolute.value:+.1f}{gain.mark}"
            if gain.relative is not None:
                told += f" ({relative_percent(gain.relative.value)})"
            axes.annotate(
                told,
                xy=(1.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                annotation_clip=False,
            )
        _name_rows(axes, results, list(gains))
        axes.set_xlabel(f"{metric_label(metric)}, points ahead")
        ours = results.methods[results.ours].label if results.ours in results.methods else "ours"
        text = "; ".join(
            f"{results.methods[name].label} {100 * gain.absolute.value:+.1f}"
            for name, gain in gains.items()
        )
        description = f"How far {ours} is ahead on {catalog}, points. {text}."
        number = list(results.catalogs).index(catalog)
        return svg_text(figure, description, f"gains-{number}")


def _whisker(axes: Any, row: float, one: Interval, colour: str) -> None:
    if one.low is not None and one.high is not None:
        axes.hlines(row, 100 * one.low, 100 * one.high, colour, linewidth=2, alpha=0.5)


def _name_rows(axes: Any, results: Results, order: Sequence[str]) -> None:
    labels = [plain(results.methods[name].label, _LONGEST) for name in order]
    axes.set_yticks(range(len(order)), labels)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for name, tick in zip(order, axes.get_yticklabels()):
        if name == results.ours:
            tick.set_fontweight("bold")
            axes.axhspan(
                order.index(name) - 0.5, order.index(name) + 0.5, color=FAINT, alpha=0.3, lw=0
            )


def learning_figure(results: Results, methods: Sequence[str], metric: str) -> str:
    """Validation figures by step, mean over seeds; the band spans the seeds."""
    style, lines = looks(results), []
    for name in methods:
        curve = learning_curves(results, name, metric)
        if len(curve) > 1:
            lines.append(_line(curve, style[name]))
    label = f"{metric_label(metric)}, validation, %"
    return _panel(lines, "learning", "step", label, bottom=0)


def _line(curve: Mapping[float, Sequence[float]], look: Look) -> Line:
    seeds = list(curve.values())
    band = None
    if len(seeds[0]) > 1:
        band = (
            tuple(100 * min(values) for values in seeds),
            tuple(100 * max(values) for values in seeds),
        )
    means = tuple(100 * sum(values) / len(values) for values in seeds)
    return Line(tuple(curve), means, band, look)


def robustness_figure(results: Results, kind: str, metric: str) -> str:
    """`metric` against severity for one kind of corruption; intervals of ours as a band."""
    style, lines = looks(results), []
    for name in names(results):
        found = sorted(
            (point.severity, point.metrics[metric])
            for point in results.methods[name].robustness
            if point.kind == kind and metric in point.metrics
        )
        if len(found) < 2:
            continue
        figures = [one for _, one in found]
        bounds = [(one.low, one.high) for one in figures]
        band = None
        if style[name].ours and all(low is not None and high is not None for low, high in bounds):
            band = (
                tuple(100 * low for low, _ in bounds if low is not None),
                tuple(100 * high for _, high in bounds if high is not None),
            )
        lines.append(
            Line(
                tuple(severity for severity, _ in found),
                tuple(100 * one.value for one in figures),
                band,
                style[name],
            )
        )
    title = f"{metric_label(metric)}, %"
    return _panel(
        lines, f"robustness-{corruption_kinds(results).index(kind)}", "severity", title, bottom=0
    )


def gate_figure(results: Results, part: str) -> str:
    """A gate of our method, or the agreement, against severity: a line for each corruption."""
    gates = results.methods[results.ours].gates if results.ours in results.methods else ()
    clean = next((getattr(g, part) for g in gates if g.condition == "clean"), None)
    lines = []
    for number, (kind, label) in enumerate(CORRUPTIONS.items()):
        found: dict[float, GateFigure] = {0.0: clean} if clean is not None else {}
        found |= {
            g.severity: one
            for g in gates
            if g.condition == kind and (one := getattr(g, part)) is not None
        }
        if len(found) > 1:
            look = Look(label, SERIES[number], "-", MARKERS[number], ours=False)
            severities = sorted(found)
            means = tuple(found[s].mean for s in severities)
            lines.append(Line(tuple(severities), means, None, look))
    return _panel(lines, f"gate-{part}", "severity", GATE_PARTS[part], zero=part != "agreement")


def _panel(
    lines: Sequence[Line],
    name: str,
    x: str,
    y: str,
    *,
    bottom: float | None = None,
    zero: bool = False,
) -> str:
    if not lines:
        return ""
    height = _panel_height(len(lines))
    with drawing(height=height) as figure:
        axes = figure.subplots()
        if zero:
            axes.axhline(0, color=FAINT, linewidth=1)
        for line in sorted(lines, key=lambda line: line.look.ours):
            look = line.look
            if line.band is not None:
                axes.fill_between(line.xs, *line.band, color=look.colour, alpha=0.16, linewidth=0)
            few = len(line.xs) <= 8
            axes.plot(
                line.xs,
                line.ys,
                color=look.colour,
                linestyle=look.dash,
                linewidth=look.width,
                marker=look.marker if few else "",
                markersize=5 if look.ours else 3.5,
            )
        if bottom is not None:
            axes.set_ylim(bottom=bottom)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        _name_lines(axes, [(line.xs[-1], line.ys[-1], line.look) for line in lines], height)
        text = "; ".join(
            f"{line.look.label}: {line.ys[0]:.3g} at {line.xs[0]:g}, {line.ys[-1]:.3g} at "
            f"{line.xs[-1]:g}"
            for line in lines
        )
        return svg_text(figure, f"{y} by {x}. {text}.", name)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart until neighbours differ by `gap`, their order and middle kept.

    Those that touch form a block about the mean of what its members want: isotonic regression.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    found = np.empty(len(wanted))
    found[order] = isotonic_regression(np.asarray(wanted)[order] - steps).x + steps
    places: list[float] = found.tolist()
    return places


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


def _panel_height(lines: int, least: float = 2.5) -> float:
    """Inches that a panel needs so that the names of so many lines fit beside it."""
    return max(least, 0.75 + _LINE * lines)


def _name_lines(axes: Any, ends: Sequence[tuple[float, float, Look]], height: float) -> None:
    """Write each line's name beside its last point (x, y), moved apart where they would touch.

    Args:
        height: of the figure in inches, as `_panel_height` gave it.
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

"""Lines: learning curves, figures against severity, gates against severity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tgqformer.comparison.report.drawing import Look, looks, name_lines, panel_height
from tgqformer.comparison.report.standing import chosen_cells, names
from tgqformer.comparison.results import CellResult, GateFigure, Results
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.report.drawing import FAINT, MARKERS, SERIES, drawing, svg_text

GATE_PARTS = {
    "anchored": "anchored gate, mean",
    "exploratory": "exploratory gate, mean",
    "agreement": "image–title agreement, cosine",
}
CORRUPTIONS = {
    "overlays": "overlays only",
    "clutter": "clutter only",
    "overlays+clutter": "overlays and clutter",
}


@dataclass(frozen=True)
class Line:
    """A line with a band: x ascending, as many of each; the band is None where there is none."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    band: tuple[tuple[float, ...], tuple[float, ...]] | None
    look: Look


def learning_curves(results: Results, method: str, metric: str) -> dict[float, list[float]]:
    """Step -> the validation figure of each seed of a method, at the chosen rate.

    Steps that only some seeds reached (early stopping) are left out, or the mean would jump.
    """
    cells = chosen_cells(results, method)
    found: dict[float, list[float]] = {}
    for cell in cells:
        for step, value in _points(cell, metric):
            found.setdefault(step, []).append(value)
    return {step: found[step] for step in sorted(found) if len(found[step]) == len(cells)}


def learning_figure(results: Results, methods: Sequence[str], metric: str) -> str:
    """Validation figures by step, mean over seeds; the band spans the seeds."""
    style, lines = looks(results), []
    for name in methods:
        curve = learning_curves(results, name, metric)
        if len(curve) > 1:
            lines.append(_line(curve, style[name]))
    label = f"{metric_label(metric)}, validation, %"
    return _panel(lines, "learning", "step", label, bottom=0)


def robustness_figure(results: Results, kind: str, metric: str) -> str:
    """`metric` against severity for one kind of corruption; intervals of ours as a band."""
    style, lines = looks(results), []
    for name in names(results):
        found = (
            sorted(
                (point.severity, point.metrics[metric])
                for point in results.methods[name].robustness
                if point.kind == kind and metric in point.metrics
            )
            if results.methods[name].robustness
            else []
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
    return _panel(lines, f"robustness-{_number(results, kind)}", "severity", title, bottom=0)


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


def corruption_kinds(results: Results) -> list[str]:
    """The kinds that were measured, the single ones first."""
    found = {p.kind for n in names(results) for p in results.methods[n].robustness}
    return [k for k in CORRUPTIONS if k in found] + sorted(found - set(CORRUPTIONS))


def _points(cell: CellResult, metric: str) -> list[tuple[float, float]]:
    found = {}
    for row in cell.curve:
        value = row.get(metric, row.get(f"eval_{metric}"))
        if value is not None and "step" in row and math.isfinite(value):
            found[float(row["step"])] = float(value)
    return sorted(found.items())


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
    height = panel_height(len(lines))
    with drawing(height=height) as figure:
        axes = figure.subplots()
        if zero:
            axes.axhline(0, color=FAINT, linewidth=1)
        for line in _ours_last(lines):
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
        name_lines(axes, [(line.xs[-1], line.ys[-1], line.look) for line in lines], height)
        text = "; ".join(
            f"{line.look.label}: {line.ys[0]:.3g} at {line.xs[0]:g}, {line.ys[-1]:.3g} at "
            f"{line.xs[-1]:g}"
            for line in lines
        )
        return svg_text(figure, f"{y} by {x}. {text}.", name)


def _ours_last(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.look.ours)


def _number(results: Results, kind: str) -> int:
    return corruption_kinds(results).index(kind)

"""The rows of the page's tables, formatted; the template only sets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tgqformer.comparison.report.drawing import CORRUPTIONS, Look, corruption_kinds, looks
from tgqformer.comparison.report.standing import (
    COMPARED,
    chosen_cells,
    figure_of,
    gain_over,
    interval,
    label,
    names,
    ranked,
)
from tgqformer.comparison.report.words import (
    gain_points,
    gain_relative,
    rate,
    short_count,
    value_and_bounds,
)
from tgqformer.comparison.results import VARIANTS, Figure, GateResult, Results
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.figures import drawing, svg_text

SEVERITY = 0.75
"""Where the share of the clean figure that is kept is told."""


def headline_rows(
    results: Results, catalog: str, metrics: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    """A row for each compared method, best first; those without figures at the end."""
    order = ranked(results, catalog, metric)
    best = {m: _best(results, order, catalog, m) for m in metrics}
    rows = []
    for name in [*order, *(n for n in names(results, COMPARED) if n not in order)]:
        cells = []
        for m in metrics:
            figure = figure_of(results, name, catalog, m)
            gain = gain_over(results, name, catalog, m)
            value, bounds = shown(figure)
            cells.append(
                {
                    "value": value,
                    "bounds": bounds,
                    "best": figure is not None and figure.value == best[m],
                    "gain": "" if gain is None else gain_points(gain),
                }
            )
        rows.append(
            {
                "name": label(results, name),
                "note": results.methods[name].note,
                "ours": name == results.ours,
                "state": "" if name in order else state(results, name),
                "cells": cells,
            }
        )
    return rows


def gain_rows(
    results: Results, catalog: str, metrics: Sequence[str], rival: str
) -> list[tuple[str, str, str]]:
    """(figure, points ahead, relative gain) of ours over one rival."""
    found = [(m, gain_over(results, rival, catalog, m)) for m in metrics]
    return [
        (metric_label(m), gain_points(gain), gain_relative(gain))
        for m, gain in found
        if gain is not None
    ]


def tuning_rows(results: Results) -> list[dict[str, Any]]:
    """What was tuned for each method and how much, and what it costs."""
    rows = []
    for name, method in results.methods.items():
        if method.group == "condition":
            continue
        tried = sorted(method.sweep.items(), key=lambda one: float(one[0]))
        steps = method.steps_to_90
        rows.append(
            {
                "name": method.label,
                "ours": name == results.ours,
                "variant": method.group in VARIANTS,
                "rate": "–" if method.learning_rate is None else rate(method.learning_rate),
                "sweep": [
                    (
                        rate(float(one)),
                        f"{100 * value:.1f}",
                        method.learning_rate is not None and float(one) == method.learning_rate,
                    )
                    for one, value in tried
                ],
                "seeds": len(chosen_cells(results, name)),
                "state": state(results, name),
                "steps_to_90": _span(steps),
                "tokens": _count(method.visual_tokens),
                "multiply_adds": _short(method.multiply_adds),
                "trained": _short(method.trained_parameters),
            }
        )
    return rows


def kept_rows(results: Results, metric: str) -> list[dict[str, Any]]:
    """The share of the clean figure that each method keeps at SEVERITY, for each kind."""
    kinds = corruption_kinds(results)
    rows = []
    for name in names(results):
        cells = [kept(results, name, kind, metric) for kind in kinds]
        if any(cell is not None for cell in cells):
            gains = {
                p.kind: gain_points(p.gain[metric])
                for p in results.methods[name].robustness
                if p.severity == SEVERITY and metric in p.gain
            }
            rows.append(
                {
                    "name": label(results, name),
                    "ours": name == results.ours,
                    "cells": [
                        ("–", "", "")
                        if c is None
                        else (f"{100 * c[0]:.0f} %", f"{100 * c[1]:.1f} left", gains.get(kind, ""))
                        for c, kind in zip(cells, kinds)
                    ],
                    "order": (cells[-1] or (0.0, 0.0))[1],
                }
            )
    return sorted(rows, key=lambda row: -row["order"])


def kept(results: Results, name: str, kind: str, metric: str) -> tuple[float, float] | None:
    """(share of the clean figure that is kept at SEVERITY, the figure there)."""
    at = {
        p.severity: p.metrics[metric].value
        for p in results.methods[name].robustness
        if p.kind == kind and metric in p.metrics
    }
    if not at.get(0.0) or SEVERITY not in at:
        return None
    return at[SEVERITY] / at[0.0], at[SEVERITY]


def gate_rows(results: Results) -> list[dict[str, Any]]:
    """What the gates of ours say: each corruption at its strongest, and every other condition."""
    method = results.methods.get(results.ours)
    gates = method.gates if method else ()
    worst = {gate.condition: gate.severity for gate in sorted(gates, key=lambda g: g.severity)}
    return [
        {
            "condition": _condition(gate),
            "cells": [
                ("–", "")
                if one is None
                else (f"{one.mean:+.3f}", f"± {one.spread:.3f}, |·| {one.magnitude:.3f}")
                for one in (gate.anchored, gate.exploratory, gate.agreement)
            ],
        }
        for gate in gates
        if gate.severity == worst[gate.condition]
    ]


def weight_table(results: Results) -> dict[str, Any]:
    """How much each part of ours counts, by condition; {} where nothing weighs them."""
    method = results.methods.get(results.ours)
    gates = [gate for gate in (method.gates if method else ()) if gate.weights]
    if not gates:
        return {}
    worst = {gate.condition: gate.severity for gate in sorted(gates, key=lambda g: g.severity)}
    parts = list(gates[0].weights)
    rows = [
        {
            "condition": _condition(gate),
            "cells": [
                (f"{one.mean:.2f}", f"± {one.spread:.2f}")
                for one in (gate.weights[part] for part in parts)
            ],
        }
        for gate in gates
        if gate.severity == worst[gate.condition]
    ]
    return {"parts": parts, "rows": rows}


def _condition(gate: GateResult) -> str:
    name = CORRUPTIONS.get(gate.condition, gate.condition)
    return f"{name}, severity {gate.severity:g}" if gate.severity else name


def state(results: Results, name: str) -> str:
    """ "pending", "2 of 3 runs", "failed", or "" where all of a method is done."""
    if results.methods[name].group in ("frozen", "condition"):
        return "" if results.methods[name].catalogs else "pending"
    cells = [cell for cell in results.cells if cell.method == name]
    done = sum(cell.state == "done" for cell in cells)
    failed = sum(cell.state == "failed" for cell in cells)
    if not cells or not done:
        return "failed" if failed else "pending"
    if done == len(cells):
        return ""
    return f"{done} of {len(cells)} runs" + (f", {failed} failed" if failed else "")


def shown(figure: Figure | None) -> tuple[str, str]:
    """("85.1", "[82.9, 87.0]"); a dash where nothing is measured."""
    return ("–", "") if figure is None else value_and_bounds(interval(figure))


def _best(results: Results, order: Sequence[str], catalog: str, metric: str) -> float | None:
    found = [figure_of(results, name, catalog, metric) for name in order]
    return max((figure.value for figure in found if figure is not None), default=None)


def _span(steps: Sequence[int]) -> str:
    if not steps:
        return "–"
    mean = round(sum(steps) / len(steps))
    return f"{mean:,}" if min(steps) == max(steps) else f"{mean:,} ({min(steps):,}–{max(steps):,})"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _short(value: int | None) -> str:
    return "–" if value is None else short_count(value)


# -- cost ------------------------------------------------------------------------------------------
# Quality against cost: one point for each method, its name beside it.


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

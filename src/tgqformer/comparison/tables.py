"""The rows of the page's tables, formatted; the template only sets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tgqformer.comparison.results import VARIANTS, Figure, GateResult, Results
from tgqformer.comparison.standing import (
    COMPARED,
    CORRUPTIONS,
    chosen_cells,
    corruption_kinds,
    figure_of,
    gain_over,
    gain_points,
    gain_relative,
    interval,
    label,
    loss_from,
    names,
    ranked,
    rate,
    short_count,
    signed,
    value_and_bounds,
)
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.intervals import Interval

SEVERITY = 0.75
"""Where the share of the clean figure that is kept is told."""
_MOST_GROUPS = 12
_GROUP_ORDER = {"clean": 0, "overlay": 1, "clutter": 2, "heavy": 3, "mislabelled": 4}
# Teal on white, light enough for dark text on all of it.
_COLD, _WARM = (255, 255, 255), (126, 200, 186)


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
            value, bounds = _shown(figure)
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
                "state": "" if name in order else _state(results, name),
                "cells": cells,
            }
        )
    return rows


def _best(results: Results, order: Sequence[str], catalog: str, metric: str) -> float | None:
    found = [figure_of(results, name, catalog, metric) for name in order]
    return max((figure.value for figure in found if figure is not None), default=None)


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
                "state": _state(results, name),
                "steps_to_90": _span(steps),
                "tokens": _count(method.visual_tokens),
                "multiply_adds": _short(method.multiply_adds),
                "trained": _short(method.trained_parameters),
            }
        )
    return rows


def _span(steps: Sequence[int]) -> str:
    if not steps:
        return "–"
    mean = round(sum(steps) / len(steps))
    return f"{mean:,}" if min(steps) == max(steps) else f"{mean:,} ({min(steps):,}–{max(steps):,})"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _short(value: int | None) -> str:
    return "–" if value is None else short_count(value)


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


def breakdown_table(
    results: Results, catalog: str, dimension: str, metric: str
) -> dict[str, Any] | None:
    """Methods by groups of queries, each cell tinted by its figure; None where nothing is told."""
    order = ranked(results, catalog, metric)
    found = {n: results.methods[n].catalogs[catalog].breakdown.get(dimension, {}) for n in order}
    queries = {g: one.queries for groups in found.values() for g, one in groups.items()}
    if not queries:
        return None
    groups = sorted(queries, key=lambda g: (_GROUP_ORDER.get(g, 9), -queries[g], g))
    if len(groups) > _MOST_GROUPS:
        groups = sorted(queries, key=lambda g: (-queries[g], g))[:_MOST_GROUPS]
    values = {
        (n, g): one.metrics[metric]
        for n in order
        for g in groups
        if (one := found[n].get(g)) is not None and metric in one.metrics
    }
    shares = [figure.value for figure in values.values()]
    if not shares:
        return None
    best = {g: max((f.value for (_, h), f in values.items() if h == g), default=0) for g in groups}
    return {
        "groups": [(g, queries[g]) for g in groups],
        "more": len(queries) - len(groups),
        "rows": [
            {
                "name": label(results, n),
                "ours": n == results.ours,
                "cells": [
                    _heat(values.get((n, g)), min(shares), max(shares), best[g]) for g in groups
                ],
            }
            for n in order
        ],
    }


def _heat(figure: Figure | None, low: float, high: float, best: float) -> dict[str, Any]:
    if figure is None:
        return {"value": "–", "bounds": "", "colour": "", "best": False}
    value, bounds = value_and_bounds(interval(figure))
    warm = (figure.value - low) / (high - low) if high > low else 0.5
    colour = "#" + "".join(f"{round(c + warm * (w - c)):02x}" for c, w in zip(_COLD, _WARM))
    return {"value": value, "bounds": bounds, "colour": colour, "best": figure.value == best}


def ablation_rows(results: Results, catalog: str, metric: str) -> list[dict[str, Any]]:
    """Each variant of ours: its figure, how far it lies from the full method, and a bar."""
    full = figure_of(results, results.ours, catalog, metric)
    gains = {
        name: gain
        for name in names(results, VARIANTS)
        if (gain := gain_over(results, name, catalog, metric)) is not None
    }
    first = catalog == next(iter(results.catalogs))
    if full is None or not names(results, VARIANTS) or not (gains or first):
        return []
    ends = [
        edge
        for gain in gains.values()
        for edge in (gain.absolute.value, gain.absolute.low, gain.absolute.high)
        if edge is not None
    ]
    low, high = min([0.0, *(-edge for edge in ends)]), max([0.0, *(-edge for edge in ends)])
    rows: list[dict[str, Any]] = [
        {
            "name": label(results, results.ours),
            "note": "the full method",
            "group": "ours",
            "value": _shown(full),
            "delta": "",
            "bar": None,
        }
    ]
    for name in names(results, VARIANTS):
        method, gain = results.methods[name], gains.get(name)
        rows.append(
            {
                "name": method.label,
                "note": method.note,
                "group": method.group,
                "value": _shown(figure_of(results, name, catalog, metric)),
                "delta": _state(results, name)
                if gain is None
                else signed(loss_from(gain)) + gain.mark,
                "bar": None if gain is None else _bar(loss_from(gain), low, high, gain.apart),
            }
        )
    return rows


def _bar(delta: Interval, low: float, high: float, apart: bool) -> dict[str, Any]:
    """Places in percent of the cell's width."""
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    left, right = sorted((place(0.0), place(delta.value)))
    whisker = None
    if delta.low is not None and delta.high is not None:
        whisker = (place(delta.low), round(place(delta.high) - place(delta.low), 2))
    return {
        "zero": place(0.0),
        "left": left,
        "width": round(right - left, 2),
        "whisker": whisker,
        "kind": ("better" if delta.value > 0 else "worse") if apart else "unclear",
    }


def _state(results: Results, name: str) -> str:
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


def _shown(figure: Figure | None) -> tuple[str, str]:
    """("85.1", "[82.9, 87.0]"); a dash where nothing is measured."""
    return ("–", "") if figure is None else value_and_bounds(interval(figure))

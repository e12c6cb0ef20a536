"""Tables with a picture in them: groups of queries as a heat map, ablations with bars."""

from __future__ import annotations

from typing import Any

from tgqformer.comparison.report.standing import (
    figure_of,
    gain_over,
    interval,
    label,
    loss_from,
    names,
    ranked,
)
from tgqformer.comparison.report.tables import shown, state
from tgqformer.comparison.report.words import signed, value_and_bounds
from tgqformer.comparison.results import VARIANTS, Figure, Results
from tgqformer.evaluation.intervals import Interval

_MOST_GROUPS = 12
_GROUP_ORDER = {"clean": 0, "overlay": 1, "clutter": 2, "heavy": 3, "mislabelled": 4}
# Teal on white, light enough for dark text on all of it.
_COLD, _WARM = (255, 255, 255), (126, 200, 186)


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
            "value": shown(full),
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
                "value": shown(figure_of(results, name, catalog, metric)),
                "delta": state(results, name)
                if gain is None
                else signed(loss_from(gain)) + gain.mark,
                "bar": None if gain is None else _bar(loss_from(gain), low, high, gain.apart),
            }
        )
    return rows


def _heat(figure: Figure | None, low: float, high: float, best: float) -> dict[str, Any]:
    if figure is None:
        return {"value": "–", "bounds": "", "colour": "", "best": False}
    value, bounds = value_and_bounds(interval(figure))
    warm = (figure.value - low) / (high - low) if high > low else 0.5
    colour = "#" + "".join(f"{round(c + warm * (w - c)):02x}" for c, w in zip(_COLD, _WARM))
    return {"value": value, "bounds": bounds, "colour": colour, "best": figure.value == best}


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

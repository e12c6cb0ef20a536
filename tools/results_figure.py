"""The figure of a comparison on docs/results.md: a dot with its interval for every method."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tgqformer.comparison.results import Results
from tgqformer.comparison.standing import figure_of, label, ranked

METRIC = "hit@10"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tgqformer",
    "font.family": "sans-serif",
    "font.size": 8,
}
ACROSS = 3
NAMES, PANEL, BETWEEN, ROW, AROUND = 2.3, 1.7, 0.25, 0.19, 0.62  # inches
OURS, FULL, PUBLISHED, FROZEN, LINE = "#00796b", "#3f51b5", "#c56a00", "#6b7280", "#e3e5e8"


def draw(results: Results, methods: Sequence[str]) -> str:
    """The figure as SVG: a panel for each catalog, a row for each method, best first.

    The same results give the same bytes with one version of matplotlib.
    """
    catalogs = list(results.catalogs)
    first = ranked(results, catalogs[0], METRIC, tuple({results.methods[n].group for n in methods}))
    order = [name for name in first if name in methods]
    order += [name for name in methods if name not in order]
    bands = ceil(len(catalogs) / ACROSS)
    band = AROUND + ROW * len(order)
    height = band * bands
    width = NAMES + min(len(catalogs), ACROSS) * (PANEL + BETWEEN)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasSVG(figure)
        for number, catalog in enumerate(catalogs):
            column, row = number % ACROSS, number // ACROSS
            left = (NAMES + column * (PANEL + BETWEEN)) / width
            bottom = 1 - (row * band + 0.24 + ROW * len(order)) / height
            place = (left, bottom, PANEL / width, ROW * len(order) / height)
            axes = figure.add_axes(place)
            _panel(axes, results, catalog, order, named=column == 0)
        out = io.StringIO()
        told = {"Date": None, "Description": described(results, order)}
        figure.savefig(out, format="svg", metadata=told)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _panel(
    axes: Axes, results: Results, catalog: str, order: Sequence[str], *, named: bool
) -> None:
    ends: list[float] = []
    for row, name in enumerate(order):
        found = figure_of(results, name, catalog, METRIC)
        if found is None:
            continue
        low, high = found.low, found.high
        bounds = [100 * (found.value if one is None else one) for one in (low, high)]
        colour = _colour(results, name)
        axes.plot(bounds, [row, row], color=colour, linewidth=1.6, alpha=0.5)
        axes.plot([100 * found.value], [row], color=colour, marker="o", markersize=4)
        ends += bounds
    if results.ours in order:
        row = order.index(results.ours)
        axes.axhspan(row - 0.5, row + 0.5, color=LINE, alpha=0.5, linewidth=0)
    labels = [label(results, name) for name in order]
    axes.set_yticks(range(len(order)), labels if named else [""] * len(order))
    axes.set_ylim(len(order) - 0.5, -0.5)
    if ends:
        axes.set_xlim(max(0, floor(min(ends)) - 1), min(100, ceil(max(ends)) + 1))
    axes.set_title(f"{catalog}, H@10 in percent", fontsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _colour(results: Results, name: str) -> str:
    group = results.methods[name].group
    if name == results.ours:
        return OURS
    if group == "frozen":
        return FROZEN
    return FULL if name.endswith("_full") else PUBLISHED


def described(results: Results, order: Sequence[str]) -> str:
    """All that the figure shows, as text."""
    rows = []
    for catalog in results.catalogs:
        for name in order:
            found = figure_of(results, name, catalog, METRIC)
            if found is not None:
                bounds = [found.value, found.low, found.high]
                told = "/".join("–" if one is None else f"{100 * one:.2f}" for one in bounds)
                rows.append(f"{catalog}, {label(results, name)}: {told}")
    return "; ".join(rows)


def same_figure(old: str, new: str) -> bool:
    """Whether two figures are one; of two versions of matplotlib, whether they say the same."""
    versions = [re.findall(r"Matplotlib v([\w.]+)", text)[:1] for text in (old, new)]
    if versions[0] == versions[1]:
        return old == new
    told = [
        re.findall(r"<dc:description>(.*?)</dc:description>", text, re.S) for text in (old, new)
    ]
    return bool(told[0]) and told[0] == told[1]

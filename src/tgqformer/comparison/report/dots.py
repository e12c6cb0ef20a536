"""Dots with whiskers: what each method reaches, and how far ours is ahead of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tgqformer.comparison.report.drawing import LONGEST
from tgqformer.comparison.report.standing import figure_of, gain_over, ranked
from tgqformer.comparison.report.words import relative_percent
from tgqformer.comparison.results import Results
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.report.drawing import (
    FAINT,
    INK,
    MARKERS,
    SERIES,
    drawing,
    legend_above,
    plain,
    svg_text,
)

_ROW = 0.24  # inches


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
            figure, f"Figures on {catalog}, percent. {text}.", f"hits-{_number(results, catalog)}"
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
        return svg_text(figure, description, f"gains-{_number(results, catalog)}")


def _whisker(axes: Any, row: float, one: Interval, colour: str) -> None:
    if one.low is not None and one.high is not None:
        axes.hlines(row, 100 * one.low, 100 * one.high, colour, linewidth=2, alpha=0.5)


def _name_rows(axes: Any, results: Results, order: Sequence[str]) -> None:
    labels = [plain(results.methods[name].label, LONGEST) for name in order]
    axes.set_yticks(range(len(order)), labels)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for name, tick in zip(order, axes.get_yticklabels()):
        if name == results.ours:
            tick.set_fontweight("bold")
            axes.axhspan(
                order.index(name) - 0.5, order.index(name) + 0.5, color=FAINT, alpha=0.3, lw=0
            )


def _number(results: Results, catalog: str) -> int:
    return list(results.catalogs).index(catalog)

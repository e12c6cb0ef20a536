"""The figures of one evaluation: the training curve, and dots with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.report.drawing import (
    DASHES,
    MARKERS,
    SERIES,
    drawing,
    legend_above,
    plain,
    svg_text,
)


def curve_figure(
    curve: Sequence[Mapping[str, Any]],
    metric: str,
    levels: Mapping[str, float],
    models: Sequence[str] = (),
) -> str:
    """Training loss and, below it, `metric` on the validation sample, by step; "" without both.

    Args:
        curve: rows with "step" and any of "loss", `metric` and "visual_" + `metric`, the last two
            with or without "eval_" before them; other keys are ignored.
        levels: name -> value of `metric` (0..1) of a reference on the same sample, drawn dashed.
        models: names in the page's order of colours; a level of such a name takes its colour.
    """
    loss = _series(curve, "loss")
    hits = {
        "whole model": _series(curve, metric),
        "visual tokens alone": _series(curve, f"visual_{metric}"),
    }
    hits = {name: points for name, points in hits.items() if points}
    panels = [panel for panel, there in (("loss", loss), ("hits", hits)) if there]
    if not panels:
        return ""
    with drawing(height=2.1 * len(panels) + 0.3) as figure:
        axes = dict(zip(panels, figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]))
        if loss:
            axes["loss"].plot(*zip(*loss), color=SERIES[0], linewidth=1.6)
            axes["loss"].set_ylabel("training loss")
        if hits:
            for number, (name, points) in enumerate(hits.items()):
                steps, values = zip(*points)
                axes["hits"].plot(
                    steps,
                    [100 * v for v in values],
                    color=SERIES[-number],
                    marker=MARKERS[number],
                    markersize=4,
                    linewidth=1.6,
                    label=name,
                )
            for number, (name, level) in enumerate(levels.items()):
                style = DASHES[number % len(DASHES)]
                place = models.index(name) if name in models else number + 3
                colour = SERIES[place % len(SERIES)]
                axes["hits"].axhline(
                    100 * level, color=colour, linestyle=style, label=plain(name, 44)
                )
            axes["hits"].set_ylim(bottom=0)
            axes["hits"].set_ylabel(f"{metric_label(metric)}, validation, %")
            if len(hits) + len(levels) > 1:
                legend_above(axes["hits"])
        axes[panels[-1]].set_xlabel("step")
        text = [f"Training curve over {len(loss) or len(curve)} log entries."]
        for name, points in hits.items():
            step, best = max(points, key=lambda point: point[1])
            text.append(f"{metric_label(metric)} of the {name}: best {best:.1%} at step {step:g}.")
        text += [f"{name}: {level:.1%}." for name, level in levels.items()]
        return svg_text(figure, " ".join(text), "curve")


def interval_figure(rows: Mapping[str, Mapping[str, Interval]], label: str, name: str) -> str:
    """Dots with 95 % intervals, in percent: row -> model -> interval, every model in every row.

    Args:
        label: what is shown, for those who cannot see it.
        name: tells this figure's SVG ids from those of others on the page.
    """
    models = list(next(iter(rows.values())))
    with drawing(height=0.75 + len(rows) * (0.13 + 0.15 * len(models))) as figure:
        axes = figure.subplots()
        for number, model in enumerate(models):
            colour = SERIES[number % len(SERIES)]
            offset = (number - (len(models) - 1) / 2) * min(0.22, 0.8 / len(models))
            found = {height + offset: row[model] for height, row in enumerate(rows.values())}
            for height, one in found.items():
                if one.low is not None and one.high is not None:
                    axes.hlines(
                        height, 100 * one.low, 100 * one.high, colour, linewidth=2, alpha=0.55
                    )
            axes.plot(
                [100 * one.value for one in found.values()],
                list(found),
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                linestyle="",
                label=plain(model, 44),
            )
        axes.set_yticks(range(len(rows)), [plain(row) for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(left=0)
        legend_above(axes)
        text = "; ".join(
            f"{row}: " + ", ".join(f"{m} {100 * i.value:.1f}" for m, i in intervals.items())
            for row, intervals in rows.items()
        )
        return svg_text(figure, f"{label}, percent. {text}.", name)


def _series(curve: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    keys = (key, f"eval_{key}")
    return [
        (float(row["step"]), float(row[k]))
        for row in curve
        for k in keys
        if "step" in row and isinstance(row.get(k), (int, float)) and math.isfinite(row[k])
    ]

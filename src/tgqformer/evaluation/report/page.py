"""From evaluations to one HTML file that needs nothing else: no script, no request, no font."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tgqformer.errors import ConfigError
from tgqformer.evaluation.compare import compare, hangs_on_ties, metric_label, percent, points
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.report.figures import curve_figure, interval_figure
from tgqformer.evaluation.report.gallery import GalleryRow
from tgqformer.evaluation.report.template import write_page
from tgqformer.evaluation.result import Evaluation

_MOST_ROWS = 24
_TITLES = {
    "category": "By category of the query",
    "noise": "By noise of the query",
    "faults": "By faults of the query's metadata",
    "missing": "By what the query lacks",
    "history": "By whether the query was seen in training",
    "interactions": "By how often the query was seen in training",
}


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    evaluations: Sequence[Evaluation],
    headline: str = "hit@10",
    metrics: Sequence[str] | None = None,
    curve: Sequence[Mapping[str, Any]] | None = None,
    levels: Mapping[str, float] | None = None,
    gallery: Sequence[GalleryRow] = (),
    facts: Mapping[str, object] | None = None,
    intro: str = "",
    next_steps: Sequence[str] = (),
    samples: int = 1000,
    seed: int = 0,
) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the .html file to make.
        evaluations: the trained model first, its reference points after it; same queries, same
            pool.
        headline: the figure of the summary, the curve and the breakdown.
        metrics: columns of the table; None takes hit@K for each K, mrr and map@r.
        curve: the training log, see `curve_figure`.
        levels: name -> `headline` (0..1) of references on the curve's own validation sample.
        gallery: see `gallery_rows`.
        facts: name -> value, shown at the end: items, steps, time, versions.
        intro: a sentence or two under the title.
        next_steps: commands to try next.
        samples, seed: of the paired bootstrap.

    Raises:
        ConfigError: nothing to report, or evaluations that cannot be compared.
        StorageError: the file cannot be written.
    """
    if not evaluations:
        raise ConfigError("there is nothing to report; name at least one evaluation.")
    model = evaluations[0]
    write_page(
        path,
        "report.html",
        title=title,
        intro=intro,
        model=model,
        label=metric_label(headline),
        summary=_summary(evaluations, headline),
        table=_table(evaluations, metrics, samples, seed),
        ties=_ties(evaluations, headline),
        results_figure=interval_figure(_by_metric(evaluations, metrics), "All figures", "results"),
        curve_figure=curve_figure(
            curve or (), headline, levels or {}, [e.name for e in evaluations]
        ),
        breakdowns=[_breakdown(evaluations, headline, name) for name in model.breakdown],
        gallery=gallery,
        facts=[(name, str(value)) for name, value in (facts or {}).items()],
        next_steps=next_steps,
    )


def _summary(evaluations: Sequence[Evaluation], headline: str) -> list[dict[str, str]]:
    return [
        {
            "name": e.name,
            "value": f"{100 * e[headline]:.1f}",
            "interval": _range(e.metrics[headline]),
        }
        for e in evaluations
    ]


def _table(
    evaluations: Sequence[Evaluation], metrics: Sequence[str] | None, samples: int, seed: int
) -> dict[str, Any]:
    comparison = compare(evaluations, metrics, samples=samples, seed=seed)
    rows: list[dict[str, Any]] = []
    for name in comparison.names:
        values = [comparison.values[name][m] for m in comparison.metrics]
        rows.append(
            {"name": name, "gap": False, "cells": [_cell(value) for value in values]},
        )
        if name in comparison.differences:
            gaps = [points(comparison.differences[name][m]) for m in comparison.metrics]
            rows.append(
                {
                    "name": f"{comparison.names[0]} ahead by",
                    "gap": True,
                    "cells": [gap.partition(" ")[::2] for gap in gaps],
                }
            )
    return {
        "columns": [metric_label(metric) for metric in comparison.metrics],
        "rows": rows,
        "caption": comparison.caption(),
    }


def _by_metric(
    evaluations: Sequence[Evaluation], metrics: Sequence[str] | None
) -> dict[str, dict[str, Interval]]:
    columns = metrics or [*(f"hit@{k}" for k in evaluations[0].ks), "mrr", "map@r"]
    return {
        metric_label(metric): {e.name: e.metrics[metric] for e in evaluations} for metric in columns
    }


def _ties(evaluations: Sequence[Evaluation], headline: str) -> list[str]:
    """A sentence for each model whose headline figure hangs on the order of equal scores."""
    found = []
    for e in evaluations:
        if hangs_on_ties(e, headline):
            low, high = e.bounds[headline]
            found.append(
                f"{e.name}: {100 * e.ties['share']:.0f} % of its targets score exactly the same as "
                f"other items. {metric_label(headline)} is the mean over all orders of these; it "
                f"lies between {100 * low:.1f} (ties against it) and {100 * high:.1f} (for it)."
            )
    return found


def _breakdown(evaluations: Sequence[Evaluation], headline: str, name: str) -> dict[str, Any]:
    groups = evaluations[0].breakdown[name]
    shown = list(groups)[:_MOST_ROWS]
    parts = {
        value: {e.name: e.breakdown[name][value].metrics[headline] for e in evaluations}
        for value in shown
    }
    return {
        "title": _TITLES.get(name, name),
        "heading": name,
        "models": [e.name for e in evaluations],
        "rows": [
            {
                "value": value,
                "queries": groups[value].queries,
                "cells": [_cell(interval) for interval in intervals.values()],
            }
            for value, intervals in parts.items()
        ],
        "more": len(groups) - len(shown),
        "figure": interval_figure(parts, metric_label(headline), f"by-{name}"),
    }


def _cell(interval: Interval) -> tuple[str, str]:
    value, _, bounds = percent(interval).partition(" ")
    return value, bounds


def _range(interval: Interval) -> str:
    return _cell(interval)[1].strip("[]").replace(", ", " – ")

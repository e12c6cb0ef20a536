"""From results to one HTML file that needs nothing else: no script, no request, no font."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tgqformer.comparison.figures import (
    GATE_PARTS,
    cost_figure,
    gains_figure,
    gate_figure,
    hits_figure,
    learning_figure,
    robustness_figure,
)
from tgqformer.comparison.readings import (
    ablation_reading,
    breakdown_reading,
    cost_reading,
    gains_reading,
    gates_reading,
    headline_reading,
    learning_reading,
    robustness_reading,
)
from tgqformer.comparison.results import MARKS, Results
from tgqformer.comparison.standing import (
    CORRUPTIONS,
    corruption_kinds,
    duration,
    figure_of,
    gain_over,
    gain_points,
    gain_relative,
    headline,
    interval,
    label,
    metric_columns,
    names,
    rate,
    strongest,
    value_and_bounds,
)
from tgqformer.comparison.tables import (
    SEVERITY,
    ablation_rows,
    breakdown_table,
    gain_rows,
    gate_rows,
    headline_rows,
    kept_rows,
    tuning_rows,
    weight_table,
)
from tgqformer.errors import ConfigError
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.figures import write_page
from tgqformer.evaluation.report import Disagreements

_PACKAGE = "tgqformer.comparison"
_DIMENSIONS = {
    "noise": "by what is wrong with the query",
    "faults": "by what is wrong with the query's metadata",
    "missing": "by what the query lacks",
    "category": "by category of the query",
    "history": "by whether the query was seen in training",
    "interactions": "by how often the query was seen in training",
}


def write_comparison_report(
    results: Results,
    path: str | os.PathLike[str],
    *,
    gallery: Sequence[Disagreements] = (),
) -> None:
    """Write the page, whole or not at all; a comparison that is still under way gives one too.

    Args:
        results: of a comparison; what is not measured yet is shown as such or left out.
        path: the .html file to make.
        gallery: where ours and a rival part, one for each catalog that is to be shown.

    Raises:
        ConfigError: the results name no method or no catalog.
        StorageError: the file cannot be written.
    """
    if not results.methods or not results.catalogs:
        raise ConfigError(
            f"there is nothing to report: {len(results.methods)} methods and "
            f"{len(results.catalogs)} catalogs; name at least one of each."
        )
    metric, columns = headline(results), metric_columns(results)
    trained = [n for n in names(results) if results.methods[n].group != "frozen"]
    write_page(
        path,
        "comparison.html",
        packages=(_PACKAGE,),
        title=f"{label(results, results.ours)} against {_others(results)}",
        results=results,
        label=metric_label(metric),
        validation=metric_label(results.metric),
        columns=[metric_label(m) for m in columns],
        ours=label(results, results.ours),
        marks=MARKS,
        rates=[rate(one) for one in results.sweep],
        states={s: sum(c.state == s for c in results.cells) for s in ("done", "failed", "pending")},
        failed=[(label(results, c.method), c) for c in results.cells if c.state == "failed"],
        cards=[_card(results, name, metric) for name in results.catalogs],
        catalogs=[_catalog(results, name, columns, metric) for name in results.catalogs],
        tuning=tuning_rows(results),
        learning={
            "figure": learning_figure(results, trained, metric),
            "reading": learning_reading(results, trained, metric),
        },
        robustness=_robustness(results, metric),
        cost=_cost(results, metric),
        gates=_gates(results),
        breakdowns=_breakdowns(results, metric),
        gallery=gallery,
        ablations=[
            {"catalog": name, "rows": rows, "reading": ablation_reading(results, name, metric)}
            for name in results.catalogs
            if (rows := ablation_rows(results, name, metric))
        ],
        cells=_cells(results),
    )


def _others(results: Results) -> str:
    count = len([n for n in names(results) if n != results.ours])
    return "nothing yet" if not count else f"{count} other method{'s' if count > 1 else ''}"


def _card(results: Results, catalog: str, metric: str) -> dict[str, str]:
    ours, rival = (
        figure_of(results, results.ours, catalog, metric),
        strongest(results, catalog, metric),
    )
    other = figure_of(results, rival, catalog, metric) if rival else None
    gain = gain_over(results, rival, catalog, metric) if rival else None
    value, bounds = ("–", "") if ours is None else value_and_bounds(interval(ours))
    return {
        "catalog": catalog,
        "value": value,
        "bounds": bounds.strip("[]").replace(", ", " – "),
        "rival": "" if rival is None or other is None else label(results, rival),
        "other": "" if other is None else f"{100 * other.value:.1f}",
        "gain": "" if gain is None else gain_points(gain),
        "relative": "" if gain is None else gain_relative(gain),
    }


def _catalog(results: Results, catalog: str, columns: Sequence[str], metric: str) -> dict[str, Any]:
    rival = strongest(results, catalog, metric)
    return {
        "name": catalog,
        "facts": results.catalogs[catalog],
        "first": catalog == next(iter(results.catalogs)),
        "reading": headline_reading(results, catalog, metric),
        "rows": headline_rows(results, catalog, columns, metric),
        "hits": hits_figure(results, catalog, columns, metric),
        "gains": gains_figure(results, catalog, metric),
        "gains_reading": gains_reading(results, catalog, metric),
        "rival": "" if rival is None else label(results, rival),
        "rival_rows": [] if rival is None else gain_rows(results, catalog, columns, rival),
    }


def _robustness(results: Results, metric: str) -> dict[str, Any]:
    points = [p for n in names(results) for p in results.methods[n].robustness]
    shown = next((m for m in (metric, "hit@10") if any(m in p.metrics for p in points)), metric)
    kinds = corruption_kinds(results)
    panels = [(CORRUPTIONS.get(k, k), robustness_figure(results, k, shown)) for k in kinds]
    return {
        "label": metric_label(shown),
        "panels": [(title, figure) for title, figure in panels if figure],
        "kinds": [CORRUPTIONS.get(kind, kind) for kind in kinds],
        "rows": kept_rows(results, shown),
        "severity": f"{SEVERITY:g}",
        "reading": robustness_reading(results, shown),
        "catalog": next(iter(results.catalogs)),
        "unseen": results.robustness_kinds == "unseen",
    }


def _cost(results: Results, metric: str) -> dict[str, Any]:
    catalog = next(iter(results.catalogs))
    methods = {n: results.methods[n] for n in names(results)}
    compute = {n: m.multiply_adds for n, m in methods.items() if m.multiply_adds}
    trained = {n: m.trained_parameters for n, m in methods.items() if m.trained_parameters}
    untrained = [m.label for n, m in methods.items() if m.group == "frozen" and n not in trained]
    return {
        "catalog": catalog,
        "figures": [
            figure
            for costs, words, name in (
                (compute, "multiply-adds for one item", "compute"),
                (trained, "trained parameters", "trained"),
            )
            if (figure := cost_figure(results, catalog, metric, costs, words, name))
        ],
        "untrained": untrained,
        "reading": cost_reading(results, catalog, metric),
    }


def _gates(results: Results) -> dict[str, Any]:
    return {
        "figures": [figure for part in GATE_PARTS if (figure := gate_figure(results, part))],
        "rows": gate_rows(results),
        "weights": weight_table(results),
        "reading": gates_reading(results),
    }


def _breakdowns(results: Results, metric: str) -> list[dict[str, Any]]:
    return [
        {
            "title": f"{catalog}, {words}",
            "first": catalog == next(iter(results.catalogs)),
            **table,
            "reading": breakdown_reading(results, catalog, dimension, metric),
        }
        for catalog in results.catalogs
        for dimension, words in _DIMENSIONS.items()
        if (table := breakdown_table(results, catalog, dimension, metric)) is not None
    ]


def _cells(results: Results) -> list[dict[str, str]]:
    return [
        {
            "name": label(results, cell.method),
            "rate": rate(cell.learning_rate) if cell.learning_rate else "–",
            "seed": str(cell.seed),
            "state": cell.state + (", chosen" if cell.chosen else ""),
            "time": duration(cell.seconds) if cell.seconds else "–",
            "validation": f"{100 * cell.validation[results.metric]:.1f}"
            if results.metric in cell.validation
            else "–",
            "command": cell.command,
        }
        for cell in results.cells
    ]

"""The tables of a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tgqformer.comparison.report.drawing import CORRUPTIONS, corruption_kinds
from tgqformer.comparison.report.groups import ablation_rows, breakdown_table
from tgqformer.comparison.report.readings import ablation_reading, headline_reading
from tgqformer.comparison.report.standing import headline, metric_columns, strongest
from tgqformer.comparison.report.tables import (
    SEVERITY,
    gain_rows,
    gate_rows,
    headline_rows,
    kept_rows,
    tuning_rows,
    weight_table,
)
from tgqformer.comparison.report.words import rate
from tgqformer.comparison.results import MARKS, Results
from tgqformer.evaluation.compare import metric_label


def write_markdown(results: Results) -> str:
    """All tables as GitHub-flavoured Markdown, in percent; ends with a newline.

    Sections without figures are left out, so that a comparison under way can be shown too.
    """
    metric, columns = headline(results), metric_columns(results)
    parts: list[str] = []
    for catalog, facts in results.catalogs.items():
        parts += [
            f"### {_text(catalog)}",
            f"{facts.queries:,} queries, pool of {facts.pool:,}. "
            + _text(headline_reading(results, catalog, metric)),
            _headline(results, catalog, columns, metric),
        ]
        rival = strongest(results, catalog, metric)
        if rival and (gains := gain_rows(results, catalog, columns, rival)):
            parts += [
                f"Ahead of {_text(results.methods[rival].label)}, paired over queries and seeds "
                f"({MARKS}):",
                _table(["", "points", "relative"], gains),
            ]
    parts += ["### Tuning and cost", _budget(results), _tuning(results)]
    if kept := kept_rows(results, metric):
        kinds = [CORRUPTIONS.get(kind, kind) for kind in corruption_kinds(results)]
        rows = [[_name(r), *(_pair(cell) for cell in r["cells"])] for r in kept]
        which = ", unseen kinds" if results.robustness_kinds == "unseen" else ""
        parts += [
            f"### Share of clean {metric_label(metric)} kept at severity {SEVERITY:g}{which}",
            _table(["method", *kinds], rows),
        ]
    for catalog in results.catalogs:
        for dimension in ("noise", "faults", "missing", "history", "interactions", "category"):
            table = breakdown_table(results, catalog, dimension, metric)
            if table is not None:
                heads = [f"{group} ({queries:,})" for group, queries in table["groups"]]
                rows = [
                    [_name(r), *(_strong(c["value"], c["best"]) for c in r["cells"])]
                    for r in table["rows"]
                ]
                parts += [
                    f"### {metric_label(metric)} by {dimension}, {_text(catalog)}",
                    _table(["method", *heads], rows),
                ]
    if gates := gate_rows(results):
        rows = [[r["condition"], *(_pair(cell) for cell in r["cells"])] for r in gates]
        parts += [
            "### Gates",
            _table(["photos and metadata", "anchored", "exploratory", "agreement"], rows),
        ]
    if weights := weight_table(results):
        rows = [[r["condition"], *(_pair(cell) for cell in r["cells"])] for r in weights["rows"]]
        parts += [
            "### What each part counts",
            _table(["photos and metadata", *weights["parts"]], rows),
        ]
    for catalog in results.catalogs:
        if ablations := ablation_rows(results, catalog, metric):
            rows = [[r["name"], r["note"], _pair(r["value"]), r["delta"]] for r in ablations]
            parts += [
                f"### Ablations, {_text(catalog)}",
                _text(ablation_reading(results, catalog, metric)),
                _table(["variant", "", metric_label(metric), "to the full method"], rows),
            ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(results: Results, catalog: str, columns: Sequence[str], metric: str) -> str:
    rows = []
    for row in headline_rows(results, catalog, columns, metric):
        cells = [f"{_strong(c['value'], c['best'])} {c['bounds']}".strip() for c in row["cells"]]
        gain = row["cells"][list(columns).index(metric)]["gain"]
        rows.append([_name(row), *cells, row["state"] or gain])
    head = ["method", *(metric_label(m) for m in columns), f"ours ahead, {metric_label(metric)}"]
    return _table(head, rows)


def _budget(results: Results) -> str:
    sweep = ", ".join(rate(one) for one in results.sweep)
    seeds = ", ".join(str(seed) for seed in results.seeds)
    return (
        f"Preset {_text(results.preset)}; {results.steps:,} steps; seeds {seeds}; learning rates "
        f"tried for every method with the first seed: {sweep or 'none'}; the best by validation "
        f"{metric_label(results.metric)} is taken."
    )


def _tuning(results: Results) -> str:
    head = ["method", "rate", "sweep: validation", "seeds", "to 90 %", "tokens", "multiply-adds"]
    rows = [
        [
            _name(r),
            r["rate"],
            ", ".join(f"{one}: {value}" for one, value, _ in r["sweep"]) or "–",
            str(r["seeds"]) + (f" ({r['state']})" if r["state"] else ""),
            r["steps_to_90"],
            r["tokens"],
            r["multiply_adds"],
            r["trained"],
        ]
        for r in tuning_rows(results)
    ]
    return _table([*head, "trained parameters"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(_text(cell) for cell in line) + " |" for line in lines)


def _text(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    for sign in "\\`<|":
        line = line.replace(sign, f"\\{sign}")
    return line


def _name(row: dict[str, object]) -> str:
    return _strong(str(row["name"]), bool(row["ours"]))


def _strong(text: str, strong: bool) -> str:
    return f"**{text}**" if strong else text


def _pair(cell: Sequence[str]) -> str:
    return f"{cell[0]} {cell[1]}".strip()

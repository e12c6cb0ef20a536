"""From the cells on disk to `Results`: also from a comparison that is not finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import polars as pl

from tgqformer.comparison import results as r
from tgqformer.comparison import statistics
from tgqformer.comparison.methods import OURS
from tgqformer.comparison.plan import (
    COSTS,
    EVALUATION,
    FACTS,
    GATES,
    ROBUSTNESS,
    Cell,
    Plan,
    cells,
    chosen_rate,
    error,
    is_judged,
    is_trained,
    read_cell,
    read_json,
    steps,
    validation,
)
from tgqformer.errors import ConfigError
from tgqformer.evaluation.result import DIMENSIONS, in_order
from tgqformer.evaluation.robustness import KINDS

FIGURES = ("hit@1", "hit@10", "hit@50", "hit@100", "mrr", "map@r")
PARTS = ("anchored", "exploratory", "agreement")

Tables = dict[int, pl.DataFrame]
"""Seed -> one row for each query, sorted by query."""


def gather(plan: Plan) -> r.Results:
    """Everything that the cells have found so far.

    Raises:
        ConfigError: two methods were asked different queries.
        StorageError, OSError: a cell cannot be read.
    """
    facts = read_json(plan.out / FACTS)
    return r.Results(
        version=r.VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=plan.command(),
        preset=plan.preset,
        overrides=plan.assignments,
        steps=steps(plan),
        seeds=plan.seeds,
        sweep=plan.sweep,
        metric=plan.base.training.metric,
        catalogs={
            name: r.CatalogFacts(
                **{key: facts[name][key] for key in ("items", "queries", "pool")},
                digest=f"{facts[name]['digest']}-{facts[name].get('photos', '')}",
            )
            for name in plan.catalogs
            if name in facts
        },
        methods=_methods(plan),
        cells=tuple(_cell(plan, cell) for method in plan.chosen for cell in cells(plan, method)),
        ours=OURS,
        robustness_kinds=plan.robustness_kinds,
    )


def _cell(plan: Plan, cell: Cell) -> r.CellResult:
    known, why = read_cell(plan, cell), error(plan, cell)
    chosen = chosen_rate(plan, cell.method) == cell.rate
    done = is_judged(plan, cell) if chosen else is_trained(plan, cell)
    state: r.State = "failed" if why is not None else "done" if done else "pending"
    return r.CellResult(
        method=cell.method,
        learning_rate=cell.rate,
        seed=cell.seed,
        state=state,
        seconds=known.get("seconds", 0.0),
        folder=cell.folder.as_posix(),
        chosen=chosen,
        curve=_curve(known),
        validation=known.get("validation", {}),
        command=plan.command(cell),
        error=why or "",
        origin=known.get("origin", {}),
    )


# -- methods -------------------------------------------------------------------------------------


def _methods(plan: Plan) -> dict[str, r.MethodResult]:
    costs = read_json(plan.out / COSTS)
    ours = {name: _tables(plan, OURS, f"test/{name}") for name in plan.catalogs}
    ours_corrupted = _robustness_tables(plan, OURS)
    found = {}
    for name, method in plan.chosen.items():
        rate = chosen_rate(plan, name)
        sweep = [] if method.untrained else [Cell(name, x, plan.seeds[0]) for x in plan.sweep]
        judged = [read_cell(plan, cell) for cell in _winners(plan, name) if not method.untrained]
        found[name] = r.MethodResult(
            label=method.label,
            group=method.group,
            overrides=method.assignments(plan.base),
            note=method.note,
            learning_rate=None if method.untrained else rate,
            sweep={
                repr(cell.rate): validation(plan, cell)
                for cell in sweep
                if is_trained(plan, cell) and np.isfinite(validation(plan, cell))
            },
            **costs.get(name, {}),
            steps_to_90=_steps_to_90(plan, judged),
            catalogs=_catalogs(plan, name, "test/{catalog}", ours),
            robustness=_robustness(_robustness_tables(plan, name), ours_corrupted, name != OURS),
            gates=_gates(plan, name),
        )
        found |= _conditions(plan, name, ours, costs)
    _correct(found.values())
    return found


def _correct(methods: Iterable[r.MethodResult]) -> None:
    """Let `apart` hold for a whole column: a figure's gains over all methods of a table.

    The variants of ours have a table of their own, and each catalog, group of queries and
    corruption has columns of its own.
    """
    columns: dict[tuple[str, bool, tuple[object, ...]], list[dict[str, r.Gain]]] = {}
    for method in methods:
        for place, told in _all_gains(method):
            for metric in told:
                key = metric, method.group in r.VARIANTS, place
                columns.setdefault(key, []).append(told)
    for (metric, *_), column in columns.items():
        for told, gain in zip(column, statistics.correct([each[metric] for each in column])):
            told[metric] = gain


def _all_gains(method: r.MethodResult) -> Iterator[tuple[tuple[object, ...], dict[str, r.Gain]]]:
    """Every table of gains, and where it stands."""
    for catalog, result in method.catalogs.items():
        yield (catalog,), result.gain
        for dimension, groups in result.breakdown.items():
            for value, group in groups.items():
                yield (catalog, dimension, value), group.gain
    for point in method.robustness:
        yield (point.kind, point.severity), point.gain


def _conditions(
    plan: Plan, name: str, ours: dict[str, Tables], costs: dict[str, Any]
) -> dict[str, r.MethodResult]:
    """The trained model of a method, judged with other metadata."""
    return {
        condition: r.MethodResult(
            label=f"{metadata.label}, judged so",
            group="condition",
            overrides=plan.chosen[name].assignments(plan.base),
            note=f"the trained model of ours; {metadata.note}",
            learning_rate=chosen_rate(plan, name),
            **costs.get(name, {}),
            catalogs=_catalogs(plan, name, f"conditions/{condition}/{{catalog}}", ours),
        )
        for condition, metadata in plan.conditions_of(name).items()
    }


def _winners(plan: Plan, method: str) -> list[Cell]:
    rate = chosen_rate(plan, method)
    return [] if rate is None else [c for c in cells(plan, method) if c.rate == rate]


def _curve(known: dict[str, Any]) -> tuple[dict[str, float], ...]:
    """A run's log; of its alignment stage the losses alone, as its figures are another model's."""
    whole = known.get("alignment_steps", 0)
    return tuple(
        line if line["step"] >= whole else {name: line[name] for name in ("step", "loss")}
        for line in known.get("curve", [])
        if line["step"] >= whole or "loss" in line
    )


def _steps_to_90(plan: Plan, judged: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    chosen_by = plan.base.training.metric
    metric = chosen_by if chosen_by in FIGURES else "hit@10"
    found = [statistics.steps_to(0.9, _curve(known), metric) for known in judged]
    return tuple(step for step in found if step is not None)


# -- figures -------------------------------------------------------------------------------------


def _tables(plan: Plan, method: str, part: str) -> Tables:
    """The per-query tables of the seeds that have them; of a frozen method, for every seed."""
    if method not in plan.chosen:
        return {}
    found = {
        cell.seed: pl.read_parquet(plan.path(cell) / part / "queries.parquet").sort("query_id")
        for cell in _winners(plan, method)
        if (plan.path(cell) / part / EVALUATION).is_file()
    }
    if plan.chosen[method].untrained and found:
        return dict.fromkeys(plan.seeds, found[0])
    return found


def _catalogs(
    plan: Plan, method: str, part: str, ours: dict[str, Tables]
) -> dict[str, r.CatalogResult]:
    is_ours = part.startswith("test/") and method == OURS
    found = {}
    for catalog in plan.catalogs:
        tables = _tables(plan, method, part.format(catalog=catalog))
        if not tables:
            continue
        against = {} if is_ours else ours[catalog]
        frozen = plan.chosen[method].untrained
        own = {min(tables): tables[min(tables)]} if frozen else tables
        found[catalog] = r.CatalogResult(
            metrics=_figures(own),
            breakdown=_breakdown(own, tables, against),
            gain=_gain(tables, against),
        )
    return found


def _gain(tables: Tables, ours: Tables) -> dict[str, r.Gain]:
    """Ours minus these, over the seeds that both have."""
    seeds = sorted(tables.keys() & ours.keys())
    if not seeds:
        return {}
    asked = ours[seeds[0]]["query_id"]
    if any(not each[seed]["query_id"].equals(asked) for each in (ours, tables) for seed in seeds):
        raise ConfigError(
            "two methods were asked different queries; the catalog has changed under the "
            "comparison, so choose another --out."
        )
    names = _shared(ours, tables)
    mine, other = (_stack([each[s] for s in seeds], names) for each in (ours, tables))
    return statistics.gains(mine, other, names)


def _breakdown(own: Tables, tables: Tables, ours: Tables) -> dict[str, dict[str, r.GroupResult]]:
    told = [*own.values(), *ours.values()]  # cells of an older version may lack a dimension
    found: dict[str, dict[str, r.GroupResult]] = {}
    for dimension in DIMENSIONS:
        table = next((each for each in told if dimension in each.columns), None)
        if table is None or table[dimension].n_unique() < 2:
            continue
        groups = dict(table.group_by(dimension).agg("query_id").iter_rows())
        order = in_order(dimension, {value: len(asked) for value, asked in groups.items()})
        found[dimension] = {
            value: r.GroupResult(
                len(groups[value]),
                _figures(_only(own, groups[value])),
                _gain(_only(tables, groups[value]), _only(ours, groups[value])),
            )
            for value in order
        }
    return found


def _only(tables: Tables, queries: Sequence[str]) -> Tables:
    known = pl.col("query_id").is_in(queries)
    return {seed: table.filter(known) for seed, table in tables.items()}


def _figures(tables: Tables) -> dict[str, r.Figure]:
    names = _shared(tables)
    return statistics.figures(_stack(tables.values(), names), names)


def _shared(*sides: Tables) -> list[str]:
    """The figures that every table has: one of an older version may lack some."""
    tables = [table for side in sides for table in side.values()]
    return [name for name in FIGURES if all(name in table.columns for table in tables)]


def _stack(tables: Iterable[pl.DataFrame], names: Sequence[str]) -> statistics.Table:
    """[S, M, C]."""
    return np.stack([table.select(names).to_numpy().astype(np.float64) for table in tables])


# -- robustness and gates ------------------------------------------------------------------------


def _robustness_tables(plan: Plan, method: str) -> Tables:
    if method not in plan.chosen:
        return {}
    found = {
        cell.seed: pl.read_parquet(plan.path(cell) / ROBUSTNESS).sort("query_id")
        for cell in _winners(plan, method)
        if (plan.path(cell) / ROBUSTNESS).is_file()
    }
    return dict.fromkeys(plan.seeds, found[0]) if plan.chosen[method].untrained and found else found


def _robustness(tables: Tables, ours: Tables, rival: bool) -> tuple[r.RobustnessResult, ...]:
    if not tables:
        return ()
    first = next(iter(tables.values()))
    levels = sorted(first["severity"].unique().to_list())
    return tuple(
        r.RobustnessResult(
            kind,
            level,
            _figures(_at(tables, kind, level)),
            _gain(_at(tables, kind, level), _at(ours, kind, level)) if rival else {},
        )
        for kind in KINDS
        for level in levels
    )


def _at(tables: Tables, kind: str, level: float) -> Tables:
    known = (pl.col("kind") == (kind if level else "clean")) & (pl.col("severity") == level)
    return {seed: table.filter(known) for seed, table in tables.items()}


def _gates(plan: Plan, method: str) -> tuple[r.GateResult, ...]:
    """Each condition's figures, averaged over the seeds."""
    told: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for cell in _winners(plan, method):
        for row in read_json(plan.path(cell) / GATES) or ():
            told.setdefault((row["condition"], row["severity"]), []).append(row)
    return tuple(_gate(condition, rows) for condition, rows in told.items())


def _gate(condition: tuple[str, float], rows: Sequence[dict[str, Any]]) -> r.GateResult:
    anchored, exploratory, agreement = (_mean([row[name] for row in rows]) for name in PARTS)
    weights = _weights([row.get("weights", {}) for row in rows])
    return r.GateResult(*condition, anchored, exploratory, agreement, weights)


def _weights(rows: Sequence[dict[str, dict[str, float]]]) -> dict[str, r.GateFigure]:
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: _mean([row.get(name) for row in rows]) for name in names}
    return {name: mean for name, mean in found.items() if mean is not None}


def _mean(found: Sequence[dict[str, float] | None]) -> r.GateFigure | None:
    told = [each for each in found if each is not None]
    if not told:
        return None
    names = ("mean", "magnitude", "spread")
    return r.GateFigure(*(float(np.mean([each[name] for each in told])) for name in names))

"""A whole comparison: prepare, train and judge every cell, gather."""

from __future__ import annotations

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.protocols import Vectors
from tgqformer.comparison.gather import gather
from tgqformer.comparison.methods import OURS
from tgqformer.comparison.plan import Cell, Plan
from tgqformer.comparison.report import (
    Disagreements,
    disagreements,
    write_comparison_report,
)
from tgqformer.comparison.report.standing import headline, strongest
from tgqformer.comparison.results import Results
from tgqformer.comparison.schedule import alone, run_cells, run_prepare
from tgqformer.comparison.show import Progress
from tgqformer.comparison.state import (
    COSTS,
    RUN,
    VECTORS,
    cells,
    chosen_rate,
    forget_errors,
    jobs,
    read_json,
)
from tgqformer.errors import ConfigError
from tgqformer.training.run import changed_option

QUICK_METHODS = (
    "tgqformer",
    "qformer_text",
    "qformer_text_full",
    "perceiver",
    "clip_sum",
    "frozen_both",
)
QUICK_ITEMS = 600
QUICK_STEPS = ("training.steps=60", "training.eval_every=15")
QUICK_QUERIES = 60


REPORT = "report.html"


def compare(plan: Plan, *, progress: bool = False) -> Results:
    """Do what is left of a comparison, and write results.json and report.html.

    A comparison that was stopped goes on where it was; one with nothing left to do only gathers.
    Cells that failed before are tried again; those that fail now are told in the results, and do
    not stop the others.

    Raises:
        CatalogError: a catalog cannot be read, or has no pairs.
        ConfigError: an option breaks its rule, the folder holds another comparison or a run of
            another configuration, one is at work in it, or the preparation failed.
        StorageError: the disk refuses.
    """
    with alone(plan.out):
        for path in plan.catalogs.values():
            if not path.is_dir():
                Catalog.load(path)  # let its own error tell
        configured = plan.chosen.keys()
        plan.save()
        _require_same_runs(plan)
        forget_errors(plan)
        if any(True for _ in jobs(plan)) or not configured <= read_json(plan.out / COSTS).keys():
            run_prepare(plan)
        with Progress(plan, show=progress) as report:
            run_cells(plan, report)
        results = gather(plan)
        results.save(plan.out)
        write_comparison_report(results, plan.out / REPORT, gallery=_galleries(plan, results))
    return results


def _require_same_runs(plan: Plan) -> None:
    """A preset may have changed under its name: old runs and new ones are not for one table."""
    trained = [name for name, method in plan.chosen.items() if not method.untrained]
    for cell in [cell for name in trained for cell in cells(plan, name)]:
        if changed := changed_option(plan.path(cell) / RUN, plan.config(cell)):
            name, before, now = changed
            raise ConfigError(
                f"{cell.folder} in {plan.out} was trained with another configuration ({name}: "
                f"{before}, now {now}); remove that folder to train it again, or choose another "
                "--out."
            )


def _galleries(plan: Plan, results: Results) -> list[Disagreements]:
    """Where ours and the strongest other part, on each catalog that both are judged on."""
    found, labels = [], {name: method.label for name, method in results.methods.items()}
    for name, path in plan.catalogs.items():
        rival = strongest(results, name, headline(results))
        if rival is None or OURS not in plan.chosen or rival not in plan.chosen:
            continue
        vectors = [_vectors(plan, method, name) for method in (OURS, rival)]
        if vectors[0] is not None and vectors[1] is not None:
            models = (labels[OURS], labels[rival])
            catalog = Catalog.load(path)
            found.append(disagreements(catalog, vectors[0], vectors[1], name=name, models=models))
    return found


def _vectors(plan: Plan, method: str, catalog: str) -> Vectors | None:
    """Those of the first seed, or of the frozen towers."""
    rate = chosen_rate(plan, method)
    seed = 0 if plan.chosen[method].untrained else plan.seeds[0]
    if rate is None:
        return None
    path = plan.path(Cell(method, rate, seed)) / "test" / catalog / VECTORS
    return np.load(path) if path.is_file() else None

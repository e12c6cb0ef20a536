"""A whole comparison: prepare, train and judge every cell, gather."""

from __future__ import annotations

from tgqformer.catalog.catalog import Catalog
from tgqformer.comparison.gather import gather
from tgqformer.comparison.plan import Plan
from tgqformer.comparison.prepare import COSTS
from tgqformer.comparison.results import Results
from tgqformer.comparison.schedule import alone, run_cells, run_prepare
from tgqformer.comparison.show import Progress
from tgqformer.comparison.state import forget_errors, jobs, read_json

QUICK_METHODS = ("tgqformer", "qformer", "qformer_text", "perceiver", "notellm2", "mlp")
QUICK_ITEMS = 600
QUICK_STEPS = ("training.steps=60", "training.alignment_steps=30", "training.eval_every=15")
QUICK_QUERIES = 60


def compare(plan: Plan, *, progress: bool = False) -> Results:
    """Do what is left of a comparison, and write results.json.

    A comparison that was stopped goes on where it was; one with nothing left to do only gathers.
    Cells that failed before are tried again; those that fail now are told in the results, and do
    not stop the others.

    Raises:
        CatalogError: a catalog cannot be read, or has no pairs.
        ConfigError: an option breaks its rule, the folder holds another comparison or one is at
            work in it, or the preparation failed.
        StorageError: the disk refuses.
    """
    with alone(plan.out):
        for path in plan.catalogs.values():
            if not path.is_dir():
                Catalog.load(path)  # let its own error tell
        configured = plan.chosen
        plan.save()
        forget_errors(plan)
        if any(True for _ in jobs(plan)) or not configured.keys() <= read_json(plan.out / COSTS):
            run_prepare(plan)
        with Progress(plan, show=progress) as report:
            run_cells(plan, report)
        results = gather(plan)
        results.save(plan.out)
    return results


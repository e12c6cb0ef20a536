"""What of a comparison is on disk, and what can be done next.

Everything is read from the folder, so that a comparison which was stopped, or killed, knows where
it was, and one that is done only reads its figures again.
"""

from __future__ import annotations

import json
import math
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tgqformer
from tgqformer.comparison.plan import Cell, Plan
from tgqformer.cores import cores
from tgqformer.training.validation import score

COSTS, FACTS = "costs.json", "catalogs.json"
CELL, ERROR, RUN = "cell.json", "error.txt", "run"
ROBUSTNESS, GATES = "robustness.parquet", "gates.json"
EVALUATION, VECTORS = "evaluation.json", "vectors.npy"


@dataclass(frozen=True)
class Job:
    """A cell, and whether it is to be judged on the test queries after its training."""

    cell: Cell
    judge: bool


def cells(plan: Plan, method: str) -> list[Cell]:
    """The cells of a method that are certain: the sweep, and all seeds once its rate is chosen."""
    if plan.chosen[method].untrained:
        return [Cell(method, 0.0, 0)]
    first, *others = plan.seeds
    sweep = [Cell(method, rate, first) for rate in plan.sweep]
    rate = chosen_rate(plan, method)
    return sweep + ([] if rate is None else [Cell(method, rate, seed) for seed in others])


def chosen_rate(plan: Plan, method: str) -> float | None:
    """The rate with the best validation figure; None while a run of the sweep is not settled.

    The lower of two equal ones. A run that failed is passed over, and one that found no figure
    counts as the worst; where all failed there is none.
    """
    if plan.chosen[method].untrained:
        return 0.0
    if len(plan.sweep) == 1:
        return plan.sweep[0]
    sweep = [Cell(method, rate, plan.seeds[0]) for rate in sorted(plan.sweep)]
    if any(not is_trained(plan, cell) and error(plan, cell) is None for cell in sweep):
        return None
    found = {cell.rate: validation(plan, cell) for cell in sweep if is_trained(plan, cell)}
    return max(found, key=lambda rate: found[rate]) if found else None


def validation(plan: Plan, cell: Cell) -> float:
    """The figure that the sweep goes by, as a run chooses its step; minus infinity without one."""
    figures, metric = read_cell(plan, cell).get("validation", {}), plan.base.training.metric
    value = score(figures, metric) if metric in figures else math.nan
    return value if math.isfinite(value) else -math.inf


def jobs(plan: Plan) -> Iterator[Job]:
    """What can be done now, in the order in which it is best done; failed ones are left out.

    First seeds of all methods come before the others, so that a comparison that is stopped early
    has something to say of each.
    """
    for first_seeds in (True, False):
        for method in plan.chosen:
            rate = chosen_rate(plan, method)
            for cell in cells(plan, method):
                is_first = plan.chosen[method].untrained or cell.seed == plan.seeds[0]
                job = Job(cell, cell.rate == rate)
                if is_first == first_seeds and error(plan, cell) is None and missing(plan, job):
                    yield job


def missing(plan: Plan, job: Job) -> list[str]:
    """The parts of a job that are not there yet; "cell.json" ends every job."""
    folder = plan.path(job.cell)
    wanted = [*(parts(plan, job.cell.method) if job.judge else []), CELL]
    return [
        part
        for part in wanted
        if not (folder / part).is_file()
        or (part == GATES and plan.robustness and _without_robustness(folder / part))
    ]


def _without_robustness(gates: Path) -> bool:
    """Whether the gates were told without the corrupted photos; [] says that there are none."""
    told = read_json(gates)
    return bool(told) and not any(row["severity"] for row in told)


def parts(plan: Plan, method: str) -> list[str]:
    """The files that judging a cell leaves, in the order in which they are made."""
    found = [f"test/{name}/{EVALUATION}" for name in plan.catalogs]
    if plan.robustness and plan.chosen[method].collaborative is None:  # it looks at no photo
        found.append(ROBUSTNESS)
    if not plan.chosen[method].untrained:
        found.append(GATES)
    return found + [
        f"conditions/{condition}/{name}/{EVALUATION}"
        for condition in plan.conditions_of(method)
        for name in plan.catalogs
    ]


def is_trained(plan: Plan, cell: Cell) -> bool:
    """Whether the cell's run, and what it is to be judged on at once, came to its end."""
    return (plan.path(cell) / CELL).is_file()


def is_judged(plan: Plan, cell: Cell) -> bool:
    """Whether the cell has all its test figures."""
    return not missing(plan, Job(cell, judge=True))


def read_cell(plan: Plan, cell: Cell) -> dict[str, Any]:
    """The cell's cell.json, {} where there is none."""
    found: dict[str, Any] = read_json(plan.path(cell) / CELL)
    return found


def read_json(path: Path) -> Any:
    """A JSON file, {} where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def error(plan: Plan, cell: Cell) -> str | None:
    """Why the cell failed, None where it did not."""
    path = plan.path(cell) / ERROR
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def forget_errors(plan: Plan) -> None:
    """Let every failed cell be tried again."""
    for path in plan.out.glob(f"cells/*/*/*/{ERROR}"):
        path.unlink()


def steps(plan: Plan) -> int:
    """Of every run; where the preset leaves them to the catalog's size, known once prepared."""
    planned: int = read_json(plan.out / FACTS).get(plan.main, {}).get("steps", 0)
    return plan.base.training.steps or planned


def steps_done(plan: Plan, cell: Cell) -> int:
    """Steps of a run that are safe on disk."""
    if is_trained(plan, cell):
        return steps(plan)
    found = (plan.path(cell) / RUN / "checkpoints").glob("checkpoint-*/complete.json")
    return max((int(path.parent.name.split("-")[1]) for path in found), default=0)


# -- origin ----------------------------------------------------------------------------------------
# Where a run comes from: the code's version and commit, and the machine, each as short text.


def origin() -> dict[str, str]:
    """ "version", "commit" ("" outside a checkout, "+" behind one with changes), "machine"."""
    return {"version": tgqformer.__version__, "commit": commit(), "machine": machine()}


def commit() -> str:
    """Of the checkout that the package is in."""
    folder = Path(__file__).parent
    known = _git(folder, "ls-files", Path(__file__).name)  # or the checkout is somebody else's
    head = _git(folder, "rev-parse", "--short=7", "HEAD") if known else ""
    return head + "+" * bool(head and _git(folder, "status", "--porcelain", "--", "."))


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> str:
    """ "NVIDIA H200", or "2 cores, Intel(R) Xeon(R) Processor"."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    count = cores()
    return f"{count} core{'s' * (count > 1)}, {' '.join((named or [name])[0].split())}"

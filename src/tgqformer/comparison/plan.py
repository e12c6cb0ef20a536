"""What a comparison is made of, what of it is on disk, and what can be done next.

plan.json                                 this
cells/<method>/lr-<rate>/seed-<n>/        a cell: run/, test/<catalog>/, robustness.parquet,
                                          gates.json, conditions/, cell.json last of all
corrupted/                                the corrupted photos of the robustness queries
costs.json                                multiply-adds and parameters by method
results.json                              what it comes to (`results.py`)

Everything is read from the folder, so that a comparison which was stopped, or killed, knows where
it was, and one that is done only reads its figures again.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tgqformer
from tgqformer.comparison.methods import CONDITIONS, OURS, Metadata, Method, find_methods
from tgqformer.config import from_dict, override, to_dict
from tgqformer.cores import cpu
from tgqformer.errors import ConfigError, StorageError
from tgqformer.evaluation.robustness import FAMILIES, Family
from tgqformer.files import write_text
from tgqformer.presets import load_preset
from tgqformer.training.config import RunConfig
from tgqformer.training.validation import score

PLAN = "plan.json"
COSTS, FACTS = "costs.json", "catalogs.json"
CELL, ERROR, RUN = "cell.json", "error.txt", "run"
ROBUSTNESS, GATES = "robustness.parquet", "gates.json"
EVALUATION, VECTORS = "evaluation.json", "vectors.npy"
_FACTORS = (0.3, 1.0, 3.0)
"""Of the preset's learning rate: the sweep where none is given."""


@dataclass(frozen=True)
class Cell:
    """One training run: a method at a rate with a seed. A frozen method has rate 0 and seed 0."""

    method: str
    rate: float
    seed: int

    @property
    def folder(self) -> Path:
        """Below the comparison's folder."""
        return Path("cells", self.method, f"lr-{self.rate!r}", f"seed-{self.seed}")

    def __str__(self) -> str:
        return f"{self.method}, rate {self.rate!r}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A comparison as it was asked for.

    Attributes:
        out: its folder.
        catalogs: name -> path; the first one is trained on, all are judged on.
        preset: a preset's name or a YAML file.
        assignments: over the preset, for every method.
        methods: names, in the order of the tables.
        seeds: the first one sweeps.
        sweep: peak learning rates of connector and head (`training.learning_rate`).
        conditions: judge ours with other metadata too.
        robustness: judge corrupted queries too.
        robustness_queries: of which so many are drawn.
        robustness_kinds: by kinds that training never uses ("unseen") or may use ("seen").
        jobs: cells at once. threads: of each.
        cache: folder of the token cache; None is `out`/cache.
        device: "cpu", "cuda"; None takes the GPU where there is one.
    """

    out: Path
    catalogs: Mapping[str, Path]
    preset: str = "offline"
    assignments: tuple[str, ...] = ()
    methods: tuple[str, ...] = (OURS,)
    seeds: tuple[int, ...] = (0,)
    sweep: tuple[float, ...] = ()
    conditions: bool = False
    robustness: bool = True
    robustness_queries: int = 300
    robustness_kinds: Family = "unseen"
    jobs: int = 1
    threads: int = 1
    cache: Path | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        for name in self.catalogs:
            if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
                raise ConfigError(
                    f"catalog name '{name}' must be made of letters, digits, '_', '-' and '.'."
                )
        for name in ("seeds", "sweep"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values) or min(values) < 0:
                raise ConfigError(
                    f"{name} is {list(values)}, but must be different numbers, none negative."
                )
        if self.jobs < 1 or self.robustness_queries < 1:
            raise ConfigError(
                f"jobs ({self.jobs}) and robustness queries ({self.robustness_queries}) must be 1 "
                "or more."
            )
        if self.robustness_kinds not in FAMILIES:
            raise ConfigError(
                f"robustness kinds ({self.robustness_kinds}) must be one of {', '.join(FAMILIES)}."
            )

    # -- what is to be done ----------------------------------------------------------------------

    @cached_property
    def base(self) -> RunConfig:
        """The preset with the assignments that hold for every method."""
        return override(load_preset(self.preset), self.assignments)

    @cached_property
    def chosen(self) -> dict[str, Method]:
        """The methods by name; a trained ablation that equals ours is left out.

        Raises:
            ConfigError: a method is unknown, or breaks a rule with this preset.
        """
        found = find_methods(self.methods)
        ours = find_methods([OURS])[OURS].configure(self.base)
        kept = {}
        for name, method in found.items():
            config = method.configure(self.base)  # let a wrong one be told before an hour's work
            if method.group == "ablation" and config == ours and method.metadata is None:
                continue
            kept[name] = method
        return kept

    def conditions_of(self, method: str) -> dict[str, Metadata]:
        """The other metadata that a method is judged with."""
        return CONDITIONS if self.conditions and method == OURS else {}

    def config(self, cell: Cell) -> RunConfig:
        """The whole configuration of a cell."""
        config = self.chosen[cell.method].configure(self.base)
        return override(
            config, [f"training.learning_rate={cell.rate!r}", f"training.seed={cell.seed}"]
        )

    def path(self, cell: Cell) -> Path:
        """The cell's folder."""
        return self.out / cell.folder

    @property
    def main(self) -> str:
        """The name of the catalog that is trained on."""
        return next(iter(self.catalogs))

    @property
    def cache_dir(self) -> Path:
        """The token cache of every cell."""
        return self.cache or self.out / "cache"

    # -- commands --------------------------------------------------------------------------------

    def command(self, cell: Cell | None = None) -> str:
        """The command line of the whole, or of one cell into another folder."""
        names = list(self.methods) if cell is None else [cell.method]
        words = ["tgqformer", "compare", str(self.catalogs[self.main]), "--preset", self.preset]
        for name, path in list(self.catalogs.items())[1:]:
            words += ["--also", f"{name}={path}"]
        for assignment in self.assignments:
            words += ["--set", assignment]
        words += ["--connectors", ",".join(names)]
        if cell is None:
            words += ["--seeds", ",".join(map(str, self.seeds))]
            words += ["--sweep", ",".join(f"{rate!r}" for rate in self.sweep)]
        elif not self.chosen[cell.method].untrained:
            words += ["--seeds", str(cell.seed), "--sweep", repr(cell.rate)]
        if self.conditions and cell is None:
            words.append("--other-metadata")  # the ablations are among the names
        if self.robustness:
            words += ["--robustness-queries", str(self.robustness_queries)]
            words += ["--robustness-kinds", self.robustness_kinds]
        else:
            words.append("--no-robustness")
        words += ["--jobs", str(self.jobs), "--out", str(self.out) if cell is None else "OTHER"]
        return shlex.join(words)

    # -- on disk ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write plan.json. Whether the catalogs are the same is told by `prepare`.

        Raises:
            ConfigError: the folder holds a comparison of another catalog, preset or assignments.
            StorageError: it cannot be written.
        """
        if (self.out / PLAN).is_file():
            self._check(Plan.load(self.out))
        data = to_dict(self)
        del data["out"]  # it may be moved
        write_text(self.out / PLAN, json.dumps(data, indent=1) + "\n")

    def _check(self, old: Plan) -> None:
        for name in ("preset", "assignments", "main", "robustness_queries", "robustness_kinds"):
            before, now = getattr(old, name), getattr(self, name)
            if before != now:
                raise ConfigError(
                    f"{self.out} holds a comparison whose {name.replace('_', ' ')} is {before!r} "
                    f"and not {now!r}; give the same options, or choose another --out."
                )

    @classmethod
    def load(cls, out: Path) -> Plan:
        """Read what `save` wrote; StorageError where it cannot be.

        Where it does not say by which kinds, it is of before there were unseen ones.
        """
        try:
            data = json.loads((out / PLAN).read_text(encoding="utf-8"))
            return from_dict(cls, {"out": out, "robustness_kinds": "seen", **data})
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise StorageError(
                f"{out / PLAN} cannot be read ({type(error).__name__}: {error}); choose another "
                "--out."
            ) from error


def default_sweep(preset: str, assignments: Sequence[str]) -> tuple[float, ...]:
    """A third, once and three times the preset's learning rate."""
    rate = override(load_preset(preset), assignments).training.learning_rate
    return tuple(float(f"{factor * rate:.2g}") for factor in _FACTORS)


@dataclass(frozen=True)
class Job:
    """A cell, and whether it is to be judged on the test queries after its training."""

    cell: Cell
    judge: bool


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
    found = cpu()
    count = found["cores"]
    return f"{count} core{'s' * (count > 1)}, {' '.join(found['name'].split())}"

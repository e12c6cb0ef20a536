"""What a comparison is made of: the catalogs, the methods, the rates and seeds, and its folder.

plan.json                                 this
cells/<method>/lr-<rate>/seed-<n>/        a cell: run/, test/<catalog>/, robustness.parquet,
                                          gates.json, conditions/, cell.json last of all
corrupted/                                the corrupted photos of the robustness queries
costs.json                                multiply-adds and parameters by method
results.json                              what it comes to (`results.py`)
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tgqformer.comparison.metadata import Metadata
from tgqformer.comparison.methods import CONDITIONS, OURS, Method, find_methods
from tgqformer.config import override
from tgqformer.errors import ConfigError, StorageError
from tgqformer.evaluation.robustness import FAMILIES, Family
from tgqformer.files import write_text
from tgqformer.presets import load_preset
from tgqformer.training.config import RunConfig

PLAN = "plan.json"
FACTORS = (0.3, 1.0, 3.0)
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

    def command(self, cell: Cell | None = None, *, out: str | None = None) -> str:
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
        words += [
            "--jobs",
            str(self.jobs),
            "--out",
            out or (str(self.out) if cell is None else "OTHER"),
        ]
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
        write_text(self.out / PLAN, json.dumps(_plain(self), indent=1) + "\n")

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
        """Read what `save` wrote; StorageError where it cannot be."""
        try:
            data = json.loads((out / PLAN).read_text(encoding="utf-8"))
            data.setdefault("robustness_kinds", "seen")  # there were no others
            data["catalogs"] = {name: Path(path) for name, path in data["catalogs"].items()}
            data["cache"] = None if data["cache"] is None else Path(data["cache"])
            tuples = {n: tuple(data[n]) for n in ("assignments", "methods", "seeds", "sweep")}
            return cls(out=out, **{**data, **tuples})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StorageError(
                f"{out / PLAN} cannot be read ({type(error).__name__}: {error}); choose another "
                "--out."
            ) from error


def default_sweep(preset: str, assignments: Sequence[str]) -> tuple[float, ...]:
    """A third, once and three times the preset's learning rate."""
    rate = override(load_preset(preset), assignments).training.learning_rate
    return tuple(float(f"{factor * rate:.2g}") for factor in FACTORS)


def _plain(plan: Plan) -> dict[str, Any]:
    data = asdict(replace(plan, catalogs=dict(plan.catalogs)))
    del data["out"]
    data["catalogs"] = {name: str(path) for name, path in plan.catalogs.items()}
    data["cache"] = None if plan.cache is None else str(plan.cache)
    return data

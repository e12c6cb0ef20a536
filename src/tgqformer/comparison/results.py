"""What a comparison found, as one flat tree: `results.json`.

All figures are shares in 0..1. An interval is {"value", "low", "high"}; its bounds are None where
nothing can be said of the spread (a single query).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tgqformer.errors import StorageError
from tgqformer.evaluation.intervals import Interval
from tgqformer.files import write_text

VERSION = 2
FILE = "results.json"

VARIANTS = ("ablation", "condition")
"""The groups that are variants of ours: they have tables of their own."""

State: TypeAlias = Literal["done", "failed", "pending"]


@dataclass(frozen=True)
class CatalogFacts:
    """A catalog that the methods are judged on.

    Attributes:
        items: in the catalog.
        queries: of the test split, each with one target at least.
        pool: items that each query is ranked against.
        digest: of ids, metadata and pairs, and of the photos.
    """

    items: int
    queries: int
    pool: int
    digest: str = ""


@dataclass(frozen=True)
class Figure:
    """A mean over seeds and queries.

    Attributes:
        value, low, high: with its 95 % interval, over seeds and queries (`statistics.py`).
        seeds: the mean over queries of each seed, in the order of the seeds that are done.
    """

    value: float
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Gain:
    """How far our method lies above this one, paired over seeds and queries.

    Attributes:
        absolute: ours minus this one.
        relative: ours over this one, minus 1; None where this one is 0.
        apart: clear of chance: over two seeds or more, and by Holm's correction among the methods
            of its column, `p` is below 5 %.
        p: two-sided, of this gain alone; None without an interval.
        seeds: that both methods have; with one the interval is over queries alone.
    """

    absolute: Interval
    relative: Interval | None
    apart: bool
    p: float | None = None
    seeds: int = 0

    @property
    def clear(self) -> bool:
        """The interval leaves zero out."""
        low, high = self.absolute.low, self.absolute.high
        return low is not None and high is not None and (low > 0 or high < 0)

    @property
    def of_one_seed(self) -> bool:
        """The interval leaves zero out, but over queries alone: another seed may say otherwise."""
        return self.clear and self.seeds == 1

    @property
    def mark(self) -> str:
        """Behind the figure: " *" clear of chance, " †" of one seed; see `MARKS`."""
        return " *" if self.apart else " †" if self.seeds == 1 else ""


MARKS = (
    "* = clear of chance, corrected for the number of methods in the column (Holm); "
    "† = of one training seed, its interval over queries alone"
)


@dataclass(frozen=True)
class GroupResult:
    """A part of the queries: "hit@10" and its kin, and our gain there (none for ours)."""

    queries: int
    metrics: dict[str, Figure]
    gain: dict[str, Gain] = field(default_factory=dict)


@dataclass(frozen=True)
class CatalogResult:
    """A method on one catalog.

    Attributes:
        metrics: "hit@1", "hit@10", "hit@50", "hit@100", "mrr", "map@r" -> figure.
        breakdown: dimension (`evaluation.result.DIMENSIONS`) -> group -> its queries.
        gain: metric -> our gain over this method; empty for ours.
    """

    metrics: dict[str, Figure]
    breakdown: dict[str, dict[str, GroupResult]] = field(default_factory=dict)
    gain: dict[str, Gain] = field(default_factory=dict)


@dataclass(frozen=True)
class RobustnessResult:
    """What is still found when the queries' photos are corrupted, the gallery being clean.

    Attributes:
        kind: "overlays", "clutter" or "overlays+clutter" (all together).
        severity: 0 (as they are) to 1.
        metrics: "hit@10", ... -> figure.
        gain: metric -> our gain over this method; empty for ours.
    """

    kind: str
    severity: float
    metrics: dict[str, Figure]
    gain: dict[str, Gain] = field(default_factory=dict)


@dataclass(frozen=True)
class GateFigure:
    """A gate, the image-text agreement, or a part's weight, over the items of one condition.

    Attributes:
        mean: over items and channels.
        magnitude: mean absolute value.
        spread: standard deviation over items of an item's mean over channels.
    """

    mean: float
    magnitude: float
    spread: float


@dataclass(frozen=True)
class GateResult:
    """What gates and reliability say under one condition, averaged over seeds.

    Attributes:
        condition: "clean"; "overlays", "clutter", "overlays+clutter" at their severities;
            "shuffled metadata" (each item with another's), "no photo", "no metadata"; and each
            fault of metadata (`training.noise.metadata_faults`), of the items that can have it.
        severity: of the corruption; 0 for the others.
        anchored, exploratory: values in (-1, 1); None where the method has no such gate.
        agreement: cosine in -1..1; None where the method tells none.
        weights: part of the embedding ("photo", "metadata" and the streams) -> how much it counts,
            1 before training (`embedder.base.Reliability`); empty where nothing weighs them.
    """

    condition: str
    severity: float
    anchored: GateFigure | None = None
    exploratory: GateFigure | None = None
    agreement: GateFigure | None = None
    weights: dict[str, GateFigure] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodResult:
    """One method: what it is, what tuning chose, what it costs, what it finds.

    Attributes:
        label: as tables show it.
        group: "ours", "rival", "simple", "frozen", "ablation" (trained otherwise) or "condition"
            (our trained model, judged on other metadata).
        overrides: its options over the preset, as for --set.
        note: one sentence on what it is.
        learning_rate: peak rate of connector and head that the sweep chose; None where it is not
            chosen yet, or nothing is trained.
        sweep: rate -> validation figure of the first seed at that rate.
        multiply_adds: for one item with one photo, towers included.
        parameters, trained_parameters: of the whole, and of what training changes.
        visual_tokens: that the backbone reads.
        steps_to_90: for each seed, the first step whose validation figure is 90 % of the last one.
        catalogs: name -> what it finds there; only what is evaluated already.
        robustness: by kind and severity, on the first catalog.
        gates: by condition, on the first catalog; empty where nothing gates or weighs.
    """

    label: str
    group: str
    overrides: tuple[str, ...] = ()
    note: str = ""
    learning_rate: float | None = None
    sweep: dict[str, float] = field(default_factory=dict)
    multiply_adds: int | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    visual_tokens: int | None = None
    steps_to_90: tuple[int, ...] = ()
    catalogs: dict[str, CatalogResult] = field(default_factory=dict)
    robustness: tuple[RobustnessResult, ...] = ()
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True)
class CellResult:
    """One training run.

    Attributes:
        method, learning_rate, seed: which one; a frozen method, which trains nothing, has one cell
            at rate 0 and seed 0.
        state: "done", "failed" or "pending".
        seconds: of training and evaluation; of the last leg, where it was resumed.
        folder: relative to the comparison's folder.
        chosen: its rate is the method's, so it is judged on the test queries.
        curve: {"step", "loss" or "hit@10", ...} of each log line with figures on validation.
        validation: the figures of the kept weights.
        command: reproduces it.
        error: one sentence, "" where there is none.
        origin: "version", "commit" and "machine" that it was made by (`plan.origin`).
    """

    method: str
    learning_rate: float
    seed: int
    state: State
    seconds: float = 0.0
    folder: str = ""
    chosen: bool = False
    curve: tuple[dict[str, float], ...] = ()
    validation: dict[str, float] = field(default_factory=dict)
    command: str = ""
    error: str = ""
    origin: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A comparison, whole or under way.

    Attributes:
        command: the whole command line.
        overrides: of every method, over the preset.
        steps: optimiser steps of every run.
        sweep: the learning rates that every method is tried at, with the first seed.
        metric: the validation figure that chooses rate and step.
        ours: the method whose gain is measured.
        catalogs: name -> facts; the first one is trained on.
        methods: name -> result, in the order of the tables.
        robustness_kinds: "unseen", of corruptions that training never uses, or "seen".
    """

    version: int
    created: str
    command: str
    preset: str
    overrides: tuple[str, ...]
    steps: int
    seeds: tuple[int, ...]
    sweep: tuple[float, ...]
    metric: str
    catalogs: dict[str, CatalogFacts]
    methods: dict[str, MethodResult]
    cells: tuple[CellResult, ...]
    ours: str = "tgqformer"
    robustness_kinds: str = "seen"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def save(self, folder: Path | str) -> Path:
        """Write results.json into `folder`, whole or not at all; StorageError where it cannot."""
        path = Path(folder) / FILE
        write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return path

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Results:
        """Undo `to_dict`; KeyError or ValueError where it is of another make."""
        from pydantic import TypeAdapter, ValidationError

        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']} instead of {VERSION}")
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {first['msg']}") from None

    @classmethod
    def load(cls, folder: Path | str) -> Results:
        """Read what `save` wrote; StorageError where it is absent or of another make."""
        path = Path(folder)
        path = path / FILE if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} holds no readable comparison ({type(error).__name__}: {error}); run "
                "`tgqformer compare` again, which goes on where it stopped."
            ) from error

"""A training run as a folder: configuration, checkpoints, the curve, the trained embedder.

config.yaml      the whole configuration; a resumed run must have the same
checkpoints/     what a resume needs, and the best weights
curve.jsonl      loss, H@K and rates by step
model/           the saved embedder (`ItemEmbedder.from_pretrained` takes the run's folder too)
summary.json     figures of the whole run; written last, so it marks a finished run
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.photos import photos_read, tell_photos
from tgqformer.config import load_yaml, to_dict, without_dropped
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.errors import CatalogError, ConfigError, StorageError
from tgqformer.files import write_text
from tgqformer.training.config import RunConfig, TrainingConfig
from tgqformer.training.start import fit_base

if TYPE_CHECKING:
    from tgqformer.training.trainer import TGQTrainer
    from tgqformer.training.validation import Gain

CONFIG, CURVE, SUMMARY = "config.yaml", "curve.jsonl", "summary.json"

EVALUATIONS = 10
"""In a run, where nothing else is said."""

ALIGNMENT = 3 / 8
"""Of the steps, where `alignment_steps` is -1."""


@dataclass
class TrainingResult:
    """What a run came to.

    Attributes:
        embedder: the trained embedder, best weights loaded where the run keeps the best.
        out: the run's folder.
        curve: one entry for each log line: "step" and figures.
        summary: steps, seconds (of the last leg, where it was resumed), seed, the plan, the best
            step with its figures, and the gain over the frozen base with its interval.
    """

    embedder: ItemEmbedder
    out: Path
    curve: list[dict[str, Any]]
    summary: dict[str, Any]


def train(
    catalog: Catalog,
    config: RunConfig,
    out: Path | str,
    *,
    resume: bool = False,
    progress: bool = False,
    cache_dir: Path | str | None = None,
    device: str | None = None,
    build: Callable[..., ItemEmbedder] = ItemEmbedder.from_config,
) -> TrainingResult:
    """Train an embedder on the "train" pairs of a catalog, on noise views of its items, or both.

    What training gains over the frozen towers is in the summary; a run ends with the step that
    validation finds best, and the frozen base is one of the candidates.

    Args:
        out: the run's folder.
        resume: go on from the last whole checkpoint; from the start where there is none. A run
            that came to its end is handed back as it is.
        progress: show progress bars.
        cache_dir: where tower outputs are kept; None keeps them inside the run's folder.
        device: "cpu", "cuda"; None takes the GPU where there is one.
        build: makes the untrained embedder, called as `ItemEmbedder.from_config` is; an experiment
            may read items in another way. A finished run is handed back as a plain embedder.

    Raises:
        CatalogError: no items, or no training pairs where noise views are off.
        ConfigError: `out` holds another run and `resume` is off, or its configuration differs.
        CacheError, StorageError: the disk is full or refuses.
    """
    from tgqformer.training.checkpoints import last_checkpoint
    from tgqformer.training.data import StepDataset
    from tgqformer.training.trainer import TGQTrainer, seconds_of_a_step
    from tgqformer.training.validation import Validation, hold_out

    out = Path(out)
    catalog.require_items()
    if not config.training.noise.views:
        catalog.require_pairs("train")
    rank, processes = _processes()
    if rank == 0:  # the others would find what the first has just written
        _check_folder(out, config, resume)
    cache_dir, device = cache_dir or out / "cache", device or _own_device()
    if resume and is_finished(out):
        return _finished(out, cache_dir, device)
    started = time.time()
    held_out = 0
    if config.training.eval_every:
        catalog, held_out = hold_out(catalog, config.training.seed)
    plan = plan_run(config.training, catalog, held_out=held_out, processes=processes)
    training = plan.training
    if progress and rank == 0:
        print(plan, file=sys.stderr)
    embedder = build(config.embedder, cache_dir=cache_dir, device=device, seed=training.seed)
    texts_cut = embedder.cut_texts(catalog.items)
    if progress and rank == 0 and texts_cut:
        print(
            f"{texts_cut:,} of {len(catalog):,} texts are longer than is read: their fields are "
            "shortened",
            file=sys.stderr,
        )
    photos = photos_read(catalog.items, config.embedder.max_images)
    if progress and rank == 0 and (told := tell_photos(photos)):
        print(told, file=sys.stderr)
    validation = Validation(catalog, training)
    dataset = StepDataset(embedder, catalog, training, rank=rank, processes=processes)
    if rank == 0:  # what can be refused has been: from here on this is a run
        write_text(out / CONFIG, _config_text(config))
    views = [item for view in dataset.views.views for item in view]
    wanted = [*catalog.items, *views, *validation.noisy]
    embedder.features.fill(wanted, progress=progress and rank == 0, alone=processes > 1)
    checkpoints = out / "checkpoints"
    last = last_checkpoint(checkpoints) if resume else None
    if last is None:  # a checkpoint holds what would be computed here
        fit_base(embedder, catalog, training.seed)
    trainer = TGQTrainer(embedder, dataset, validation, training, checkpoints)
    if progress:
        from tgqformer.training.trainer import ProgressBar, duration

        trainer.add_callback(ProgressBar(training))
        if rank == 0 and processes == 1:
            left = training.steps * seconds_of_a_step(embedder, dataset, training)
            print(f"about {duration(left)} here, evaluations apart", file=sys.stderr)
    if last is not None and trainer.has_ended(last):
        trainer.restore(last)  # it was stopped between its last checkpoint and its summary
    else:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    best = trainer.load_best()
    curve = [dict(entry) for entry in trainer.state.log_history]
    embedder.model.eval()
    gains = validation.gain(embedder, training.metric) if validation else {}
    summary = _summary(trainer, plan, gains, started, best_kept=best)
    summary["texts_cut"] = texts_cut
    summary["photos"] = photos
    if trainer.is_world_process_zero():
        embedder.facts = {"training": summary}
        embedder.save_pretrained(out / "model")
        write_text(out / CURVE, "".join(json.dumps(entry) + "\n" for entry in curve))
        write_text(out / SUMMARY, json.dumps(summary, indent=2))
    return TrainingResult(embedder, out, curve, summary)


def read_curve(out: Path | str) -> list[dict[str, Any]]:
    """The log lines of a finished run."""
    lines = (Path(out) / CURVE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_finished(out: Path | str) -> bool:
    """Whether the folder holds a run that came to its end."""
    return (Path(out) / SUMMARY).is_file()


def changed_option(out: Path | str, config: RunConfig) -> tuple[str, Any, Any] | None:
    """The first option in which `config` is not that of the run in a folder.

    Returns:
        its dotted name, the run's value and the one of `config`, "absent" where one has no such
        option; None where all agree, or there is no run.

    Raises:
        ConfigError: the run's config.yaml cannot be read.
    """
    path = Path(out) / CONFIG
    if not path.is_file():
        return None
    before, now = (
        _leaves(without_dropped(RunConfig, data))
        for data in (load_yaml(path), yaml.safe_load(_config_text(config)))
    )
    for name in now | before:
        if name not in before or name not in now or before[name] != now[name]:
            return name, before.get(name, "absent"), now.get(name, "absent")
    return None


def _leaves(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        inside = isinstance(value, dict) and value
        found |= _leaves(value, f"{prefix}{name}.") if inside else {prefix + name: value}
    return found


def _processes() -> tuple[int, int]:
    """(rank, number) of this process, as torchrun and accelerate tell it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _own_device() -> str:
    """Each process of a machine has a GPU of its own."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _finished(out: Path, cache_dir: Path | str, device: str) -> TrainingResult:
    """What a run that came to its end has left behind."""
    embedder = ItemEmbedder.from_pretrained(out, cache_dir=cache_dir, device=device)
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    return TrainingResult(embedder, out, read_curve(out), summary)


def _check_folder(out: Path, config: RunConfig, resume: bool) -> None:
    """Make the folder, or check that the run in it is this one."""
    path = out / CONFIG
    if path.is_file():
        if not resume:
            raise ConfigError(
                f"{out} already holds a run; go on with it by --resume, or choose another folder."
            )
        if changed := changed_option(out, config):
            name, before, now = changed
            raise ConfigError(
                f"The run in {out} has another configuration ({name}: {before}, now {now}); "
                "resume it with the same options, or choose another folder."
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The run's folder {out} cannot be made ({error.strerror}); choose another."
        ) from error


def _config_text(config: RunConfig) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def _summary(
    trainer: TGQTrainer, plan: RunPlan, gains: dict[str, Gain], started: float, *, best_kept: bool
) -> dict[str, Any]:
    log = trainer.state.log_history
    summary: dict[str, Any] = {
        "steps": max((entry["step"] for entry in log), default=0),
        "seconds": round(time.time() - started, 1),
        "seed": plan.training.seed,
        "plan": plan.to_dict(),
        "gain": {name: gain.to_dict() for name, gain in gains.items()},
    }
    judged = trainer.judged()
    if judged:
        chosen = max(judged, key=lambda found: found[1])[0] if best_kept else judged[-1][0]
        summary["step"] = chosen["step"]
        summary["validation"] = {
            name.removeprefix("eval_"): round(value, 6)
            for name, value in chosen.items()
            if name.startswith("eval_")
        }
    return summary


@dataclass(frozen=True)
class RunPlan:
    """How long a run takes: its steps, and what follows from them, by the catalog's size (ours).

    Attributes:
        training: the options, with every number that was left open filled in.
        items: of the catalog. pairs: training pairs, those held out left out.
        held_out: queries that were held out of training for validation.
        validation: validation queries.
    """

    training: TrainingConfig
    items: int
    pairs: int
    held_out: int
    validation: int

    def __str__(self) -> str:
        c = self.training
        what = f"{self.pairs:,} pairs" if self.pairs else "no pairs (noise views alone)"
        lines = [f"{self.items:,} items, {what}: {c.steps:,} steps of {c.batch_size} pairs"]
        if self.held_out:
            lines.append(
                f"no validation pairs: {self.held_out:,} queries are held out of training for it"
            )
        elif not self.validation and self.pairs:
            lines.append("no validation pairs, and too few to hold some out: the last step is kept")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "items": self.items,
            "pairs": self.pairs,
            "held_out": self.held_out,
            "steps": self.training.steps,
            "alignment_steps": self.training.alignment_steps,
            "batch_size": self.training.batch_size,
            "eval_every": self.training.eval_every,
        }


def plan_run(
    config: TrainingConfig, catalog: Catalog, *, held_out: int = 0, processes: int = 1
) -> RunPlan:
    """Fill in what the options leave open (`steps` 0, `alignment_steps` and `eval_every` -1).

    Raises:
        CatalogError: the catalog is too small for a batch of two pairs.
    """
    query, target, _ = catalog.pair_indices("train")
    validation = len(np.unique(catalog.pair_indices("val")[0]))
    batch = config.batch_size
    if config.steps == 0:  # a batch that the catalog can fill; who sets the steps sets it too
        named = len(np.unique(np.concatenate([query, target]))) if len(query) else len(catalog)
        batch = min(batch, max(2, min(len(catalog) // 2, named // 2)))
        batch = max(1, batch // processes) * processes
        if len(catalog) < 4:
            raise CatalogError(f"{len(catalog)} items are too few to train on; give 4 or more.")
    steps = config.steps or steps_for(len(catalog), len(query))
    every = config.eval_every if config.eval_every >= 0 else max(1, round(steps / EVALUATIONS))
    aligned = config.alignment_steps if config.alignment_steps >= 0 else round(ALIGNMENT * steps)
    training = replace(
        config, steps=steps, alignment_steps=aligned, eval_every=every, batch_size=batch
    )
    return RunPlan(training, len(catalog), len(query), held_out, validation)


def steps_for(items: int, pairs: int) -> int:
    """Steps of a run: as the cube root of what there is to learn, some 300 for 9,000 items.

    Ten times as much to learn takes twice the steps: on real purchases (12,000 items, 70,000 pairs)
    validation gains little beyond 300 of them, and on a drawn shop of 5,000 items as well.
    """
    known = max(items, pairs / 2, 1)
    steps = 400 * (known / 20_000) ** (1 / 3)
    return int(min(max(steps, 80), 20_000) // 10 * 10)

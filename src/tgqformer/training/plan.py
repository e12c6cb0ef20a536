"""How long a run takes: steps, and what follows from them, by the catalog's size (ours)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.errors import CatalogError
from tgqformer.training.config import TrainingConfig

EVALUATIONS = 10
"""In a run, where nothing else is said."""

ALIGNMENT = 3 / 8
"""Of the steps, where `alignment_steps` is -1."""


@dataclass(frozen=True)
class RunPlan:
    """A run's numbers.

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

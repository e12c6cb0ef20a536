"""Training steps with the token cache beside the same steps without it.

    python benchmarks/training.py [--preset offline] [--rounds 2] [--out training.json]

One step is all that a run does in it: the batch, the two forward passes' losses, the gradient, the
optimiser. With the cache every photo and text has been encoded before, as in any epoch but the
first; without it the frozen towers run in every step, as in a plain training script. Each stage of
the preset is timed, in turns; the preset's own mix of both stages is reckoned from them.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import in_turns, options, put, ratios

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.storefront import draw_storefront
from tgqformer.training.config import RunConfig
from tgqformer.training.data import StepDataset
from tgqformer.training.trainer import TGQTrainer
from tgqformer.training.validation import Validation


class Stepper:
    """Takes one training step after another of a given stage."""

    def __init__(self, catalog: Catalog, config: RunConfig, out: Path, cache: Path | None) -> None:
        embedder = ItemEmbedder.from_config(config.embedder, cache_dir=cache, device="cpu")
        embedder.features.fill(catalog.items)
        training = replace(config.training, eval_every=0)
        self.dataset = StepDataset(embedder, catalog, training)
        validation = Validation(catalog, training)
        self.trainer = TGQTrainer(embedder, self.dataset, validation, training, out)
        self.optimizer = self.trainer.create_optimizer()
        self.taken = 0

    def step(self, stage: int) -> None:
        """One step of the stage in which step number `stage` lies."""
        self.trainer.state.global_step = stage
        batch = self.dataset[self.taken % len(self.dataset)]
        self.trainer.training_step(self.trainer.model, {"step": batch})
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--preset", default="offline")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    config = load_preset(asked.preset)
    steps, aligned = config.training.steps, config.training.alignment_steps
    figures: dict[str, Any] = {
        "preset": asked.preset,
        "threads_of_torch": torch.get_num_threads(),
        "items_a_step": 2 * config.training.batch_size,
        "steps": steps,
        "alignment_steps": aligned,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = draw_storefront(folder / "shop", items=asked.items, workers=1)
        ways = {
            "with the cache": Stepper(catalog, config, folder / "a", folder / "cache"),
            "without": Stepper(catalog, config, folder / "b", None),
        }
        stages = {"alignment": 0, "whole model": aligned}
        for stage, first in stages.items():
            calls = {name: (lambda w=way, f=first: w.step(f)) for name, way in ways.items()}
            found = in_turns(calls, 1, asked.rounds)
            figures[stage] = {"ways": found, "ratios": ratios(found, "with the cache")}
    for kind in ("seconds", "cpu_seconds"):
        run = {
            name: aligned * figures["alignment"]["ways"][name][kind]
            + (steps - aligned) * figures["whole model"]["ways"][name][kind]
            for name in ways
        }
        figures[f"run_{kind}"] = run | {"ratio": run["without"] / run["with the cache"]}
    put(figures, asked.out)


if __name__ == "__main__":
    main()

"""Train and write down every step's gradient; by torchrun in two processes, or in one.

torchrun --nproc-per-node 2 processes.py CATALOG OUT CONFIGS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

import tgqformer.training.trainer as trainer_module
from tgqformer.catalog.catalog import Catalog
from tgqformer.config import from_dict
from tgqformer.training import RunConfig, train


class Watch(TrainerCallback):
    """Keeps the gradient that the optimiser is about to take."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            save_file(found, self.out / f"gradient-{state.global_step}.safetensors")


def train_and_watch(catalog: Path, out: Path, configs: dict[str, Any]) -> None:
    """Run each configuration into a folder of its name."""
    original = trainer_module.TGQTrainer
    for name, config in configs.items():

        class Watched(original):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self.add_callback(Watch(self.out.parent))

        trainer_module.TGQTrainer = Watched
        try:
            shop = Catalog.load(catalog)
            train(shop, from_dict(RunConfig, config), out / name, device="cpu")
        finally:
            trainer_module.TGQTrainer = original


if __name__ == "__main__":
    torch.set_num_threads(1)
    text = Path(sys.argv[3]).read_text()
    train_and_watch(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(text))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()

"""Train in two processes (gloo), or in one, and write down every step's gradient.

    python processes.py CATALOG OUT CONFIGS.json

The two are forked after the imports and told of one another as torchrun tells its processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
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


def fork(rank: int, size: int, port: int) -> int:
    """Start one process of the group."""
    child = os.fork()
    if child:
        return child
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    try:
        train_and_watch(
            Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
        )
        torch.distributed.destroy_process_group()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    children = [fork(rank, 2, port) for rank in range(2)]
    ended = [os.waitpid(-1, 0)[1] for _ in children[:1]]
    if any(ended):  # the other would wait for it for half an hour
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    sys.exit(any([*ended, os.waitpid(-1, 0)[1]]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

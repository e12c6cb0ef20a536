"""Checkpoints of a run: whole or not at all, and what they say of where the run stands.

checkpoint-N/model.safetensors      the trained weights after step N
checkpoint-N/trainer_state.json     the log so far
checkpoint-N/optimizer.pt, ...      transformers' own files, read back with weights_only=True
checkpoint-N/hard_negatives.npy     the last mined table, where the run mines
checkpoint-N/complete.json          written last; without it the folder is passed over
best.safetensors                    the trained weights of the best evaluation
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from tgqformer.embedder.saving import trained_weights, write_weights
from tgqformer.errors import StorageError
from tgqformer.files import write_text

WEIGHTS, COMPLETE, BEST = "model.safetensors", "complete.json", "best.safetensors"


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint below `out`, or None."""
    whole = [folder.parent for folder in out.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=_step, default=None)


def read_state(folder: Path) -> TrainerState:
    """Step and log of a checkpoint."""
    return TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write the trained weights into a checkpoint under way."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(trained_weights(model), folder / WEIGHTS)


def save_best(model: nn.Module, out: Path) -> None:
    """Write the trained weights as the best so far.

    Raises:
        StorageError: the disk refuses; the best before stays.
    """
    write_weights(trained_weights(model), out / BEST)


def mark_complete(folder: Path, step: int) -> None:
    """Tell a whole checkpoint from one cut off by a kill: a marker, once all else is on disk."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    write_text(folder / COMPLETE, json.dumps({"step": step}))


def remove_old(out: Path, keep: int = 2) -> None:
    """Remove all checkpoints but the newest whole ones; a kill in between leaves no false one."""
    folders = sorted(out.glob("checkpoint-*"), key=_step)
    whole = [folder for folder in folders if (folder / COMPLETE).is_file()]
    for folder in folders:
        if folder not in whole[-keep:]:
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder)


def _step(folder: Path) -> int:
    return int(folder.name.split("-")[1])


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write a checkpoint inside this block; a disk that refuses leaves nothing of it.

    Raises:
        StorageError: the disk refuses; the last whole checkpoint stays.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # torch.save has no error of its own for a disk that refuses
        shutil.rmtree(folder, ignore_errors=True)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        if isinstance(error, RuntimeError):
            reason = "the disk is full or refuses"
        raise StorageError(
            f"The checkpoint {folder} cannot be written ({reason}); free some space and go on "
            "with --resume."
        ) from error

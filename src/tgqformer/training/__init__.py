"""Training: batches, losses, gradient cache, the trainer, and runs as folders."""

from typing import TYPE_CHECKING

from tgqformer.lazy import lazily

if TYPE_CHECKING:
    from tgqformer.training.config import DropoutConfig, LossConfig, RunConfig, TrainingConfig
    from tgqformer.training.run import TrainingResult, is_finished, read_curve, train

__all__ = [
    "DropoutConfig",
    "LossConfig",
    "RunConfig",
    "TrainingConfig",
    "TrainingResult",
    "is_finished",
    "read_curve",
    "train",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "DropoutConfig": "tgqformer.training.config",
        "LossConfig": "tgqformer.training.config",
        "RunConfig": "tgqformer.training.config",
        "TrainingConfig": "tgqformer.training.config",
        "TrainingResult": "tgqformer.training.run",
        "is_finished": "tgqformer.training.run",
        "read_curve": "tgqformer.training.run",
        "train": "tgqformer.training.run",
    },
)

"""Training: batches, losses, gradient cache, the trainer, and runs as folders."""

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

"""The optimiser of a run: which weights learn how fast, and which decay."""

from __future__ import annotations

import torch
from torch import nn

from tgqformer.embedder.model import EmbedderModel
from tgqformer.training.config import TrainingConfig


def make_optimizer(model: EmbedderModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW over what is trained: the backbone at its own rate, decay on linear layers alone.

    Learned queries, null tokens, strengths, norms and biases do not decay. After each step the
    temperatures are brought back to their limit.
    """
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = (name.startswith("backbone."), id(parameter) in matrices)
            groups.setdefault(kind, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.language_learning_rate if language else config.learning_rate,
                "weight_decay": config.weight_decay if matrix else 0.0,
            }
            for (language, matrix), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
    )
    optimizer.register_step_post_hook(lambda *_: model.clamp_scales())
    return optimizer

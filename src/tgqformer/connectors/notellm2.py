"""The connector of NoteLLM-2 (Zhang et al., arXiv 2405.16789, KDD 2025), as its public code has it.

A BLIP-2 Q-Former without text, random initialisation, six layers with cross-attention at 0, 2 and
4, then Linear-GELU-Linear to the width of the backbone. Departures: the queries start random (in
the public code at zero, where they can never part from one another); those of `qformer.py`.

Not here, because they are no part of a connector: the prompt in two parts (mICL), whose first
answer h_v is read before the metadata; the late fusion of h_v and h_m with the tower's class token;
the loss over all 2B vectors, (9 L_m + 1 L_v) / 10. They belong to embedder and training. Until
they stand, kind "notellm2" is NoteLLM-2's connector inside this project's own pipeline, whose
visual auxiliary loss serves the purpose of L_v, and must be reported as that.
"""

from __future__ import annotations

from tgqformer.connectors.blocks import FeedForward
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.qformer import QFormer


def notellm2(config: ConnectorConfig, shape: ConnectorShape) -> QFormer:
    """NoteLLM-2's Q-Former and projector; `config.notellm2_layers` deep."""
    project = FeedForward(config.width, shape.output, shape.output)
    return QFormer(config, shape, layers=config.notellm2_layers, project=project)

"""The connector of NoteLLM-2 (Zhang et al., arXiv 2405.16789, KDD 2025), as its public code has it.

A BLIP-2 Q-Former without text, random initialisation, six layers with cross-attention at 0, 2 and
4, then Linear-GELU-Linear to the width of the backbone. Departures: the queries start random (in
the public code at zero, where they can never part from one another); those of `qformer.py`.

What is no part of a connector stands elsewhere, and NoteLLM-2 in full is all four: this kind; the
prompt in two parts (mICL), `language.NOTELLM2_PROMPT`; `embedder.fusion=late` (`fusion.py`); and
the loss over all 2B vectors, (9 L_m + 1 L_v) / 10, which is `training.loss.visual=1/9` with
`training.loss.both_sides`. Kind "notellm2" by itself is its connector inside this project's own
pipeline, and must be reported as that.

It has no alignment stage of its own. With `training.alignment_steps` its connector is trained in
that stage as every rival's is, on the mean of its states.
"""

from __future__ import annotations

from tgqformer.connectors.blocks import FeedForward
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.qformer import QFormer


def notellm2(config: ConnectorConfig, shape: ConnectorShape) -> QFormer:
    """NoteLLM-2's Q-Former and projector; `config.notellm2_layers` deep."""
    project = FeedForward(config.width, shape.output, shape.output)
    return QFormer(config, shape, layers=config.notellm2_layers, project=project)

"""Which connectors there are."""

from __future__ import annotations

from collections.abc import Callable

from tgqformer.connectors.base import Connector
from tgqformer.connectors.baselines import (
    ClipSum,
    ImageOnly,
    MeanProjector,
    TextOnly,
    linear_projector,
    mlp_projector,
)
from tgqformer.connectors.cabstractor import CAbstractor
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.perceiver import Perceiver
from tgqformer.connectors.qformer import QFormer, TextQFormer, notellm2
from tgqformer.connectors.tgqformer import TGQFormer
from tgqformer.errors import ConfigError

CONNECTORS: dict[str, Callable[[ConnectorConfig, ConnectorShape], Connector]] = {
    "tgqformer": TGQFormer,
    "linear": linear_projector,
    "mlp": mlp_projector,
    "mean": MeanProjector,
    "qformer": QFormer,
    "qformer_text": TextQFormer,
    "perceiver": Perceiver,
    "cabstractor": CAbstractor,
    "notellm2": notellm2,
    "text_only": TextOnly,
    "image_only": ImageOnly,
    "clip_sum": ClipSum,
}


def needs_backbone(kind: str) -> bool:
    """Whether a backbone reads the tokens of this kind of connector."""
    return bool(getattr(CONNECTORS.get(kind), "needs_backbone", True))


def build_connector(config: ConnectorConfig, shape: ConnectorShape) -> Connector:
    """Build the connector that `config.kind` names.

    Raises:
        ConfigError: where no connector has that name.
    """
    if config.kind not in CONNECTORS:
        known = ", ".join(sorted(CONNECTORS))
        raise ConfigError(f"connector.kind '{config.kind}' is unknown; choose one of: {known}.")
    return CONNECTORS[config.kind](config, shape)

"""The paper: connectors between a frozen vision tower and a language backbone."""

from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.build import CONNECTORS, build_connector, needs_backbone
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.tgqformer import TGQFormer

__all__ = [
    "CONNECTORS",
    "Connector",
    "ConnectorConfig",
    "ConnectorOutput",
    "ConnectorShape",
    "TGQFormer",
    "build_connector",
    "needs_backbone",
]

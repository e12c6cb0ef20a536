"""The paper: connectors between a frozen vision tower and a language backbone."""

from typing import TYPE_CHECKING

from tgqformer.lazy import lazily

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "CONNECTORS": "tgqformer.connectors.build",
        "Connector": "tgqformer.connectors.base",
        "ConnectorConfig": "tgqformer.connectors.config",
        "ConnectorOutput": "tgqformer.connectors.base",
        "ConnectorShape": "tgqformer.connectors.config",
        "TGQFormer": "tgqformer.connectors.tgqformer",
        "build_connector": "tgqformer.connectors.build",
        "needs_backbone": "tgqformer.connectors.build",
    },
)

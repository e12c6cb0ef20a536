"""Which connectors there are."""

from __future__ import annotations

from collections.abc import Callable

from tgqformer.connectors.base import Connector
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.tgqformer import TGQFormer
from tgqformer.errors import ConfigError

CONNECTORS: dict[str, Callable[[ConnectorConfig, ConnectorShape], Connector]] = {
    "tgqformer": TGQFormer,
}


def build_connector(config: ConnectorConfig, shape: ConnectorShape) -> Connector:
    """Build the connector that `config.kind` names.

    Raises:
        ConfigError: where no connector has that name.
    """
    if config.kind not in CONNECTORS:
        known = ", ".join(sorted(CONNECTORS))
        raise ConfigError(f"connector.kind '{config.kind}' is unknown; choose one of: {known}.")
    return CONNECTORS[config.kind](config, shape)

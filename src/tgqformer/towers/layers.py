"""The `layer` option of the transformer towers: an index into the hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tgqformer.errors import ConfigError

T = TypeVar("T")


def hidden_layer(states: Sequence[T], layer: int | str, owner: str = "the tower") -> T:
    """Pick `states[layer]`; 0 is the embedding output, -1 the last layer."""
    count = len(states)
    if isinstance(layer, str) or not -count <= layer < count:
        raise ConfigError(
            f"layer {layer!r} of {owner} does not exist; choose {-count} to {count - 1}, "
            "where 0 is the embeddings and -1 the last layer."
        )
    return states[layer]

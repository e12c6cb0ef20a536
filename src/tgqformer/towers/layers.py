"""The `layer` option of the transformer towers, and the widths that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tgqformer.errors import ConfigError
from tgqformer.towers.base import ImageTower, TextTower

T = TypeVar("T")


def hidden_layer(states: Sequence[T], layer: int | str, owner: str) -> T:
    """Pick `states[layer]`; 0 is the embedding output, -1 the last layer."""
    count = len(states)
    if isinstance(layer, str) or not -count <= layer < count:
        raise ConfigError(
            f"layer {layer!r} of {owner} does not exist; choose {-count} to {count - 1}, "
            "where 0 is the embeddings and -1 the last layer."
        )
    return states[layer]


def probe(tower: ImageTower | TextTower) -> None:
    """Set a tower's `dim`, `global_dim` and token counts by encoding a blank input.

    Raises:
        ConfigError: the layer does not exist, or the network refuses the image size.
    """
    if isinstance(tower, TextTower):
        out = tower.encode(["blank"])
    else:
        from PIL import Image

        blank = Image.new("RGB", (tower.image_size, tower.image_size), (255, 255, 255))
        try:
            out = tower.encode([tower.preprocess(blank)])
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"The network cannot take photos of {tower.image_size} px ({reason}); leave "
                "image_size out to use the model's own."
            ) from error
        tower.max_tokens = out.tokens.shape[1]
        tower.num_tokens = out.tokens.shape[1]
    tower.dim, tower.global_dim = out.tokens.shape[-1], out.pooled.shape[-1]

"""Everything that makes an item embedder: towers, connector, backbone, head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tgqformer.connectors.config import ConnectorConfig
from tgqformer.errors import ConfigError
from tgqformer.language.config import LanguageConfig
from tgqformer.towers.config import ImageTowerConfig, TextTowerConfig


@dataclass
class EmbedderConfig:
    """Options of an item embedder.

    Attributes:
        image_tower: the frozen vision tower.
        text_tower: the frozen text tower, which anchors queries.
        connector: TGQ-Former or a rival.
        language: the backbone and its prompt.
        dims: D, the width of an embedding.
        matryoshka: prefixes of the embedding that are trained to stand on their own.
        fusion: what joins the backbone's state. "none"; "late": the tower's global image vector,
            before the head, by NoteLLM-2's gate (`fusion.py`), and then a head without bias;
            "streams" (ours): what each of the connector's streams says alone, after the head, so
            that the backbone adds to the connector's view and cannot lose it; made for a training
            with an alignment stage.
        frozen_view: dimensions of a frozen view of the photo that stand beside the trained ones
            (`frozen_view.py`, ours); 0 leaves it out.
        frozen_share: how much of a cosine comes from that view.
        max_images: photos read of each item; the rest is left out.
    """

    image_tower: ImageTowerConfig = field(default_factory=ImageTowerConfig)
    text_tower: TextTowerConfig = field(default_factory=TextTowerConfig)
    connector: ConnectorConfig = field(default_factory=ConnectorConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    dims: int = 256
    matryoshka: tuple[int, ...] = ()
    fusion: Literal["none", "late", "streams"] = "none"
    frozen_view: int = 0
    frozen_share: float = 0.5
    max_images: int = 1

    def __post_init__(self) -> None:
        if self.fusion == "late":
            from tgqformer.connectors.build import needs_backbone  # and torch with it

            if not needs_backbone(self.connector.kind):
                raise ConfigError(
                    f"embedder.fusion 'late' joins the backbone's state, and connector.kind "
                    f"'{self.connector.kind}' has no backbone; set embedder.fusion=none."
                )
        if self.dims < 1:
            raise ConfigError(f"embedder.dims ({self.dims}) must be 1 or more.")
        if any(not 0 < d <= self.dims for d in self.matryoshka):
            raise ConfigError(
                f"embedder.matryoshka ({list(self.matryoshka)}) must lie within 1 and "
                f"embedder.dims ({self.dims})."
            )
        if self.frozen_view < 0:
            raise ConfigError(f"embedder.frozen_view ({self.frozen_view}) must not be negative.")
        if not 0 < self.frozen_share < 1:
            raise ConfigError(
                f"embedder.frozen_share ({self.frozen_share}) must lie between 0 and 1."
            )
        if self.max_images < 1:
            raise ConfigError(f"embedder.max_images ({self.max_images}) must be 1 or more.")

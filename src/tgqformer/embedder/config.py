"""Everything that makes an item embedder: towers, connector, backbone, head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tgqformer.connectors.config import ConnectorConfig
from tgqformer.errors import ConfigError
from tgqformer.language.config import LanguageConfig
from tgqformer.towers.load import ImageTowerConfig, TextTowerConfig


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
        base: what the embedding starts from (`base.py`, ours). "trained": the frozen towers'
            vectors, and a linear map of them that starts at zero; "frozen": without that map;
            "none": only what is learned, as the paper and its rivals have it.
        words: width of the hashed words that the base's metadata part has beside the text tower's
            vector (ours); 0 leaves them out.
        reliability: weigh the parts of the base and the streams item by item (ours).
        fusion: what joins the backbone's state: "none", or "late": the tower's global image vector,
            before the head, by NoteLLM-2's gate (`model.LateFusion`), and then a head without bias.
        max_images: photos read of each item, the first that can be; the rest is left out. Four:
            on a storefront of one to four photos an item (LOG.md) three and four found most, at
            2.6 times the cost of one.
    """

    image_tower: ImageTowerConfig = field(default_factory=ImageTowerConfig)
    text_tower: TextTowerConfig = field(default_factory=TextTowerConfig)
    connector: ConnectorConfig = field(default_factory=ConnectorConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    dims: int = 256
    matryoshka: tuple[int, ...] = ()
    base: Literal["none", "frozen", "trained"] = "trained"
    words: int = 512
    reliability: bool = True
    fusion: Literal["none", "late"] = "none"
    max_images: int = 4

    def __post_init__(self) -> None:
        if self.fusion == "late" and not self.has_backbone:
            reason = (
                f"connector.kind '{self.connector.kind}' has no backbone"
                if self.language.kind != "none"
                else "language.kind 'none' leaves it out"
            )
            raise ConfigError(
                f"embedder.fusion 'late' joins the backbone's state, and {reason}; set "
                "embedder.fusion=none."
            )
        if self.words < 0:
            raise ConfigError(f"embedder.words ({self.words}) must not be negative.")
        if self.dims < 1:
            raise ConfigError(f"embedder.dims ({self.dims}) must be 1 or more.")
        if any(not 0 < d <= self.dims for d in self.matryoshka):
            raise ConfigError(
                f"embedder.matryoshka ({list(self.matryoshka)}) must lie within 1 and "
                f"embedder.dims ({self.dims})."
            )
        if self.max_images < 1:
            raise ConfigError(f"embedder.max_images ({self.max_images}) must be 1 or more.")

    @property
    def has_backbone(self) -> bool:
        """Whether a backbone reads the connector's tokens."""
        from tgqformer.connectors.build import needs_backbone  # and torch with it

        return self.language.kind != "none" and needs_backbone(self.connector.kind)

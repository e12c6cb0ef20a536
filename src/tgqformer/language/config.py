"""Options of the language backbone and its prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tgqformer.errors import ConfigError


@dataclass
class PromptConfig:
    """What the backbone reads. `{image}` is the place of the visual tokens, `{text}` the metadata.

    Attributes:
        both: for an item with photo and metadata.
        image_only: for an item without metadata.
        text_only: for an item without a photo.
        neither: for an item that has only an id.
        max_tokens: metadata is cut to so many tokens.
    """

    both: str = "photo: {image} product: {text}"
    image_only: str = "photo: {image}"
    text_only: str = "product: {text}"
    neither: str = "unknown product"
    max_tokens: int = 64

    def __post_init__(self) -> None:
        needs = {"both": (1, 1), "image_only": (1, 0), "text_only": (0, 1), "neither": (0, 0)}
        for name, (image, text) in needs.items():
            template: str = getattr(self, name)
            if template.count("{image}") != image or template.count("{text}") != text:
                raise ConfigError(
                    f"language.prompt.{name} ({template!r}) must hold {{image}} {image} time(s) "
                    f"and {{text}} {text} time(s)."
                )
        if self.max_tokens < 1:
            raise ConfigError(f"language.prompt.max_tokens ({self.max_tokens}) must be 1 or more.")


@dataclass
class LanguageConfig:
    """Options of the backbone.

    Attributes:
        kind: "hf" for any Hugging Face model that takes `inputs_embeds`, "tiny" for a random one.
        name: hub id, local folder, or the short name of a packaged model.
        revision: hub revision; None is the default branch.
        layers: keep only the first so many layers; None keeps all.
        pooling: "last" token (decoders), "mean" over all tokens (encoders), "auto" by the model.
        train: "lora", "full" or "frozen".
        lora_rank: rank of the LoRA matrices.
        lora_alpha: LoRA scale is alpha / rank.
        lora_dropout: dropout before the LoRA matrices.
        lora_targets: names of the modules that get LoRA; "all-linear" takes every linear layer.
        dtype: of the frozen weights: "auto" (bfloat16 where the device computes in it), "float32",
            "bfloat16".
        random_weights: build from the config alone, without trained weights.
        prompt: the templates.
    """

    kind: Literal["hf", "tiny"] = "hf"
    name: str = "all-MiniLM-L6-v2"
    revision: str | None = None
    layers: int | None = None
    pooling: Literal["auto", "last", "mean"] = "auto"
    train: Literal["lora", "full", "frozen"] = "lora"
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    lora_targets: str = "all-linear"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    random_weights: bool = False
    prompt: PromptConfig = field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise ConfigError(f"language.layers ({self.layers}) must be 1 or more.")
        if self.lora_rank < 1:
            raise ConfigError(f"language.lora_rank ({self.lora_rank}) must be 1 or more.")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"language.lora_dropout ({self.lora_dropout}) must lie in [0, 1).")

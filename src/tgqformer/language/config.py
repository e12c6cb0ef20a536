"""Options of the language backbone and its prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from tgqformer.errors import ConfigError


@dataclass
class PromptConfig:
    """What the backbone reads. `{image}` is the place of the visual tokens, `{text}` the metadata.

    `{answer}` cuts a prompt in two, as NoteLLM-2 does (mICL, arXiv 2405.16789): what stands before
    it is read without a sight of what stands behind it, and each part is pooled by itself. It takes
    no token. Either all four templates have one or none has.

    Attributes:
        both: for an item with photo and metadata.
        image_only: for an item without metadata.
        text_only: for an item without a photo.
        neither: for an item that has only an id.
        max_tokens: metadata of more tokens has its fields shortened (`catalog.text.fit_text`).
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
            self._check_parts(name, template)
        if self.max_tokens < 1:
            raise ConfigError(f"language.prompt.max_tokens ({self.max_tokens}) must be 1 or more.")

    @property
    def two_parts(self) -> bool:
        """Whether the prompt is read in two parts."""
        return "{answer}" in self.both

    def template(self, *, image: bool, text: bool) -> str:
        """The template of an item that has a photo, metadata, both or neither."""
        if image:
            return self.both if text else self.image_only
        return self.text_only if text else self.neither

    def _check_parts(self, name: str, template: str) -> None:
        before, *behind = template.split("{answer}")
        if len(behind) != self.two_parts:
            raise ConfigError(
                f"language.prompt.{name} ({template!r}) must hold {{answer}} {int(self.two_parts)} "
                "time(s), as language.prompt.both does: all four templates have two parts, or none."
            )
        if behind and ("{text}" in before or "{image}" in behind[0]):
            raise ConfigError(
                f"language.prompt.{name} ({template!r}) must have {{image}} before {{answer}} and "
                "{text} behind it."
            )
        if not all(re.sub(r"{\w+}", "", part).strip() for part in behind and [before, *behind]):
            raise ConfigError(
                f"language.prompt.{name} ({template!r}) must have words before {{answer}} and "
                "behind it: a part without a token has no state."
            )


NOTELLM2_PROMPT = {
    "both": 'note: {image}, compress into one word: "{answer}". '
    'note: {text}, compress into one word: "',
    "image_only": 'note: {image}, compress into one word: "{answer}". '
    'note: unknown, compress into one word: "',
    "text_only": 'note: no photo, compress into one word: "{answer}". '
    'note: {text}, compress into one word: "',
    "neither": 'note: no photo, compress into one word: "{answer}". '
    'note: unknown, compress into one word: "',
}
"""The templates of NoteLLM-2 (mICL): options of `PromptConfig`. What it says of an item that lacks
photo or metadata is ours: its own data had none."""


@dataclass
class LanguageConfig:
    """Options of the backbone.

    Attributes:
        kind: "hf" for any Hugging Face model that takes `inputs_embeds`, "tiny" for a random one,
            "none" to do without: the embedding is then made of the base and the streams.
        name: hub id, local folder, or the short name of a packaged model.
        revision: hub revision; None is the default branch.
        layers: keep only the first so many layers; None keeps all.
        pooling: "last" token (decoders), "mean" over all tokens (encoders), "auto" by the model.
        train: "lora", "full" or "frozen".
        lora_rank: rank of the LoRA matrices.
        lora_alpha: LoRA scale is alpha / rank.
        lora_dropout: dropout before the LoRA matrices.
        lora_targets: names of the modules that get LoRA; "all-linear" takes every linear layer.
        dtype: of the frozen weights: "auto" (bfloat16 on GPUs and on CPUs that compute in it, else
            float32), "float32", "bfloat16"; what is trained is float32.
        random_weights: build from the config alone, without trained weights.
        prompt: the templates.
    """

    kind: Literal["hf", "tiny", "none"] = "hf"
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

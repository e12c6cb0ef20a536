"""Which frozen towers to load: two small dataclasses that a preset's YAML fills in."""

from __future__ import annotations

from dataclasses import dataclass

from tgqformer.errors import ConfigError

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ImageTowerConfig:
    """The frozen encoder of photos.

    Attributes:
        kind: "efficientnet_lite0", "clip", "vision" or "tiny" (see `towers.load.IMAGE_TOWERS`).
        name: hub id or local folder; empty for the kinds that come out of a pip package.
        revision: branch, tag or commit of a hub id; None is the default branch.
        layer: which layer's states are the visual tokens; None is the kind's default. A
            transformer takes an index into its hidden states (-1 the last, -2 the one before, 0 the
            patch embeddings); EfficientNet-Lite0 takes a stride: 8, 16, 32 or "head".
        image_size: side of the square input in pixels; None is the model's own.
        dtype: "auto" (bfloat16 on GPUs and on CPUs that compute in it, else float32), "float32",
            "bfloat16" or "float16".
        random_weights: build from the config alone, without trained weights: to count and to time.
    """

    kind: str = "efficientnet_lite0"
    name: str = ""
    revision: str | None = None
    layer: int | str | None = None
    image_size: int | None = None
    dtype: str = "auto"
    random_weights: bool = False

    def __post_init__(self) -> None:
        _check_dtype(self.dtype)
        if self.image_size is not None and not 16 <= self.image_size <= 4096:
            raise ConfigError(
                f"image_size is {self.image_size}; choose a side of 16 to 4096 pixels."
            )


@dataclass(frozen=True)
class TextTowerConfig:
    """The frozen encoder of metadata text.

    Attributes:
        kind: "sentence", "clip" or "tiny" (see `towers.load.TEXT_TOWERS`).
        name: hub id or local folder; "all-MiniLM-L6-v2" is found in its pip package if installed.
        revision: branch, tag or commit of a hub id; None is the default branch.
        layer: index into the hidden states that become the text tokens; None is the last.
        max_tokens: of a longer text each field is shortened (`catalog.text.fit_text`); also bounded
            by the model's own positions.
        dtype: as for the image tower.
        random_weights: build from the config alone, without trained weights: to count and to time.
    """

    kind: str = "sentence"
    name: str = "all-MiniLM-L6-v2"
    revision: str | None = None
    layer: int | None = None
    max_tokens: int = 64
    dtype: str = "auto"
    random_weights: bool = False

    def __post_init__(self) -> None:
        _check_dtype(self.dtype)
        if self.max_tokens < 4:
            raise ConfigError(f"max_tokens is {self.max_tokens}; a text tower needs at least 4.")


def _check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}.")

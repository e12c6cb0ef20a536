"""Which frozen towers there are, their options, and from an option to a loaded tower.

The options are two small dataclasses that a preset's YAML fills in; the two dicts are the whole
registry. No network is imported before it is asked for.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from tgqformer.towers.base import ImageTower, TextTower

T = TypeVar("T")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_ constants of malloc.h
_KEEP = 1 << 30

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ImageTowerConfig:
    """The frozen encoder of photos.

    Attributes:
        kind: "efficientnet_lite0", "clip", "vision" or "tiny" (see `IMAGE_TOWERS`).
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
        kind: "sentence", "clip" or "tiny" (see `TEXT_TOWERS`).
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


def _efficientnet(config: ImageTowerConfig) -> ImageTower:
    from tgqformer.towers.efficientnet import EfficientNetTower

    return EfficientNetTower(config)


def _sentence(config: TextTowerConfig) -> TextTower:
    from tgqformer.towers.sentence import SentenceTower

    return SentenceTower(config)


def _clip_image(config: ImageTowerConfig) -> ImageTower:
    from tgqformer.towers.clip import ClipImageTower

    return ClipImageTower(config)


def _clip_text(config: TextTowerConfig) -> TextTower:
    from tgqformer.towers.clip import ClipTextTower

    return ClipTextTower(config)


def _vision(config: ImageTowerConfig) -> ImageTower:
    from tgqformer.towers.vision import VisionTower

    return VisionTower(config)


def _tiny_image(config: ImageTowerConfig) -> ImageTower:
    from tgqformer.towers.tiny import TinyImageTower

    return TinyImageTower(config)


def _tiny_text(config: TextTowerConfig) -> TextTower:
    from tgqformer.towers.tiny import TinyTextTower

    return TinyTextTower(config)


IMAGE_TOWERS: dict[str, Callable[[ImageTowerConfig], ImageTower]] = {
    "efficientnet_lite0": _efficientnet,
    "clip": _clip_image,
    "vision": _vision,
    "tiny": _tiny_image,
}
TEXT_TOWERS: dict[str, Callable[[TextTowerConfig], TextTower]] = {
    "sentence": _sentence,
    "clip": _clip_text,
    "tiny": _tiny_text,
}


def load_image_tower(config: ImageTowerConfig, *, device: torch.device | str = "cpu") -> ImageTower:
    """Load a frozen image tower onto `device`.

    Raises:
        ConfigError: an option of the config breaks a rule.
        ModelError: the weights cannot be loaded.
        MissingDependencyError: the tower's pip package is absent.
    """
    tower = _pick(IMAGE_TOWERS, config.kind, "image")(config)
    tower.to(device)
    return tower


def load_text_tower(config: TextTowerConfig, *, device: torch.device | str = "cpu") -> TextTower:
    """Load a frozen text tower onto `device`; raises as `load_image_tower` does."""
    tower = _pick(TEXT_TOWERS, config.kind, "text")(config)
    tower.to(device)
    return tower


def _pick(towers: dict[str, T], kind: str, noun: str) -> T:
    if kind not in towers:
        raise ConfigError(
            f"There is no {noun} tower of kind {kind!r}; choose one of {', '.join(towers)}."
        )
    return towers[kind]


def keep_large_buffers() -> bool:
    """Ask the allocator, for this process, to reuse buffers of up to 1 GB.

    glibc maps and unmaps every buffer above 32 MB, and below that down to a moving threshold; the
    page faults cost more than the arithmetic of a small network: on the machine this was measured
    on, a batch of EfficientNet-Lite0 took 117 ms a photo before and 35 ms after.

    Call it once at the start of a program, before anything large is allocated. It changes no
    result; a process may hold up to 1 GB more than it uses.

    Returns:
        Whether the allocator took it; only glibc does.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEEP) and mallopt(_TRIM_THRESHOLD, _KEEP))

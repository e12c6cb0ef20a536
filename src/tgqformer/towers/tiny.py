"""Random towers, built in milliseconds, that depend on what they see: the fakes beside the real.

The image tower projects the patches of a 32 x 32 thumbnail, the text tower hashes words into a
table. The weights are drawn from a fixed seed, so two machines agree. With `name="shared"` both
give global vectors of one width in one named space, as a CLIP-like pair does.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tgqformer.errors import ConfigError
from tgqformer.towers.base import ImageTower, PixelInputs, TextTower, TowerOutput
from tgqformer.towers.hashing import word_spans
from tgqformer.towers.load import ImageTowerConfig, TextTowerConfig

PATCH = 8
IMAGE_WIDTH, TEXT_WIDTH, SHARED_WIDTH = 32, 24, 16
WORDS = 512


class TinyImageTower(ImageTower):
    """[B, 16, 32] tokens at 32 px: tanh of randomly projected patches, each with its place."""

    def __init__(self, config: ImageTowerConfig) -> None:
        if config.layer is not None:
            raise ConfigError(f"layer is {config.layer!r}; the tiny tower has none to choose.")
        self.image_size = config.image_size or 32
        if self.image_size % PATCH:
            raise ConfigError(f"image_size ({self.image_size}) must be a multiple of {PATCH}.")
        side = self.image_size // PATCH
        self.num_tokens = self.max_tokens = side * side
        self.dim = IMAGE_WIDTH
        self.space = _space(config.name)
        self.global_dim = SHARED_WIDTH if self.space else IMAGE_WIDTH
        self.tables = _Tables(
            patch=(3 * PATCH * PATCH, self.dim),
            place=(self.num_tokens, self.dim),
            pool=(self.dim, self.global_dim),
        )
        super().__init__(self.tables, dtype=config.dtype)

    def spec(self) -> dict[str, Any]:
        return {"size": self.image_size, "patch": PATCH}

    def preprocess(self, image: Image.Image) -> PixelInputs:
        small = image.convert("RGB").resize((self.image_size, self.image_size))
        pixels = torch.from_numpy(np.asarray(small, dtype=np.float32) / 127.5 - 1.0)
        patches = pixels.unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH)  # [h, w, 3, 8, 8]
        return {"patches": patches.reshape(self.max_tokens, -1)}

    @torch.inference_mode()
    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        patches = self.collate(inputs)["patches"]
        tokens = torch.tanh(patches @ self.tables.get("patch") + 0.5 * self.tables.get("place"))
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return TowerOutput(tokens, mask, tokens.mean(1) @ self.tables.get("pool"))


class TinyTextTower(TextTower):
    """[B, T, 24] tokens: one random vector for each word (by its hash)."""

    num_tokens = None
    dim = TEXT_WIDTH

    def __init__(self, config: TextTowerConfig) -> None:
        if config.layer is not None:
            raise ConfigError(f"layer is {config.layer!r}; the tiny tower has none to choose.")
        self.max_tokens = config.max_tokens
        self.space = _space(config.name)
        self.global_dim = SHARED_WIDTH if self.space else TEXT_WIDTH
        self.tables = _Tables(words=(WORDS, self.dim), pool=(self.dim, self.global_dim))
        super().__init__(self.tables, dtype=config.dtype)

    def spec(self) -> dict[str, Any]:
        return {"max_tokens": self.max_tokens}

    def count(self, text: str) -> int:
        return len(text.split())

    def spans(self, text: str) -> list[tuple[int, int]]:
        return word_spans(text)[: self.max_tokens]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TowerOutput:
        rows = [[_word(word) for word in text.split()[: self.max_tokens]] or [0] for text in texts]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        mask = mask.to(self.device)
        tokens = self.tables.get("words")[ids.to(self.device)] * mask.unsqueeze(-1)
        mean = tokens.sum(1) / mask.sum(1, keepdim=True)
        return TowerOutput(tokens, mask, mean @ self.tables.get("pool"))


class _Tables(nn.Module):
    """Named random matrices, scaled so that a product keeps its variance."""

    def __init__(self, **shapes: tuple[int, int]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, (rows, columns) in shapes.items():
            scale = 1.0 if name in ("words", "place") else 1.0 / math.sqrt(rows)
            table = torch.randn(rows, columns, generator=generator) * scale
            self.register_buffer(name, table)

    def get(self, name: str) -> Tensor:
        return self.get_buffer(name)


def _word(word: str) -> int:
    return zlib.crc32(word.lower().encode("utf-8", "replace")) % WORDS


def _space(name: str) -> str | None:
    return "tiny" if name == "shared" else None

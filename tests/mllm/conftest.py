"""Tiny vision-language models on disk, and items of every kind."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.mllm import MLLMConfig, MLLMEmbedder
from tgqformer.mllm.network import save_tiny_mllm

torch.set_num_threads(1)

FAMILIES = ["qwen3_vl", "internvl"]


def draw_photo(seed: int, width: int = 60, height: int = 40) -> bytes:
    """An encoded PNG of coarse random colours."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    return draw_photo


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """All parts, no photo, no metadata, neither, a strip after a broken photo, long metadata."""
    return [
        Item("whole", "red shoe", "Brand", images=(draw_photo(1),)),
        Item("no photo", "red shoe"),
        Item("no words", images=(draw_photo(2, 200, 300),)),
        Item("nothing"),
        Item("strip", "lamp", images=(b"broken", draw_photo(3, 400, 10))),
        Item("long", "word " * 200, images=(draw_photo(4),)),
    ]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = save_tiny_mllm(tmp_path_factory.mktemp(family), family)
        return made[family]

    return of


@pytest.fixture(scope="session")
def make(folder: Callable[[str], Path], stir: Callable[..., Any]) -> Callable[..., MLLMEmbedder]:
    """Build an embedder whose trained weights are off their start, as training would leave them."""

    def build(family: str, *, stirred: bool = True, **options: object) -> MLLMEmbedder:
        small: dict[str, object] = {"dims": 12, "max_pixels": 64 * 64, "max_tokens": 24}
        small["dtype"] = "float32"  # "auto" is bfloat16 on some processors
        config = MLLMConfig(str(folder(family)), **(small | options))  # type: ignore[arg-type]
        embedder = MLLMEmbedder.from_config(config, device="cpu")
        if stirred:
            stir(embedder)
        return embedder

    return build


@pytest.fixture(scope="session", params=FAMILIES)
def embedder(request: pytest.FixtureRequest, make: Callable[..., MLLMEmbedder]) -> MLLMEmbedder:
    return make(request.param)

"""A tiny embedder whose weights are off their start, photos of any shape, and a small shop."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    def draw(seed: int, width: int = 48, height: int = 40) -> bytes:
        coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize((width, height)).save(out, "PNG")
        return out.getvalue()

    return draw


@pytest.fixture(scope="session")
def embedder_of(stir: Callable[..., Any]) -> Callable[..., ItemEmbedder]:
    """An embedder of the tiny preset with options put in, its trained weights moved."""

    def build(*assignments: str) -> ItemEmbedder:
        config = override(load_preset("tiny"), assignments).embedder
        embedder = ItemEmbedder.from_config(config, device="cpu")
        stir(embedder)
        return embedder

    return build


@pytest.fixture(scope="session")
def embedder(embedder_of: Callable[..., ItemEmbedder]) -> ItemEmbedder:
    return embedder_of()


@pytest.fixture(scope="session")
def lamp(photo: Callable[..., bytes]) -> Item:
    return Item("lamp", "red desk lamp", "Lux", "Home > Lamps", images=(photo(1, 60, 30),))


@pytest.fixture(scope="session")
def shoe(photo: Callable[..., bytes]) -> Item:
    return Item("shoe", "blue shoe", "Walk", "Shop > Shoes", images=(photo(2),))

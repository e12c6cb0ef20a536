"""Items of every kind and a tiny embedder whose weights are off their start."""

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
from tgqformer.embedder import EmbedderConfig, ItemEmbedder
from tgqformer.presets import load_preset

torch.set_num_threads(1)

WORDS = ["red", "blue", "green", "large", "small", "old", "new", "soft", "hard", "warm"]


def draw_photo(seed: int) -> bytes:
    """An encoded PNG of coarse random colours."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def photo() -> Callable[[int], bytes]:
    return draw_photo


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """Items with all parts, and items that lack the photo, the metadata, or both."""
    whole = [
        Item(
            f"w{n}", f"{word} shoe " * (1 + n % 3), "Brand", "Shop > Shoes", images=(draw_photo(n),)
        )
        for n, word in enumerate(WORDS)
    ]
    return [
        *whole[:5],
        Item("no photo", title="red lamp"),
        Item("no words", images=(draw_photo(20),)),
        Item("nothing"),
        *whole[5:],
        Item("two photos", title="boot", images=(draw_photo(21), draw_photo(22))),
    ]


@pytest.fixture(scope="session")
def config() -> EmbedderConfig:
    return load_preset("tiny").embedder


@pytest.fixture(scope="session")
def make(stir: Callable[..., Any]) -> Callable[..., ItemEmbedder]:
    """Build an embedder; `stirred` moves every trained weight, as training would."""

    def build(config: EmbedderConfig, *, stirred: bool = True, **options: object) -> ItemEmbedder:
        embedder = ItemEmbedder.from_config(config, device="cpu", **options)  # type: ignore[arg-type]
        if stirred:
            stir(embedder)
        return embedder

    return build


@pytest.fixture(scope="session")
def embedder(make: Callable[..., ItemEmbedder], config: EmbedderConfig) -> ItemEmbedder:
    return make(config)


@pytest.fixture(scope="session")
def vectors(embedder: ItemEmbedder, items: list[Item]) -> np.ndarray:
    return np.asarray(embedder.encode(items))


@pytest.fixture(scope="session")
def saved(embedder: ItemEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `embedder`; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("embedder") / "model"
    embedder.facts = {"H@10": 0.123}
    embedder.save_pretrained(folder)
    return folder

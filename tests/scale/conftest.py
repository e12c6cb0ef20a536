"""A tiny embedder, and a catalog on disk whose photos come again, are broken, or are missing."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset

torch.set_num_threads(1)

WORDS = ["red", "blue", "green", "large", "small", "old", "new", "soft", "hard", "warm"]


def draw_photo(path: Path, seed: int) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40)).save(out, "JPEG")
    path.write_bytes(out.getvalue())
    return path


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """60 items: two in a row share a photo's bytes, every tenth has none, one has a broken one."""
    folder = tmp_path / "images"
    folder.mkdir()
    made = []
    for n in range(60):
        photos = () if n % 10 == 9 else (draw_photo(folder / f"{n}.jpg", n // 2),)
        title = " ".join(WORDS[: 1 + n % 7]) if n % 11 else ""
        made.append(Item(f"i{n}", title=title, brand=WORDS[n % 5], images=photos))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    broken = folder / "broken.jpg"
    made[7] = Item("i7", title="a second photo stands in", images=(broken, *made[7].images))
    return made


@pytest.fixture(scope="session")
def make(stir: Callable[..., Any]) -> Callable[..., ItemEmbedder]:
    """Build a tiny embedder whose every trained weight is off its start."""

    def build(max_images: int = 1, **options: object) -> ItemEmbedder:
        config = replace(load_preset("tiny").embedder, max_images=max_images)
        embedder = ItemEmbedder.from_config(config, device="cpu", **options)  # type: ignore[arg-type]
        stir(embedder)
        return embedder

    return build


@pytest.fixture(scope="session")
def embedder(make: Callable[..., ItemEmbedder]) -> ItemEmbedder:
    return make()

"""A shop small enough to learn in a second: what belongs together has one colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.training import RunConfig

torch.set_num_threads(1)

GROUPS, MEMBERS = 12, 6
KINDS = ["shoe", "lamp", "bowl", "coat", "chair", "ball"]


def draw(group: int, member: int) -> bytes:
    """The group's four colours, with the member's own noise."""
    colours = np.random.default_rng([0, group]).integers(0, 255, (2, 2, 3))
    noise = np.random.default_rng([1, group, member]).integers(-25, 25, (2, 2, 3))
    pixels = (colours + noise).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((24, 24), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def make_shop(splits: tuple[str, ...] = ("train", "val")) -> Catalog:
    """72 items; in each group of six, four pairs to train on and two to validate."""
    items, pairs = [], []
    for g in range(GROUPS):
        for m in range(MEMBERS):
            text = f"{KINDS[m]} number {g * m % 7}" if (g + m) % 11 else ""
            photo = (draw(g, m),) if (g * m) % 17 != 5 else ()
            items.append(Item(f"{g}-{m}", title=text, images=photo))
        names = [f"{g}-{m}" for m in range(MEMBERS)]
        train = [Pair(names[a], names[b]) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))]
        val = [Pair(names[a], names[b], split="val") for a, b in ((4, 5), (5, 4))]
        pairs += [p for p in [*train, *val] if p.split in splits]
    return Catalog(items, pairs)


def make_ring(items: int, *splits: str) -> Catalog:
    """Each item wants the next one, in the first split; the one after it, in the second; ..."""
    made = [Item(f"i{n}", title=f"item {n}") for n in range(items)]
    pairs = [
        Pair(f"i{n}", f"i{(n + step) % items}", split=split)
        for n in range(items)
        for step, split in zip((1, 2, 3, 4), splits)
    ]
    return Catalog(made, pairs)


@pytest.fixture(scope="session")
def ring() -> Callable[..., Catalog]:
    return make_ring


@pytest.fixture(scope="session")
def shop() -> Catalog:
    return make_shop()


@pytest.fixture(scope="session")
def shop_of() -> Callable[..., Catalog]:
    return make_shop


@pytest.fixture(scope="session")
def shop_folder(shop: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop on disk, for other processes."""
    folder = tmp_path_factory.mktemp("shop") / "catalog"
    shop.save(folder)
    return folder


@pytest.fixture(scope="session")
def config_of() -> Callable[..., RunConfig]:
    """The tiny preset, in a few steps, with options of `training` as keywords."""

    def make(*assignments: str, **training: object) -> RunConfig:
        few = {"steps": 6, "batch_size": 8, "eval_every": 3, **training}
        return override(
            load_preset("tiny"),
            [*(f"training.{name}={value}" for name, value in few.items()), *assignments],
        )

    return make


@pytest.fixture(scope="session")
def embedder_of(
    tmp_path_factory: pytest.TempPathFactory, stir: Callable[..., Any]
) -> Callable[..., ItemEmbedder]:
    """An embedder over a cache that holds the shop, its weights stirred."""
    cache = tmp_path_factory.mktemp("cache")

    def make(config: RunConfig, catalog: Catalog) -> ItemEmbedder:
        embedder = ItemEmbedder.from_config(config.embedder, cache_dir=cache, device="cpu")
        embedder.features.fill(catalog.items)
        stir(embedder, 0.05)
        return embedder

    return make

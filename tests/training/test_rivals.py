"""Every rival goes through the one trainer: alignment stage, chunks, evaluation, save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tgqformer.embedder import ItemEmbedder
from tgqformer.language import NOTELLM2_PROMPT
from tgqformer.training import train

METHODS = {
    "notellm2": [
        "embedder.fusion=late",
        "embedder.connector.notellm2_layers=2",
        "training.loss.visual=0.1111111111111111",
        *(f"embedder.language.prompt.{n}={text}" for n, text in NOTELLM2_PROMPT.items()),
    ],
    "perceiver": ["embedder.connector.grounding=all"],
    "text_only": [],
    "image_only": [],
    "clip_sum": [],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.mark.parametrize("kind", METHODS)
def test_a_run_trains_what_it_has(shop, config_of, cache, tmp_path, kind):
    options = [f"embedder.connector.kind={kind}", *METHODS[kind]]
    few = {"steps": 4, "eval_every": 2, "alignment_steps": 2, "chunk_size": 7, "keep_best": False}
    config = config_of(*options, **few)
    made = train(shop, config, tmp_path / "run", cache_dir=cache, device="cpu")
    assert made.summary["steps"] == 4
    before = dict(ItemEmbedder.from_config(config.embedder, device="cpu").model.named_parameters())
    trained = {n: p for n, p in made.embedder.model.named_parameters() if p.requires_grad}
    assert all(bool(p.isfinite().all()) for p in trained.values())
    moved = {n for n, p in trained.items() if not np.array_equal(p.detach(), before[n].detach())}
    parts = {name.split(".")[0] for name in moved}
    expected = {
        "notellm2": {"connector", "backbone", "head", "fusion"},
        "perceiver": {"connector", "backbone", "head"},
        "text_only": {"backbone", "head"},
        "image_only": {"connector", "backbone", "head"},
        "clip_sum": {"visual_head"},
    }
    assert expected[kind] <= parts
    grounding = {n for n in trained if n.startswith("connector.grounding.")}
    assert grounding <= moved
    assert bool(grounding) == (kind == "perceiver")
    again = ItemEmbedder.from_pretrained(tmp_path / "run", cache_dir=cache, device="cpu")
    assert np.array_equal(again.encode(shop.items), made.embedder.encode(shop.items))

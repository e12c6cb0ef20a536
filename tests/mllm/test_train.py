"""Training lowers the loss, is one with its seed, and takes a batch in pieces without a trace."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.mllm import MLLMConfig, MLLMEmbedder, MLLMTraining, train_mllm
from tgqformer.mllm.train import _backward, schedule, standardise_head

COLOURS = ["red", "blue", "green", "gold", "white", "black", "pink", "grey"]


@pytest.fixture(scope="module")
def shop(photo):
    """Each colour and the next one are wanted together; a photo tells them, and a word."""
    items, pairs = [], []
    for n, colour in enumerate(COLOURS):
        items.append(Item(f"{colour}-a", colour, images=(photo(n, 24, 24),)))
        items.append(Item(f"{colour}-b", COLOURS[n - 1], images=(photo(n + 50, 24, 24),)))
        pairs.append(Pair(f"{colour}-a", f"{colour}-b"))
    return Catalog(items, pairs)


def few(**options: object) -> MLLMTraining:
    return MLLMTraining(**({"steps": 3, "batch_size": 4} | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def config(folder):
    return MLLMConfig(str(folder("internvl")), dims=8, max_pixels=32 * 32, max_tokens=16)


@pytest.fixture(scope="module")
def run(shop, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("mllm") / "run"
    training = few(steps=12, learning_rate=1e-2, language_learning_rate=1e-3)
    return train_mllm(shop, config, out, training=training, device="cpu")


def test_the_loss_falls_and_the_run_is_on_disk(run, shop):
    assert np.mean(run.losses[-3:]) < 0.7 * np.mean(run.losses[:3])
    lines = (run.out / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == run.losses
    assert json.loads((run.out / "summary.json").read_text())["steps"] == 12
    again = MLLMEmbedder.from_pretrained(run.out, device="cpu")
    np.testing.assert_array_equal(again.encode(shop.items), run.embedder.encode(shop.items))


def test_a_finished_run_is_not_overwritten(run, shop, config):
    with pytest.raises(ConfigError, match="already holds a run"):
        train_mllm(shop, config, run.out, training=few())


def test_one_seed_gives_one_result(shop, config, tmp_path):
    first, second, other = (
        train_mllm(shop, config, tmp_path / name, training=few(seed=seed), device="cpu")
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.losses == second.losses
    assert first.losses != other.losses
    for a, b in zip(first.embedder.model.parameters(), second.embedder.model.parameters()):
        assert torch.equal(a, b)


def test_a_batch_in_pieces_has_the_gradient_of_the_whole(shop, make):
    embedder = make("qwen3_vl")
    items, known = shop.items[:6], torch.eye(6, dtype=torch.bool)
    gradients = []
    for size in (None, 4):
        embedder.model.zero_grad()
        loss = _backward(embedder, items, known, few(chunk_size=size))
        gradients.append([p.grad.clone() for p in embedder.model.parameters() if p.requires_grad])
        assert float(loss) > 0
    for whole, pieces in zip(*gradients):
        torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))
    assert all(p.grad is None for p in embedder.model.parameters() if not p.requires_grad)


def test_the_head_starts_from_standardised_states(shop, make):
    embedder = make("internvl", stirred=False)
    before = embedder.model.head.weight.clone()
    states = embedder.model.states(embedder.batch(shop.items)).detach()
    standardise_head(embedder, shop.items)
    expected = ((states - states.mean(0)) / states.std(0).clamp(min=1e-3)) @ before.T
    torch.testing.assert_close(embedder.model.head(states), expected, rtol=1e-3, atol=1e-3)


def test_the_rate_rises_then_falls_to_nothing():
    rates = [schedule(step, 100, 0.1) for step in range(101)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == 1.0
    assert rates[100] == pytest.approx(0.0)


def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(shop, tmp_path):
    nowhere = MLLMConfig(str(tmp_path / "nowhere"))
    with pytest.raises(CatalogError, match="no pairs in split 'train'"):
        train_mllm(Catalog(shop.items), nowhere, tmp_path / "a")
    with pytest.raises(CatalogError, match="lower training.batch_size"):
        train_mllm(shop, nowhere, tmp_path / "b", training=few(batch_size=9))
    with pytest.raises(ConfigError, match=r"batch_size \(1\) must be 2 or more"):
        few(batch_size=1)
    assert not (tmp_path / "a").exists()

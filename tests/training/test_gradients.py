"""The gradient cache gives the plain gradient."""

from __future__ import annotations

import pytest
import torch

from tgqformer.training.data import StepDataset
from tgqformer.training.gradient_cache import GradientCache
from tgqformer.training.losses import PerItemModel, batch_loss

TOLERANCE = 1e-6
DROPOUT = "embedder.language.lora_dropout=0.4"


def joined(outputs):
    return {name: torch.cat([out[name] for out in outputs]) for name in outputs[0]}


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_equal_gradients(a, b, tolerance: float = TOLERANCE) -> None:
    assert a.keys() == b.keys()
    for name in a:
        bound = tolerance * max(1.0, b[name].abs().max().item())  # float32 has seven digits
        assert (a[name] - b[name]).abs().max().item() <= bound, name


def plain(model, step, loss, seed: int):
    """Every chunk with its graph, one backward pass."""
    torch.manual_seed(seed)
    value = loss(joined([model(chunk) for chunk in step.chunks]))
    value.backward()
    return value.detach(), gradients(model)


def cached(model, step, loss, seed: int):
    torch.manual_seed(seed)
    value = GradientCache(model, loss).step(step.chunks)
    return value, gradients(model)


@pytest.mark.parametrize("chunk", [1, 5, 11, 16])
@pytest.mark.parametrize("space", ["tiny", "shared"])
def test_cached_gradient_is_the_plain_one(shop, config_of, embedder_of, chunk, space):
    name = [f"embedder.{t}_tower.name=shared" for t in ("image", "text")] * (space == "shared")
    config = config_of(DROPOUT, "embedder.matryoshka=8,16", *name, chunk_size=chunk)
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    assert sum(len(c.towers) for c in step.chunks) == 16
    model = PerItemModel(embedder.model, config.training.loss).train()

    def loss(items):
        return batch_loss(items, step.facts, config.training.loss, (8, 16))[0]

    value, expected = plain(model, step, loss, seed=1)
    again, found = cached(model, step, loss, seed=1)
    assert again.item() == pytest.approx(value.item(), abs=1e-6)
    assert not again.requires_grad
    assert_equal_gradients(found, expected)
    other = plain(model, step, loss, seed=2)[1]
    assert any(not torch.equal(other[n], expected[n]) for n in expected)  # dropout is on
    scales = {f"model.log_scales.{n}" for n in ("embedding", "visual")}
    assert all(bool(found[n]) for n in scales)


def test_chunks_leave_the_random_state_of_one_pass(shop, config_of, embedder_of):
    config = config_of(DROPOUT, chunk_size=5)
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    model = PerItemModel(embedder.model, config.training.loss).train()

    def loss(items):
        return batch_loss(items, step.facts, config.training.loss)[0]

    plain(model, step, loss, seed=1)
    expected = torch.get_rng_state()
    cached(model, step, loss, seed=1)
    assert torch.equal(torch.get_rng_state(), expected)


def test_chunked_is_unchunked(shop, config_of, embedder_of):
    grads = []
    for chunk in ("none", 7):
        config = config_of(chunk_size=chunk)
        embedder = embedder_of(config, shop)
        step = StepDataset(embedder, shop, config.training)[2]

        def loss(items, step=step, config=config):
            return batch_loss(items, step.facts, config.training.loss)[0]

        model = PerItemModel(embedder.model, config.training.loss).train()
        grads.append(cached(model, step, loss, seed=0)[1])
    assert_equal_gradients(*grads, tolerance=5e-6)  # batches of other shapes round otherwise

"""Attention in the cheap order, and the places of visual tokens."""

import pytest
import torch

from tgqformer.connectors import ConnectorConfig, ConnectorShape, build_connector
from tgqformer.connectors.blocks import Attention, GridPositions, sine_cosine
from tgqformer.towers.base import TowerBatch

BATCH, QUERIES, MEMORY, WIDTH = 3, 2, 40, 32


@pytest.mark.parametrize("mask_shape", [None, (BATCH, 1, 1, MEMORY), (QUERIES, MEMORY)])
def test_folded_attention_is_attention(monkeypatch, mask_shape):
    torch.manual_seed(0)
    attention = Attention(WIDTH, heads=4)
    queries = torch.randn(BATCH, QUERIES, WIDTH)
    memory = torch.randn(BATCH, MEMORY, WIDTH, requires_grad=True)
    mask = None if mask_shape is None else torch.rand(mask_shape) > 0.2
    found = []
    for folds in (True, False):
        monkeypatch.setattr(attention, "_folds", lambda *_, folds=folds: folds)
        out, _ = attention(queries, memory, mask)
        (gradient,) = torch.autograd.grad(out.square().sum(), memory)
        found.append((out, gradient))
    for folded, plain in zip(*found, strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-5)


def test_few_queries_over_many_tokens_fold_and_many_over_few_do_not():
    attention = Attention(WIDTH, heads=4)
    assert attention._folds(QUERIES, 200)
    assert not attention._folds(200, QUERIES)


def test_every_place_of_a_grid_has_its_own_position():
    table = sine_cosine(14, 64)
    near = torch.cdist(table, table) + 10 * torch.eye(len(table))
    assert near.min() > 0.1
    neighbour = (table[0] - table[1]).norm()
    assert neighbour < (table[0] - table[5]).norm()


def test_positions_start_anew_with_each_photo_and_leave_the_class_token_alone():
    places = GridPositions(1 + 9, 16)(20)
    torch.testing.assert_close(places[:10], places[10:])
    assert not places[0].any()
    assert places[1].any()


@pytest.mark.parametrize("kind", ["tgqformer", "qformer", "qformer_text", "perceiver"])
def test_only_with_positions_does_the_order_of_the_tokens_matter(kind):
    shape = ConnectorShape(
        visual=12, image_global=12, text=10, text_global=10, output=8, photo_tokens=9
    )
    torch.manual_seed(0)
    visual, text = torch.randn(2, 9, 12), torch.randn(2, 4, 10)
    masks = torch.ones(2, 9, dtype=torch.bool), torch.ones(2, 4, dtype=torch.bool)
    presence, words = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 0)
    changes = {}
    for positions in (True, False):
        config = ConnectorConfig(kind=kind, width=16, heads=2, layers=1, positions=positions)
        connector = build_connector(config, shape).eval()
        outs = [
            connector(
                TowerBatch(v, masks[0], v.mean(1), text, masks[1], text.mean(1), presence, words)
            ).tokens
            for v in (visual, visual.flip(1))
        ]
        changes[positions] = (outs[0] - outs[1]).abs().max().item()
    assert changes[False] < 1e-5 < 1e-3 < changes[True]

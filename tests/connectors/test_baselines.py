"""Text only and the sum of two frozen vectors: connectors that hand on no token."""

from __future__ import annotations

import pytest
import torch

from tgqformer.connectors import ConnectorConfig, ConnectorShape, build_connector, needs_backbone
from tgqformer.towers.base import TowerBatch

SHAPE = ConnectorShape(visual=12, image_global=10, text=8, text_global=6, output=20)
SMALL = {"width": 16, "heads": 4, "layers": 2, "anchored": 4, "exploratory": 2}


def connector(kind: str):
    return build_connector(ConnectorConfig(kind=kind, **SMALL), SHAPE)


@pytest.mark.parametrize("kind", ["text_only", "clip_sum"])
def test_no_token_and_nothing_to_train(kind, states):
    model = connector(kind)
    out = model(TowerBatch(**states()), return_attention=True)
    assert out.tokens.shape == (5, 0, SHAPE.output)
    assert model.num_tokens == 0
    assert not list(model.parameters())
    assert tuple(out.streams) == model.stream_names
    assert (out.gates, out.attention, out.projections) == ({}, {}, {})


def test_who_reads_what():
    told = {
        kind: (needs_backbone(kind), connector(kind).prompt_text, connector(kind).num_tokens)
        for kind in ("tgqformer", "notellm2", "text_only", "image_only", "clip_sum")
    }
    assert told == {
        "tgqformer": (True, True, 6),
        "notellm2": (True, True, 6),
        "text_only": (True, True, 0),
        "image_only": (True, False, 6),
        "clip_sum": (False, False, 0),
    }


def test_image_only_is_the_linear_projector(states):
    torch.manual_seed(0)
    ours = connector("image_only")
    torch.manual_seed(0)
    linear = connector("linear")
    assert torch.equal(ours(TowerBatch(**states())).tokens, linear(TowerBatch(**states())).tokens)


def test_the_sum_hands_on_the_frozen_vectors_of_what_is_there(states):
    model, batch = connector("clip_sum"), states()
    batch["presence"][0, 0] = batch["presence"][1, 1] = False
    streams = model(TowerBatch(**batch)).streams
    for column, name in enumerate(("image", "text")):
        shown = batch["presence"][:, column : column + 1]
        assert torch.equal(streams[name], batch[f"{name}_global"] * shown)
        assert streams[name].shape[1] == model.stream_width(name)

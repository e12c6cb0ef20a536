"""`embedder.refine`: the backbone starts from what the connector's streams say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head
from tgqformer.presets import load_preset


@pytest.fixture
def refined():
    config = override(load_preset("tiny").embedder, ["refine=true"])
    return ItemEmbedder.from_config(config, seed=0)


def test_it_begins_near_the_streams_and_moves_with_the_backbone(refined, items):
    whole = [item for item in items if item.images]
    initialise_head(refined.model, refined.batch(whole))
    views = refined.encode_views(whole)
    start = (views["embedding"] * views["visual"]).sum(axis=1)
    assert start.min() > 0.9
    with torch.no_grad():
        refined.model.head.weight.mul_(100)
    views = refined.encode_views(whole)
    assert (views["embedding"] * views["visual"]).sum(axis=1).max() < start.min()


def test_an_item_without_a_photo_is_the_backbone_s_alone(refined, items):
    bare = [replace(items[0], images=()), replace(items[0], title="another", images=())]
    before = refined.encode(bare)
    with torch.no_grad():
        for head in refined.model.visual_head.values():
            head[1].weight.mul_(-7)
    np.testing.assert_array_equal(refined.encode(bare), before)

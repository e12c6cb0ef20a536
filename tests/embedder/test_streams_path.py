"""`fusion="streams"`: what the connector's streams say is added behind the backbone's head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head
from tgqformer.language import NOTELLM2_PROMPT

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def around(make, config) -> ItemEmbedder:
    return make(override(config, ["fusion=streams"]))


def test_the_embedding_by_hand(around, items):
    model, batch = around.model, around.batch(items)
    with torch.no_grad():
        out = model.connector(**batch.towers.__dict__)
        said = model.head(model.backbone(batch.prompt, out.tokens))
        for name, stream in out.streams.items():
            norm, linear = model.visual_head[name]
            said = said + linear(norm(stream))
        found = model(batch)
    torch.testing.assert_close(found.embedding, F.normalize(said, dim=-1))


def test_it_starts_as_what_the_streams_say_and_learns_to_listen(make, config, items):
    model = make(override(config, ["fusion=streams"]), stirred=False).model
    embedder_batch = make(config).batch(items)
    initialise_head(model, embedder_batch)
    out = model(embedder_batch)
    assert torch.equal(out.embedding, out.visual)
    (out.embedding[0] @ out.embedding[1]).backward()
    assert bool(model.head.weight.grad.any())


def test_without_streams_there_is_nothing_to_add(make, config, items):
    text_only = [
        make(override(config, ["connector.kind=text_only", *more]))
        for more in ([], ["fusion=streams"])
    ]
    for embedder in text_only:
        initialise_head(embedder.model, embedder.batch(items))
    np.testing.assert_array_equal(*(embedder.encode(items) for embedder in text_only))


def test_without_a_backbone_the_streams_are_the_embedding_anyway(make, config, items):
    simple = [
        make(override(config, ["connector.kind=clip_sum", *more]))
        for more in ([], ["fusion=streams"])
    ]
    np.testing.assert_array_equal(*(embedder.encode(items) for embedder in simple))


def test_whatever_is_missing_the_vectors_are_finite_and_of_length_one(around, items):
    vectors = around.encode(items)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=TOLERANCE)


def test_it_is_saved_and_loaded_bit_for_bit(around, items, tmp_path):
    around.save_pretrained(tmp_path)
    loaded = ItemEmbedder.from_pretrained(tmp_path, device="cpu")
    assert loaded.config == around.config
    np.testing.assert_array_equal(loaded.encode(items), around.encode(items))


def test_a_prompt_of_two_parts_has_the_path_in_both_views(make, config, items):
    two_parts = [f"language.prompt.{name}={value}" for name, value in NOTELLM2_PROMPT.items()]
    embedder = make(override(config, ["fusion=streams", *two_parts]), stirred=False)
    batch = embedder.batch(items)
    initialise_head(embedder.model, batch)
    out = embedder.model(batch)
    assert torch.equal(out.embedding, out.visual)
    streams = F.normalize(sum(embedder.model._heads(out.connector).values()), dim=-1)
    torch.testing.assert_close(out.embedding, streams)

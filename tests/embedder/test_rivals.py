"""NoteLLM-2 in full, and text only, image only and CLIP-style sum: configurations of one model.

Here as they are published: without a base.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tgqformer.catalog.items import Item
from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.model import LateFusion, initialise_head
from tgqformer.errors import ConfigError
from tgqformer.language import NOTELLM2_PROMPT
from tgqformer.objectives import info_nce
from tgqformer.training.config import LossConfig
from tgqformer.training.losses import BatchFacts, batch_loss, per_item

PROMPT = [f"language.prompt.{name}={template}" for name, template in NOTELLM2_PROMPT.items()]
METHODS = {
    "notellm2": ["connector.kind=notellm2", "connector.notellm2_layers=2", "fusion=late", *PROMPT],
    "text_only": ["connector.kind=text_only"],
    "image_only": ["connector.kind=image_only"],
    "clip_sum": ["connector.kind=clip_sum"],
}
METHODS = {name: ["base=none", *options] for name, options in METHODS.items()}
TOLERANCE = 1e-5
every_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def method(make, config):
    """An embedder of each method, made once."""
    made: dict[str, ItemEmbedder] = {}

    def find(name: str) -> ItemEmbedder:
        if name not in made:
            made[name] = make(override(config, METHODS[name]))
        return made[name]

    return find


def views(embedder: ItemEmbedder, *items: Item) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings and the visual views."""
    found = embedder.encode_views(list(items))
    return found["embedding"], found["visual"]


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return not np.allclose(a, b, atol=1e-4)


# -- all of them ----------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("connector_only", [False, True])
def test_whatever_is_missing_the_vectors_are_finite_and_of_length_one(
    method, items, name, connector_only
):
    found = method(name).encode_views(items, connector_only=connector_only)
    assert ("embedding" in found) == (not connector_only or not method(name).model.aligns)
    for vectors in found.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@every_method
def test_an_item_does_not_depend_on_its_batch(method, items, name):
    together = method(name).encode(items)
    alone = np.concatenate([method(name).encode([item]) for item in items[3:8]])
    np.testing.assert_allclose(together[3:8], alone, atol=TOLERANCE)


@every_method
def test_each_is_saved_and_loaded_bit_for_bit(method, items, name, tmp_path):
    embedder = method(name)
    embedder.save_pretrained(tmp_path)
    loaded = ItemEmbedder.from_pretrained(tmp_path, device="cpu")
    assert loaded.config == embedder.config
    assert np.array_equal(loaded.encode(items), embedder.encode(items))


@every_method
@pytest.mark.parametrize("part", ["photo", "words"])
def test_each_reads_what_it_says(method, items, photo, name, part):
    item = items[0]
    other = {"photo": {"images": (photo(99),)}, "words": {"title": "something else"}}[part]
    unread = {"text_only": "photo", "image_only": "words"}
    [a, b], _ = views(method(name), item, replace(item, **other))
    assert differ(a, b) == (unread.get(name) != part)


@every_method
def test_the_head_starts_centred(make, config, items, name):
    embedder = make(override(config, METHODS[name]), stirred=False)
    whole = [item for item in items if item.images and item.title]
    batch = embedder.batch(whole)
    initialise_head(embedder.model, batch)
    model = embedder.model
    with torch.no_grad():
        out = model.connect(batch.towers)
        if model.head is None:
            state = sum(head(out.streams[n]) for n, head in model.visual_head.items())
        else:
            state = model.head(model.read(batch, out)[1])
    spread = state.std(dim=0).mean()
    assert float(spread) > 0.1
    assert float(state.mean(dim=0).abs().max()) < 1e-3 * float(spread)


# -- NoteLLM-2 ------------------------------------------------------------------------------------


def test_late_fusion_by_hand():
    torch.manual_seed(0)
    fusion = LateFusion(5, 3).double()
    state, image = torch.randn(4, 3).double(), torch.randn(4, 5).double()
    has_image = torch.tensor([[1], [1], [0], [1]]).bool()
    fused = fusion(state, image, has_image)
    project, gate = fusion.project.weight, fusion.gate.weight
    assert (project.shape, gate.shape) == ((3, 5), (3, 6))
    assert fusion.project.bias is None
    assert fusion.gate.bias is None
    for row in (0, 1, 3):
        g = image[row]
        g = (g - g.mean()) / (g.var(correction=0) + 1e-5).sqrt()
        v = project @ g
        z = 1 / (1 + torch.exp(-(gate[:, :3] @ state[row] + gate[:, 3:] @ v)))
        torch.testing.assert_close(fused[row], z * state[row] + (1 - z) * v)
    assert torch.equal(fused[2], state[2])


def test_its_two_embeddings_by_hand(method, items):
    model = method("notellm2").model
    batch = method("notellm2").batch(items)
    with torch.no_grad():
        out = model.connect(batch.towers)
        states = model.backbone.parts(batch.prompt, model.visual_tokens(out))
        has_image = batch.towers.presence[:, :1]
        photo, whole = (
            F.normalize(model.head(model.fusion(h, batch.towers.image_global, has_image)), dim=-1)
            for h in states
        )
        found = model(batch)
    torch.testing.assert_close(found.visual, photo)
    torch.testing.assert_close(found.embedding, whole)
    assert model.head.bias is None


def test_what_it_says_of_the_photo_knows_nothing_of_the_metadata(method, items):
    item = items[0]
    others = [replace(item, title="a lamp", brand=""), replace(item, title="x " * 40)]
    nothing = Item("bare", images=item.images)
    embedding, visual = views(method("notellm2"), item, *others, nothing)
    for row in (1, 2, 3):
        np.testing.assert_allclose(visual[row], visual[0], atol=TOLERANCE)
        assert differ(embedding[row], embedding[0])


def test_items_without_photo_have_one_view_and_keep_their_words(method):
    a, b = Item("a", "red lamp"), Item("b", "blue boot")
    embedding, visual = views(method("notellm2"), a, b)
    np.testing.assert_allclose(visual[0], visual[1], atol=TOLERANCE)
    assert differ(embedding[0], embedding[1])


def test_retrieval_is_by_the_second_answer(method, items):
    embedding, visual = views(method("notellm2"), *items)
    assert np.array_equal(method("notellm2").encode(items), embedding)
    assert differ(embedding, visual)


def test_nine_parts_of_one_loss_and_one_of_the_other(method, items):
    """The gradient is that of (9 L_m + L_v) / 10, times 10 / 9."""
    embedder = method("notellm2")
    model, batch = embedder.model, embedder.batch(items[:12])
    facts = BatchFacts(6, torch.eye(12).bool(), torch.zeros(12, 12).bool(), torch.ones(12).bool())
    config = LossConfig(visual=1 / 9)

    def gradients(loss) -> list[torch.Tensor]:
        trained = [p for p in model.parameters() if p.requires_grad]
        return [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(
                trained, torch.autograd.grad(loss, trained, allow_unused=True), strict=True
            )
        ]

    model.train()
    output = model(batch)
    ours, terms = batch_loss(per_item(output, config), facts, config)
    assert terms.keys() == {"main", "visual"}
    main, visual = (
        info_nce(x[:6], x[6:], output.scales[n].mean(), known=facts.known, both_sides=True)
        for n, x in {"embedding": output.embedding, "visual": output.visual}.items()
    )
    torch.testing.assert_close(ours * 0.9, (9 * main + visual) / 10)
    reference = gradients((9 * main + visual) / 10)
    again = model(batch)
    found = gradients(batch_loss(per_item(again, config), facts, config)[0] * 0.9)
    assert any(bool(g.any()) for g in found)
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("left_out", ["fusion=none", "prompt"])
def test_each_part_of_it_is_a_switch(make, config, items, left_out):
    options = METHODS["notellm2"]
    options = options[:4] if left_out == "prompt" else [*options, left_out]
    model = make(override(config, options)).model
    assert (model.fusion is None) == (left_out != "prompt")
    assert model.two_parts == (left_out != "prompt")


def test_fusion_needs_a_backbone(config):
    with pytest.raises(ConfigError, match=r"embedder.fusion 'late' .* 'clip_sum' has no backbone"):
        override(config, ["connector.kind=clip_sum", "fusion=late"])
    with pytest.raises(ConfigError, match=r"fusion 'late' .* language.kind 'none' leaves it out"):
        override(config, ["connector.kind=notellm2", "language.kind=none", "fusion=late"])


@pytest.mark.parametrize("kind", ["text_only", "perceiver"])
def test_a_connector_without_streams_needs_a_backbone_or_a_base(make, config, items, kind):
    options = [f"connector.kind={kind}", "language.kind=none"]
    streams = kind == "perceiver"
    if not streams:
        with pytest.raises(ConfigError, match=rf"connector.kind '{kind}' says nothing by itself"):
            make(override(config, [*options, "base=none"]))
    embedder = make(override(config, options))
    assert embedder.encode(items).shape == (len(items), 32)


# -- the simple ones ------------------------------------------------------------------------------


def test_text_only_is_what_every_model_says_of_an_item_without_photo(method, items):
    embedding, visual = views(method("text_only"), items[0], replace(items[0], images=()))
    np.testing.assert_allclose(embedding[0], embedding[1], atol=TOLERANCE)
    assert np.array_equal(embedding, visual)


def test_without_streams_the_alignment_stage_asks_the_backbone(method, items):
    alone = method("text_only").encode_views(items, connector_only=True)["visual"]
    assert np.array_equal(alone, method("text_only").encode(items))


def test_image_only_knows_an_item_without_photo_by_nothing(method):
    a, b = method("image_only").encode([Item("a", "red lamp"), Item("b", "blue boot")])
    np.testing.assert_allclose(a, b, atol=TOLERANCE)


def test_the_sum_by_hand(method, items):
    embedder = method("clip_sum")
    model, towers = embedder.model, embedder.batch(items).towers
    assert model.backbone is None
    assert model.head is None
    with torch.no_grad():
        total = sum(
            head[1](head[0](vector))
            for head, vector in (
                (model.visual_head["image"], towers.image_global),
                (model.visual_head["text"], towers.text_global),
            )
        )
    expected = F.normalize(total, dim=-1).numpy()
    np.testing.assert_allclose(embedder.encode(items), expected, atol=TOLERANCE)
    assert not any(n.startswith("backbone.") for n, _ in model.named_parameters())


def test_the_sum_loads_no_backbone(config, make, items):
    without = replace(config.language, kind="hf", name="./no/such/folder")
    embedder = make(override(replace(config, language=without), METHODS["clip_sum"]))
    assert embedder.encode(items[:2]).shape == (2, 32)

"""The frozen base: what it is fitted to, and that all that is learned begins as nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.catalog.items import Item
from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.base import LEAST, PHOTO_SHARE, FrozenBase, Reliability
from tgqformer.embedder.model import STRENGTH_UNIT
from tgqformer.language import NOTELLM2_PROMPT
from tgqformer.towers.base import TowerBatch

IMAGE, TEXT, DIMS = 20, 14, 16
PROMPT = [f"language.prompt.{name}={template}" for name, template in NOTELLM2_PROMPT.items()]
MODELS = {
    "tgqformer": [],
    "without a backbone": ["language.kind=none"],
    "frozen": ["base=frozen", "reliability=false"],
    "text_only": ["connector.kind=text_only"],
    "linear": ["connector.kind=linear", "language.kind=none"],
    "notellm2": ["connector.kind=notellm2", "connector.notellm2_layers=2", "fusion=late", *PROMPT],
}


def vectors(count: int, width: int, seed: int = 0) -> torch.Tensor:
    """Vectors of some strong axes and some weak ones, off the origin."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(1, -1, width)
    return torch.randn(count, width, generator=generator) * scale + 3.0


def towers(
    image: torch.Tensor,
    text: torch.Tensor,
    presence: torch.Tensor,
    words: torch.Tensor | None = None,
) -> TowerBatch:
    nothing, mask = torch.zeros(len(image), 1, 1), torch.ones(len(image), 1, dtype=torch.bool)
    words = torch.zeros(len(image), 0) if words is None else words
    return TowerBatch(nothing, mask, image, nothing, mask, text, presence, words)


def both(count: int) -> torch.Tensor:
    return torch.ones(count, 2, dtype=torch.bool)


def fitted(image: torch.Tensor, text: torch.Tensor, dims: int = DIMS) -> FrozenBase:
    base = FrozenBase(image.shape[1], text.shape[1], dims)
    base.fit(image, text)
    return base


def used(axes: torch.Tensor) -> torch.Tensor:
    """[D] bool, the dimensions that some axis fills."""
    return axes.any(dim=0)


def fit(embedder: ItemEmbedder, items: list[Item]) -> ItemEmbedder:
    found = embedder.features.globals(items)
    has_image, has_text = found.presence.T
    parts = (found.image[has_image], found.text[has_text], found.words[has_text])
    embedder.model.base.fit(*map(torch.from_numpy, parts))
    return embedder


# -- the fit --------------------------------------------------------------------------------------


def test_a_part_is_the_principal_axes_half_whitened():
    image, text = vectors(200, IMAGE), vectors(150, TEXT, 1)
    base = fitted(image, text)
    part, _ = base(towers(image, text[:1].expand(200, -1), both(200)))
    centred = (image - image.mean(dim=0)).double()
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    count = round(PHOTO_SHARE * DIMS)
    # the i-th coordinate has a deviation of s_i, and half of it is divided away
    expected = (centred @ axes.T / (values / math.sqrt(200)).sqrt())[:, :count]
    expected = math.sqrt(0.5) * expected / expected.norm(dim=1, keepdim=True)
    own = part[:, used(base.image_axes)]
    torch.testing.assert_close(own.abs().double(), expected.abs(), rtol=1e-3, atol=1e-5)


def test_the_order_of_the_items_does_not_matter():
    image, text = vectors(60, IMAGE), vectors(50, TEXT, 1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    one, other = fitted(image, text), fitted(image[order], text.flip(0))
    for name, own in one.named_buffers():
        torch.testing.assert_close(own, other.get_buffer(name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("items", "dims"), [(200, 16), (5, 16), (200, 3), (200, 64), (2, 2)])
def test_the_parts_share_the_dimensions_and_every_prefix_holds_both(items, dims):
    base = fitted(vectors(items, IMAGE), vectors(items, TEXT, 1), dims)
    photo, metadata = used(base.image_axes), used(base.text_axes)
    assert not bool((photo & metadata).any())
    assert bool(photo.any())
    assert bool(metadata.any())
    most = min(items - 1, IMAGE)
    assert int(photo.sum()) <= most
    assert int(metadata.sum()) <= min(items - 1, TEXT)
    if items > dims >= 8 and dims <= IMAGE:
        assert int(photo.sum()) == round(PHOTO_SHARE * dims)
        for prefix in range(3, dims + 1):
            share = int(photo[:prefix].sum()) / prefix
            assert abs(share - PHOTO_SHARE) <= 1 / prefix, prefix
            assert int(metadata[:prefix].sum()) > 0


def test_what_one_tower_cannot_use_the_other_takes():
    narrow = fitted(vectors(99, IMAGE), vectors(99, 2, 1))
    assert int(used(narrow.text_axes).sum()) == 2
    assert int(used(narrow.image_axes).sum()) == DIMS - 2
    narrow = fitted(vectors(99, 2), vectors(99, TEXT, 1))
    assert int(used(narrow.image_axes).sum()) == 2
    assert int(used(narrow.text_axes).sum()) == TEXT


@pytest.mark.parametrize("missing", ["photos", "metadata"])
def test_a_catalog_of_one_part_gives_it_every_dimension(missing):
    image, text = vectors(99, IMAGE), vectors(99, TEXT, 1)
    none = {"photos": (image[:0], text), "metadata": (image, text[:0])}[missing]
    base = fitted(*none)
    assert used(base.image_axes).all() or used(base.text_axes).sum() == TEXT
    absent = base.image_axes if missing == "photos" else base.text_axes
    assert not bool(absent.any())


@pytest.mark.parametrize("items", [0, 1, 2, 3])
def test_a_handful_of_items_is_no_accident(items):
    base = fitted(vectors(items, IMAGE), vectors(items, TEXT, 1))
    parts = base(towers(vectors(9, IMAGE, 2), vectors(9, TEXT, 3), both(9)))
    assert all(bool(part.isfinite().all()) for part in parts)
    assert all(bool(part.any()) == (items > 1) for part in parts)


def test_what_never_varies_and_what_hardly_does_is_no_axis():
    image, text = vectors(80, IMAGE), vectors(1, TEXT, 1).expand(80, -1)
    image[:, 5:] = image[:1, 5:]
    image[:, 4] = image[:, 4].mean() + 0.1 * math.sqrt(LEAST) * torch.randn(80)
    base = fitted(image, text)
    assert int(used(base.image_axes).sum()) == 4
    assert not bool(base.text_axes.any())


def test_a_missing_part_is_zero_and_the_rest_has_unit_length():
    image, text = vectors(60, IMAGE), vectors(60, TEXT, 1)
    base = fitted(image, text)
    presence = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()
    photo, metadata = base(towers(image[:4], text[:4], presence))
    half = math.sqrt(0.5)
    torch.testing.assert_close(photo.norm(dim=1), torch.tensor([half, half, 0, 0]))
    torch.testing.assert_close(metadata.norm(dim=1), torch.tensor([half, 0, half, 0]))
    assert photo.dtype == metadata.dtype == torch.float32


def test_until_it_is_fitted_it_takes_the_vectors_as_they_are():
    base = FrozenBase(IMAGE, TEXT, DIMS)
    image, text = vectors(5, IMAGE), vectors(5, TEXT, 1)
    photo, metadata = base(towers(image, text, both(5)))
    for part, whole, axes in ((photo, image, base.image_axes), (metadata, text, base.text_axes)):
        own = part[:, used(axes)]
        first = whole[:, : own.shape[1]]
        expected = math.sqrt(0.5) * first / first.norm(dim=1, keepdim=True)
        torch.testing.assert_close(own, expected)
    assert bool((used(base.image_axes) ^ used(base.text_axes)).all())


def test_words_stand_beside_the_vector_of_the_text():
    """Half of a metadata part's cosine is the vectors', half the words', before axes are cut."""
    text, words = vectors(300, TEXT, 1), vectors(300, 9, 2)
    base = FrozenBase(IMAGE, TEXT, 64, words=9)
    base.fit(vectors(300, IMAGE), text, words)
    only_text = torch.tensor([[0, 1]]).bool().expand(300, -1)
    _, part = base(towers(vectors(300, IMAGE), text, only_text, words))
    centred = [(x - x.mean(dim=0)).double() for x in (text, words)]
    joined = torch.cat([x / x.norm(dim=1, keepdim=True) for x in centred], dim=1)
    centred_values = torch.linalg.svd(joined - joined.mean(dim=0), full_matrices=False)
    values, axes = centred_values[1], centred_values[2]
    expected = joined @ axes.T / (values / math.sqrt(300)).sqrt()
    expected = math.sqrt(0.5) * expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(part @ part.T, (expected @ expected.T).float(), rtol=1e-3, atol=1e-4)


def test_other_words_are_another_item():
    text, words = vectors(60, TEXT, 1), vectors(60, 9, 2)
    base = FrozenBase(IMAGE, TEXT, DIMS, words=9)
    base.fit(vectors(60, IMAGE), text, words)
    _, one = base(towers(vectors(1, IMAGE), text[:1], both(1), words[:1]))
    _, other = base(towers(vectors(1, IMAGE), text[:1], both(1), words[1:2]))
    assert not torch.allclose(one, other, atol=1e-2)


@pytest.mark.parametrize("photo", [0.5, 1.0, 2.0])
def test_the_balance_is_the_ratio_of_the_parts_and_keeps_their_sum(photo):
    base = fitted(vectors(60, IMAGE), vectors(60, TEXT, 1))
    base.balance(photo)
    one, other = base(towers(vectors(5, IMAGE), vectors(5, TEXT, 1), both(5)))
    lengths = one.norm(dim=1), other.norm(dim=1)
    torch.testing.assert_close(lengths[0] / lengths[1], torch.full((5,), photo))
    torch.testing.assert_close(lengths[0] ** 2 + lengths[1] ** 2, torch.ones(5))


# -- the reliability ------------------------------------------------------------------------------


def test_the_weights_are_one_at_the_start_and_stay_within_their_bounds():
    torch.manual_seed(0)
    weigh = Reliability(IMAGE, TEXT, parts=4)
    batch = towers(vectors(9, IMAGE), vectors(9, TEXT, 1), both(9))
    assert torch.equal(weigh(batch, None), torch.ones(9, 4))
    with torch.no_grad():
        weigh.last.weight.normal_(std=100)
    found = weigh(batch, torch.rand(9, 1)).detach()
    assert float(found.min()) == pytest.approx(math.exp(-1.5), rel=1e-3)
    assert float(found.max()) == pytest.approx(math.exp(1.5), rel=1e-3)


def test_the_weights_do_not_train_the_agreement_and_see_no_missing_part():
    torch.manual_seed(0)
    weigh = Reliability(IMAGE, TEXT, parts=4)
    with torch.no_grad():
        weigh.last.weight.normal_()
    image, text = vectors(2, IMAGE), vectors(2, TEXT, 1)
    agreement = torch.rand(2, 1, requires_grad=True)
    weigh(towers(image, text, both(2)), agreement).sum().backward()
    assert agreement.grad is None
    without = torch.tensor([[0, 1], [0, 1]]).bool()
    one, other = weigh(towers(image, text[:1].expand(2, -1), without), None)
    torch.testing.assert_close(one, other)


# -- in a model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_an_untrained_model_says_what_its_base_says(make, config, items, name):
    embedder = fit(make(override(config, MODELS[name]), stirred=False), items)
    vectors = embedder.encode(items)
    assert np.array_equal(vectors, embedder.encode_base(items))
    known = [bool(item.images or item.title) for item in items]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), known, atol=1e-5)
    alone = embedder.encode_views(items, connector_only=True)["embedding"]
    assert np.array_equal(alone, vectors)


def test_an_untrained_cosine_is_that_of_the_parts(make, config, items):
    """Half the photos' and half the metadata's, where two items have both."""
    embedder = fit(make(config, stirred=False), items)
    whole = [item for item in items if item.images and item.title]
    with torch.no_grad():
        photo, metadata = embedder.model.base(embedder.batch(whole).towers)
    expected = photo @ photo.T + metadata @ metadata.T
    found = embedder.encode(whole)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5)


def test_the_embedding_by_hand(make, config, items):
    embedder = fit(make(config), items)
    model, batch = embedder.model, embedder.batch(items)
    with torch.no_grad():
        out = model(batch)
        weights = model.reliability(batch.towers, out.connector.agreement)
        parts = model.base(batch.towers)
        base = sum(weights[:, i : i + 1] * part for i, part in enumerate(parts))
        streams = [head(out.connector.streams[n]) for n, head in model.visual_head.items()]
        said = sum(weights[:, 2 + i : 3 + i] * stream for i, stream in enumerate(streams))
        said = STRENGTH_UNIT * model.strength * said / sum(streams).norm(dim=1, keepdim=True)
        backbone = model.head(model.backbone(batch.prompt, model.visual_tokens(out.connector)))
        state = base + base @ model.adapt.weight.T + said + backbone
    expected = state / state.norm(dim=1, keepdim=True)
    torch.testing.assert_close(out.embedding, expected, rtol=1e-4, atol=1e-5)
    assert list(out.weights) == ["photo", "metadata", *model.visual_head]
    torch.testing.assert_close(torch.cat(list(out.weights.values()), dim=1), weights)


def test_every_learned_part_has_a_gradient_from_the_first_step_on(make, config, items):
    embedder = fit(make(config, stirred=False), items)
    model = embedder.model.train()
    embedding = model(embedder.batch(items)).embedding
    goal = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0))
    (embedding * goal).sum().backward()
    last = (model.adapt.weight, model.strength, model.head.weight, model.head.bias)
    for weight in (*last, model.reliability.last.weight):
        assert bool(weight.grad.any())
    assert not list(model.base.parameters())


@pytest.mark.parametrize("name", ["tgqformer", "notellm2"])
def test_an_item_of_which_nothing_is_known_does_not_drown_the_others(make, config, items, name):
    """A vector that is zero at the start has a gradient like any other's."""
    embedder = fit(make(override(config, MODELS[name]), stirred=False), items)
    goal = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))

    def gradient(item: Item) -> float:
        out = embedder.model(embedder.batch([item, items[0]]))
        loss = (out.embedding * goal).sum() + (out.visual * goal).sum()
        [found] = torch.autograd.grad(loss, [embedder.model.head.weight])
        return float(found.norm())

    assert gradient(Item("nothing")) < 30 * gradient(items[1])


def test_a_fitted_base_is_saved_and_loaded_bit_for_bit(make, config, items, tmp_path):
    embedder = fit(make(config), items)
    before = {name: x.clone() for name, x in embedder.model.base.named_buffers()}
    embedder.save_pretrained(tmp_path)
    loaded = ItemEmbedder.from_pretrained(tmp_path, device="cpu")
    assert all(torch.equal(loaded.model.base.get_buffer(name), x) for name, x in before.items())
    assert np.array_equal(loaded.encode(items), embedder.encode(items))
    assert np.array_equal(loaded.encode_base(items), embedder.encode_base(items))


def test_without_a_base_nothing_of_it_is_there(make, config, items):
    embedder = make(override(config, ["base=none"]))
    model = embedder.model
    assert (model.base, model.adapt, model.reliability) == (None, None, None)
    assert not embedder.encode_base(items).any()
    assert not embedder.outputs(items).weights


def test_the_frozen_base_reads_a_photo_and_the_words(make, config, items, photo):
    embedder = fit(make(override(config, ["base=frozen"]), stirred=False), items)
    item = items[0]
    others = [replace(item, images=(photo(99),)), replace(item, title="something else")]
    own, *moved = embedder.encode_base([item, *others])
    assert not any(np.allclose(own, other, atol=1e-3) for other in moved)

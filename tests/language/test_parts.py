"""A prompt in two parts: the first is read without the second, in decoders and encoders alike."""

from __future__ import annotations

import pytest
import torch

from tgqformer.language import (
    LanguageConfig,
    PromptBatch,
    PromptBuilder,
    PromptConfig,
    load_backbone,
    load_tokenizer,
)
from tgqformer.language.backbone import block_mask, pool, splice

Q = 3
TEMPLATES = {
    "both": "photo {image} {answer} product {text} of",
    "image_only": "photo {image} {answer} unknown",
    "text_only": "unknown {answer} product {text} of",
    "neither": "unknown {answer} unknown",
}
FAMILIES = ["bert", "qwen3", "llama"]
every_family = pytest.mark.parametrize("kind", FAMILIES)
TOLERANCE = 1e-5


class Reader:
    """A backbone and its prompts."""

    def __init__(self, folder, kind: str, **options) -> None:
        self.config = LanguageConfig(
            name=str(folder(kind)),
            dtype="float32",
            train="frozen",
            prompt=PromptConfig(**TEMPLATES),
            **options,
        )
        self.backbone = load_backbone(self.config).eval()
        self.builder = PromptBuilder(load_tokenizer(self.config), self.config.prompt, Q)

    def read(self, texts, has_image=None, seed: int = 0):
        prompt = self.builder.build(texts, [True] * len(texts) if has_image is None else has_image)
        with torch.no_grad():
            return self.backbone.parts(prompt, tokens(len(texts), seed))


@pytest.fixture
def reader(folder):
    return lambda kind, **options: Reader(folder, kind, **options)


def tokens(batch: int, seed: int = 0) -> torch.Tensor:
    """The same for every item."""
    one = torch.randn(1, Q, 32, generator=torch.Generator().manual_seed(seed))
    return one.expand(batch, -1, -1)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE)


def cut(prompt: PromptBatch, length: int) -> PromptBatch:
    return PromptBatch(*(getattr(prompt, name)[:, :length] for name in prompt.__dataclass_fields__))


@every_family
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_first_part_knows_nothing_of_the_metadata(reader, kind, pooling):
    model = reader(kind, pooling=pooling)
    photo, whole = model.read(["red shoe", "the blue lamp of the shoe", ""])
    close(photo[1], photo[0])
    close(photo[2], photo[0])
    assert not torch.allclose(whole[1], whole[0], atol=1e-3)
    assert not torch.allclose(whole[2], whole[0], atol=1e-3)


@every_family
def test_the_photo_reaches_both_states(reader, kind):
    model = reader(kind)
    before, after = model.read(["red shoe"]), model.read(["red shoe"], seed=1)
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(before, after, strict=True))


@every_family
def test_the_first_state_is_that_of_the_first_part_read_alone(reader, kind):
    model = reader(kind)
    prompt = model.builder.build(["red shoe"], [True])
    alone = cut(prompt, int(prompt.first_part.sum()))
    with torch.no_grad():
        close(model.backbone.parts(prompt, tokens(1))[0], model.backbone(alone, tokens(1)))


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_in_a_decoder_the_last_state_is_that_of_one_causal_pass(reader, kind):
    model = reader(kind)
    prompt = model.builder.build(["red shoe", ""], [True, False])
    with torch.no_grad():
        assert torch.equal(
            model.backbone.parts(prompt, tokens(2))[1], model.backbone(prompt, tokens(2))
        )


def test_in_an_encoder_each_part_is_pooled_over_its_own_tokens(reader):
    model = reader("bert")
    prompt = model.builder.build(["red shoe", "lamp"], [True, True])
    backbone = model.backbone
    with torch.no_grad():
        embeds = splice(
            backbone.model.get_input_embeddings()(prompt.input_ids), tokens(2), prompt.visual_slots
        )
        mask = block_mask(prompt, torch.float32)
        states = backbone.model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        photo, whole = backbone.parts(prompt, tokens(2))
    for row, length in enumerate(prompt.attention_mask.sum(dim=1).tolist()):
        n = int(prompt.first_part[row].sum())
        close(photo[row], states[row, :n].mean(dim=0))
        close(whole[row], states[row, n:length].mean(dim=0))


def test_the_mask_by_hand():
    first = torch.tensor([[1, 1, 0, 0, 0]]).bool()
    real = torch.tensor([[1, 1, 1, 1, 0]])
    ids = torch.zeros(1, 5, dtype=torch.long)
    mask = block_mask(PromptBatch(ids, real, first & False, first), torch.float64)
    seen = [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0]] * 3
    assert (mask[0, 0] == 0).long().tolist() == seen
    assert mask.shape == (1, 1, 5, 5)
    assert mask.min().item() == torch.finfo(torch.float64).min


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_an_encoder_heeds_the_mask_however_it_attends(reader, attention):
    model = reader("bert")
    model.backbone.model.set_attn_implementation(attention)
    photo, _ = model.read(["red shoe", "the blue lamp"])
    close(photo[1], photo[0])


def test_an_encoder_heeds_the_mask_in_half_precision(reader):
    model = reader("bert")
    model.backbone.model.bfloat16()
    photo, whole = model.read(["red shoe", "the blue lamp"])
    assert torch.equal(photo[1], photo[0])
    assert bool(whole.isfinite().all())


@every_family
def test_neither_padding_nor_neighbours_change_a_row(reader, kind):
    model = reader(kind)
    texts, has_image = ["red", "the red lamp of the blue shoe", "", ""], [True, True, True, False]
    together = model.read(texts, has_image)
    for i in range(4):
        alone = model.read(texts[i : i + 1], has_image[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            close(a[i : i + 1], b)


@every_family
def test_items_that_lack_parts_have_finite_states_and_gradients(reader, kind):
    model = reader(kind)
    prompt = model.builder.build(["red", "", "red", ""], [True, True, False, False])
    seen = torch.randn(4, Q, 32, requires_grad=True)
    states = model.backbone.parts(prompt, seen)
    assert all(bool(x.isfinite().all()) for x in states)
    sum(x.square().sum() for x in states).backward()
    assert bool(seen.grad.isfinite().all())
    assert bool(seen.grad[:2].any())
    assert not bool(seen.grad[2:].any())


@every_family
def test_no_visual_token_at_all(reader, kind):
    """Zero slots are spliced, and the gradient of nothing is nothing."""
    model = reader(kind)
    builder = PromptBuilder(model.builder.tokenizer, model.config.prompt, 0)
    prompt = builder.build(["red", ""], [True, True])
    none = torch.zeros(2, 0, 32, requires_grad=True)
    embeds = torch.randn(2, 5, 32)
    assert torch.equal(splice(embeds, none, torch.zeros(2, 5, dtype=torch.bool)), embeds)
    model.backbone(prompt, none).sum().backward()
    assert none.grad.shape == (2, 0, 32)
    with torch.no_grad():
        without = model.builder.build(["red", ""], [False, False])
        close(model.backbone(prompt, none), model.backbone(without, tokens(2)))


def test_pooling_of_an_empty_mask_is_finite():
    states = torch.randn(2, 3, 4)
    for pooling in ("last", "mean"):
        assert bool(pool(states, torch.zeros(2, 3), pooling).isfinite().all())

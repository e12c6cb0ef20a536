"""What is counted is what a person counts with a pencil."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tgqformer.connectors import CONNECTORS, ConnectorConfig, ConnectorShape, build_connector
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.flops import (
    Part,
    count_connector,
    count_cost,
    multiply_adds,
    prompt_length,
    training_memory,
)
from tgqformer.embedder.memory import kept_for_backward
from tgqformer.language import NOTELLM2_PROMPT, LanguageConfig, PromptConfig, load_backbone
from tgqformer.presets import load_preset
from tgqformer.towers.base import TowerBatch

torch.set_num_threads(1)

SHAPE = ConnectorShape(visual=12, image_global=10, text=8, text_global=6, output=20)
SMALL = ConnectorConfig(width=16, heads=4, layers=2, anchored=4, exploratory=2)
P, T, Q, D = 9, 5, 6, 16


def tiny(base: str = "none", **connector: object) -> EmbedderConfig:
    config = load_preset("tiny").embedder
    return replace(config, base=base, connector=replace(config.connector, **connector))


def counted(kind: str, **options: object) -> int:
    config = replace(SMALL, kind=kind, **options)
    return count_connector(config, SHAPE, P, T).multiply_adds


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_convolutions_and_attention_count_on_any_device(device):
    x = torch.empty(2, 3, 4, device=device)
    assert multiply_adds(lambda: x @ torch.empty(4, 5, device=device)) == 2 * 3 * 4 * 5
    image = torch.empty(1, 6, 7, 7, device=device)
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, device=device)
    assert multiply_adds(lambda: depthwise(image)) == 6 * 9 * 49
    q, kv = torch.empty(1, 2, 3, 4, device=device), torch.empty(1, 2, 5, 4, device=device)
    attend = nn.functional.scaled_dot_product_attention
    assert multiply_adds(lambda: attend(q, kv, kv)) == 2 * 2 * 3 * 5 * 4


def test_projectors_by_hand():
    pooling = Q * P * 12
    assert counted("linear") == pooling + Q * 12 * 20
    assert counted("mlp") == pooling + Q * (12 * 20 + 20 * 20)
    assert counted("mean") == 12 * D + D * Q * 20


def attention(queries: int, memory: int, width: int = D) -> int:
    """Projections of the queries, of the memory, and the two products between them."""
    return (2 * queries + 2 * memory) * width**2 + 2 * queries * memory * width


def ffn(tokens: int) -> int:
    return 2 * tokens * D * 4 * D


def test_q_former_by_hand():
    memory, out = P * 12 * D, Q * D * 20
    layer = attention(Q, Q) + ffn(Q)
    assert counted("qformer") == memory + 2 * layer + attention(Q, P + 1) + out
    every = counted("qformer", cross_every=1) - counted("qformer")
    assert every == attention(Q, P + 1)


def test_text_conditioned_q_former_by_hand():
    inputs = P * 12 * D + T * 8 * D
    last = attention(Q + T, Q + T) + ffn(Q)  # nobody reads the text after it
    first = attention(Q + T, Q + T) + attention(Q, P + 1) + ffn(Q + T)
    assert counted("qformer_text") == inputs + first + last + Q * D * 20


def test_perceiver_by_hand():
    layer = attention(Q, P + 1 + Q) + ffn(Q)
    assert counted("perceiver") == P * 12 * D + 2 * layer + Q * D * 20


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_counted_without_storage_is_counted_with_numbers(kind):
    config = replace(SMALL, kind=kind)
    part = count_connector(config, SHAPE, P, T)
    connector = build_connector(config, SHAPE).requires_grad_(False)
    states = TowerBatch(
        visual=torch.randn(1, P, 12),
        visual_mask=torch.ones(1, P, dtype=torch.bool),
        image_global=torch.randn(1, 10),
        text=torch.randn(1, T, 8),
        text_mask=torch.ones(1, T, dtype=torch.bool),
        text_global=torch.randn(1, 6),
        presence=torch.ones(1, 2, dtype=torch.bool),
        words=torch.zeros(1, 0),
    )
    assert part.multiply_adds == multiply_adds(lambda: connector(states))
    assert part.parameters == part.trained == sum(p.numel() for p in connector.parameters())
    assert part.tokens == connector.num_tokens


def test_what_is_not_read_costs_nothing():
    both, text, image, neither = (
        count_cost(tiny(kind=kind), text_tokens=7)
        for kind in ("linear", "text_only", "image_only", "clip_sum")
    )
    # in bytes, and the space before the metadata is one of the metadata's tokens
    assert both.part("backbone").tokens == len("photo: product:") + 4 + 7 + 1
    assert text.part("backbone").tokens == len("product:") + 7 + 1
    assert image.part("backbone").tokens == len("photo:") + 4 + 1
    assert text.part("connector").multiply_adds == 0
    assert image.part("connector") == both.part("connector")
    assert neither.part("backbone") == Part("backbone", 0, 0, 0, 0)
    assert neither.part("head").multiply_adds == (32 + 24) * 32  # one linear layer a vector
    assert neither.lora == neither.backbone_tokens_for(1e9) == 0


def test_the_base_by_hand():
    without, frozen, trained = (
        count_cost(tiny(base, kind="linear")).part("head") for base in ("none", "frozen", "trained")
    )
    metadata = 24 + EmbedderConfig().words
    axes, weigh = (32 + metadata) * 32, (32 + 24 + 3) * 128 + 128 * 3  # photo, metadata, one stream
    assert frozen.multiply_adds - without.multiply_adds == axes + weigh
    assert trained.multiply_adds - frozen.multiply_adds == 32 * 32
    norms, biases, strength = 2 * (32 + 24), 128 + 3, 1
    assert frozen.parameters - without.parameters == weigh + norms + biases + strength
    assert trained.parameters - frozen.parameters == trained.trained - frozen.trained == 32 * 32
    assert trained.weights == 4 * (trained.parameters + axes + 32 + metadata + 2)


def test_notellm2_in_full_is_counted():
    whole = replace(tiny(kind="notellm2"), fusion="late")
    prompt = PromptConfig(**NOTELLM2_PROMPT, max_tokens=48)
    whole = replace(whole, language=replace(whole.language, prompt=prompt))
    template = NOTELLM2_PROMPT["both"]
    for mark in (" {image}", "{answer}", " {text}"):
        template = template.replace(mark, "")
    cost, plain = count_cost(whole, text_tokens=7), count_cost(tiny(kind="notellm2"))
    assert cost.part("backbone").tokens == len(template) + 4 + 7 + 1
    fusion = 32 * 64 + 128 * 64
    assert cost.part("head").multiply_adds == plain.part("head").multiply_adds + fusion
    assert cost.part("head").parameters == plain.part("head").parameters + fusion + 2 * 32 - 32


def test_the_tiny_preset_by_hand():
    config = tiny(kind="linear")
    cost = count_cost(config, text_tokens=7)
    assert cost.part("image tower").multiply_adds == 16 * 192 * 32 + 32 * 32  # patches, pooling
    assert cost.part("text tower").multiply_adds == 24 * 24
    assert cost.part("connector").multiply_adds == 4 * 16 * 32 + 4 * 32 * 64

    template = len("photo:") + len(" product:") + 1  # bytes, and the end
    length = template + 4 + 7
    assert cost.part("backbone").tokens == length
    # Qwen3 of two layers: width 64, 4 heads and 2 for keys and values of 16 each, 128 inside
    sizes = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)]
    linear = sum(i * o for i, o in sizes)
    lora = sum(4 * (i + o) for i, o in sizes)
    layer = length * (linear + lora) + 2 * length * length * 64
    assert cost.part("backbone").multiply_adds == 2 * layer
    assert cost.part("backbone").trained == 2 * lora
    assert cost.lora == 2 * length * lora
    assert cost.multiply_adds == sum(part.multiply_adds for part in cost.parts)


def test_the_head_is_everything_beside_backbone_and_connector():
    from tgqformer.embedder.model import EmbedderModel, TowerShape

    config = tiny("trained")
    cost = count_cost(config)
    widths = TowerShape(visual=32, image_global=32, text=24, text_global=24, photo_tokens=16)
    model = EmbedderModel(config, widths)
    whole = sum(p.numel() for p in model.parameters())
    assert sum(cost.part(n).parameters for n in ("backbone", "connector", "head")) == whole
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert cost.trained == trained


def test_more_text_costs_more_until_the_prompt_cuts_it():
    short, long, cut = (count_cost(tiny(), text_tokens=n) for n in (4, 48, 500))
    assert short.part("backbone").tokens + 44 == long.part("backbone").tokens
    assert long.part("backbone").tokens == cut.part("backbone").tokens
    assert short.multiply_adds < long.multiply_adds
    assert short.part("image tower") == long.part("image tower")


def test_the_length_that_meets_a_figure_meets_it():
    cost = count_cost(tiny(), text_tokens=8)
    here = cost.part("backbone").tokens
    assert cost.backbone_tokens_for(cost.multiply_adds) == pytest.approx(here)
    without = cost.multiply_adds - cost.part("text tower").multiply_adds
    assert cost.backbone_tokens_for(without, text_tower=False) == pytest.approx(here)


def test_a_template_whose_tokenizer_is_not_here_is_counted_in_words():
    config = LanguageConfig(name="nobody/nothing", random_weights=True)
    assert prompt_length(config, visual=8, text_tokens=10) == 8 + 10 + 4 + 1
    assert prompt_length(config, visual=8, text_tokens=999) == 8 + config.prompt.max_tokens + 5
    assert prompt_length(config, visual=0, text_tokens=10) == 10 + 2 + 1
    assert prompt_length(config, visual=8, text_tokens=0) == 8 + 2 + 1
    two = replace(config, prompt=PromptConfig(**NOTELLM2_PROMPT))
    words = 2 * len(["note", ":", ",", "compress", "into", "one", "word", ":"]) + len("''.") + 1
    assert prompt_length(two, visual=8, text_tokens=10) == 8 + 10 + words + 1


def vit_base(tokens: int) -> int:
    """ViT-B at 16 x 16 pixels a patch, 196 patches."""
    return 12 * (tokens * 12 * 768**2 + 2 * tokens**2 * 768) + 196 * 768 * 768


PROJECTION = 768 * 512  # Chinese-CLIP's class token into the shared space
POOLING = attention(1, 196, 768) + 2 * 768 * 3072  # SigLIP's: one query over all patches


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tower"),
    [("paper", vit_base(197) + PROJECTION), ("english", vit_base(196) + POOLING)],
)
def test_the_large_presets_are_counted_without_a_hub(name, tower, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cost = count_cost(load_preset(name).embedder)
    assert cost.part("image tower").multiply_adds == tower
    per_token = 28 * (1024 * (2048 + 2 * 1024) + 2048 * 1024 + 3 * 1024 * 3072)
    backbone = cost.part("backbone")
    frozen = backbone.multiply_adds - cost.lora
    assert frozen == pytest.approx(backbone.tokens * per_token, rel=0.02)
    assert backbone.parameters == pytest.approx(0.6e9, rel=0.05)


def test_memory_is_the_weights_and_the_hungriest_part():
    cost = count_cost(tiny(kind="linear"), text_tokens=7)
    for part in map(cost.part, ("connector", "backbone", "head")):
        # float32 all of it (the tiny backbone too), and no buffer but the positions' table
        assert 0 <= part.weights - 4 * part.parameters < 500
    tables = (192 + 16 + 32) * 32  # the tiny tower's patches, places and pooling
    assert cost.part("image tower").weights == 2 * tables  # bfloat16, as what is frozen on a GPU
    assert cost.weights == sum(part.weights for part in cost.parts)
    assert cost.activations == max(part.activations for part in cost.parts) > 0
    # the rows that are pooled, projected, and between: [4, 16] from [16, 32], float32
    assert cost.part("connector").activations >= 4 * (4 * 32 + 4 * 64)
    longer = count_cost(tiny(kind="linear"), text_tokens=40)
    assert longer.part("backbone").activations > cost.part("backbone").activations
    assert longer.part("backbone").weights == cost.part("backbone").weights


# -- training memory ------------------------------------------------------------------------------


def kept(module: nn.Module, inputs) -> int:
    """What autograd keeps of one item more, on tensors with numbers."""

    def of(size: int) -> int:
        given = inputs(size)
        with torch.autocast("cpu", torch.bfloat16):
            leaves = [
                vars(x).values() if isinstance(x, TowerBatch) else [x] for x in given.values()
            ]
            apart = [*module.parameters(), *module.buffers()]
            apart += [x for part in leaves for x in part if x is not None]
            return kept_for_backward(lambda: module(**given), apart)

    return of(2) - of(1)


@pytest.mark.parametrize("kind", ["tgqformer", "qformer_text"])
def test_training_memory_is_what_autograd_keeps(kind):
    config = tiny(kind=kind)
    cost = count_cost(config)
    told = training_memory(config, cost)
    shape, length = cost.shape, cost.part("backbone").tokens
    visual, text = cost.part("image tower").tokens, cost.part("text tower").tokens
    connector = build_connector(config.connector, shape)
    backbone = load_backbone(config.language).model

    def states(size: int) -> dict[str, TowerBatch]:
        return {
            "towers": TowerBatch(
                visual=torch.randn(size, visual, shape.visual),
                visual_mask=torch.ones(size, visual, dtype=torch.bool),
                image_global=torch.randn(size, shape.image_global),
                text=torch.randn(size, text, shape.text),
                text_mask=torch.ones(size, text, dtype=torch.bool),
                text_global=torch.randn(size, shape.text_global),
                presence=torch.ones(size, 2, dtype=torch.bool),
                words=torch.zeros(size, 0),
            )
        }

    def embeds(size: int) -> dict[str, torch.Tensor]:
        return {
            "inputs_embeds": torch.randn(size, length, 64).requires_grad_(),
            "attention_mask": torch.zeros(size, 1, length, length),
        }

    of_backbone = kept(backbone, embeds)
    assert told.item == kept(connector, states) + of_backbone
    assert told.item - told.checkpointed == pytest.approx(of_backbone / 2, rel=0.2)  # of two layers
    assert told.of(10) - told.of(9) == told.item
    assert told.fixed == 12 * cost.trained


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["paper", "english"])
def test_the_presets_of_a_gpu_fit_24_gigabytes(name):
    run = load_preset(name)
    memory = training_memory(run.embedder, count_cost(run.embedder))
    assert memory.of(run.training.chunk_size) < 20e9
    assert memory.of(128) > 24e9
    assert memory.of(128, checkpointing=True) < 20e9


def test_the_texts_are_as_long_as_the_tower_reads():
    config = tiny()
    assert count_cost(config) == count_cost(config, text_tokens=config.text_tower.max_tokens)

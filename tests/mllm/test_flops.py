"""What an MLLM costs is what a person counts with a pencil."""

from __future__ import annotations

import pytest

from tgqformer.catalog.items import Item
from tgqformer.embedder.flops import REPORTED, multiply_adds
from tgqformer.errors import ConfigError, ModelError
from tgqformer.mllm import MLLMConfig
from tgqformer.mllm.flops import count_mllm
from tgqformer.mllm.network import MLLMModel


def attention(tokens: int, width: int, inner: int | None = None, shared: int | None = None) -> int:
    """Projections (keys and values may be narrower) and the two products."""
    inner = width if inner is None else inner
    shared = inner if shared is None else shared
    return tokens * width * (2 * inner + 2 * shared) + 2 * tokens * tokens * inner


def decoder(tokens: int, head: int) -> int:
    """Two layers: width 32, two heads over one of keys and values, 48 inside, LoRA of rank 16."""
    inner = 2 * head
    sizes = [(32, inner), (32, head), (32, head), (inner, 32), (32, 48), (32, 48), (48, 32)]
    lora = sum(16 * (i + o) for i, o in sizes)
    return 2 * (tokens * lora + attention(tokens, 32, inner, head) + tokens * 3 * 32 * 48)


def test_a_tiny_internvl_by_hand(folder):
    cost = count_mllm(str(folder("internvl")), text_tokens=9)
    layer = attention(17, 24) + 2 * 17 * 24 * 32  # 16 patches and the class token
    assert cost.part("vision tower").multiply_adds == 2 * layer + 16 * 3 * 64 * 24
    assert cost.part("projector").multiply_adds == 4 * (4 * 24 * 32 + 32 * 32)
    length = cost.part("backbone").tokens
    assert length == 4 + 9 + 10 + 7  # tile, metadata, turn, "Describe this product in one word:"
    assert cost.part("backbone").multiply_adds == decoder(length, 16)


def test_a_tiny_qwen_by_hand(folder):
    cost = count_mllm(str(folder("qwen3_vl")), image_side=70, text_tokens=9)
    assert (cost.image_side, cost.image_tokens) == (64, 16)
    patches = 64
    layer = attention(patches, 24) + 2 * patches * 24 * 32
    assert cost.part("vision tower").multiply_adds == 3 * layer + patches * 24 * 2 * 3 * 64
    merger = 16 * (96 * 96 + 96 * 32)
    assert (
        cost.part("projector").multiply_adds == 3 * merger
    )  # the last layer's and two of deepstack
    assert cost.part("backbone").multiply_adds == decoder(cost.part("backbone").tokens, 16)
    assert cost.without_backbone == 3 * (layer + merger) + patches * 24 * 2 * 3 * 64


@pytest.mark.parametrize("family", ["qwen3_vl", "internvl"])
def test_the_parts_hold_every_parameter_once(folder, family):
    name = str(folder(family))
    cost = count_mllm(name)
    model = MLLMModel(MLLMConfig(name, random_weights=True, dtype="bfloat16"))
    own = [p for p in model.parameters() if p is not model.log_scale]
    assert cost.parameters == sum(p.numel() for p in own)
    assert cost.trained == sum(p.numel() for p in own if p.requires_grad)
    stored = {p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}
    assert cost.weights >= sum(stored.values())


@pytest.mark.parametrize("family", ["qwen3_vl", "internvl"])
def test_counted_without_storage_is_counted_with_numbers(make, photo, family):
    """The whole of a real run: what is not counted apart is nowhere."""
    side = 32 if family == "internvl" else 64
    embedder = make(family, max_pixels=side * side)
    embedder.model.requires_grad_(False)
    inputs = embedder.batch([Item("a", "red shoe", images=(photo(1, 64, 64),))])
    length, merged = inputs["input_ids"].shape[1], embedder.model.backbone.config.image_token_id
    seen = int((inputs["input_ids"] == merged).sum())
    real = multiply_adds(lambda: embedder.model(inputs))
    cost = count_mllm(embedder.config.name, image_side=side, text_tokens=length - seen - 17)
    assert cost.image_tokens == seen
    assert cost.part("backbone").tokens == length
    head = 32 * (embedder.config.dims - 256)
    assert real == cost.multiply_adds + head


def test_without_lora_nothing_but_the_head_is_trained(folder):
    cost = count_mllm(str(folder("internvl")), lora=False)
    assert cost.trained == cost.part("head").parameters
    with_lora = count_mllm(str(folder("internvl")))
    assert cost.part("backbone").multiply_adds < with_lora.part("backbone").multiply_adds
    assert cost.activations <= with_lora.activations


def test_more_pixels_cost_more_where_the_size_is_free(folder):
    small, large = (count_mllm(str(folder("qwen3_vl")), image_side=s) for s in (32, 64))
    assert large.image_tokens == 4 * small.image_tokens
    assert large.activations > small.activations
    tile = count_mllm(str(folder("internvl")), image_side=64)
    assert (tile.image_side, tile.image_tokens) == (32, 4)
    with pytest.raises(ConfigError, match="less than one image token of 16 pixels"):
        count_mllm(str(folder("qwen3_vl")), image_side=4)


def test_a_family_that_is_not_counted_is_named(tmp_path):
    from transformers import LlavaConfig

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    LlavaConfig(
        vision_config={**small, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        text_config={**small, "num_attention_heads": 2, "vocab_size": 40},
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="only Qwen-VL and InternVL are counted"):
        count_mllm(str(tmp_path))


def vision(patches: int, cls: int = 0) -> int:
    """24 layers of width 1024: both large models have the same blocks."""
    tokens = patches + cls
    return 24 * (tokens * 12 * 1024**2 + 2 * tokens**2 * 1024)


@pytest.mark.slow
def test_the_papers_figures_under_the_readings_that_the_docs_name(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    intern = count_mllm("InternVL3-2B", text_tokens=0, lora=False)
    patches = 1024 * 3 * 14 * 14 * 1024
    assert intern.part("vision tower").multiply_adds == vision(1024, cls=1) + patches
    assert 2 * vision(1024, cls=1) + 2 * patches == pytest.approx(
        REPORTED["InternVL3-2B"], rel=1e-3
    )
    frame = intern.part("backbone").tokens - 256
    per_token = intern.part("backbone").multiply_adds / intern.part("backbone").tokens
    at_14 = intern.multiply_adds + (14 - frame) * per_token
    assert at_14 == pytest.approx(REPORTED["InternVL3-2B"], rel=2e-3)

    qwen = count_mllm("Qwen3-VL-4B", image_side=320, text_tokens=23 - frame, lora=False)
    assert (qwen.image_tokens, qwen.part("backbone").tokens) == (100, 123)
    merger = 4 * 100 * (4096 * 4096 + 4096 * 2560)
    assert qwen.without_backbone == vision(400) + 400 * 2 * 3 * 256 * 1024 + merger
    assert qwen.multiply_adds == pytest.approx(REPORTED["Qwen3-VL-4B"], rel=3e-3)
    small = count_mllm("Qwen3-VL-4B", image_side=256, text_tokens=73 - frame, lora=False)
    assert small.multiply_adds == pytest.approx(REPORTED["Qwen3-VL-4B"], rel=5e-3)
    merger = 4 * 200 * (4096 * 4096 + 4096 * 2560)
    unusual = vision(800) + 800 * 2 * 3 * 256 * 1024 + merger
    assert 2 * unusual == pytest.approx(REPORTED["Qwen3-VL-4B"], rel=3e-3)
    assert qwen.parameters == pytest.approx(4.44e9, rel=0.01)
    assert intern.parameters + 151674 * 1536 == pytest.approx(2.09e9, rel=0.01)  # with its head

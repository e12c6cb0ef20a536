"""The backbone: splice, pooling, LoRA, layers, and loading from a folder or in vain."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tgqformer.errors import ConfigError, ModelError
from tgqformer.language import (
    LanguageConfig,
    PromptBatch,
    PromptBuilder,
    load_backbone,
    load_tokenizer,
)
from tgqformer.language.backbone import pool, splice

Q = 3
FAMILIES = ["bert", "qwen3", "llama"]


def config_of(folder, kind: str, **options) -> LanguageConfig:
    return LanguageConfig(name=str(folder(kind)), dtype="float32", **options)


def prompts(config: LanguageConfig, texts, has_image) -> PromptBatch:
    return PromptBuilder(load_tokenizer(config), config.prompt, Q).build(texts, has_image)


def visual(batch: int, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, Q, width, generator=torch.Generator().manual_seed(seed))


# -- splice and pooling ---------------------------------------------------------------------------


def test_splice_puts_each_token_into_its_place():
    embeds = torch.zeros(3, 6, 2)
    slots = torch.zeros(3, 6, dtype=torch.bool)
    slots[0, 1:4], slots[2, 2:5] = True, True
    tokens = torch.arange(1.0, 19.0).view(3, Q, 2)
    out = splice(embeds, tokens, slots)
    assert torch.equal(out[0, 1:4], tokens[0])
    assert torch.equal(out[2, 2:5], tokens[2])
    assert torch.equal(out[1], embeds[1])
    assert int((out != 0).any(dim=-1).sum()) == 2 * Q


def test_splice_hands_gradients_to_the_rows_that_have_slots():
    embeds, tokens = torch.zeros(2, 5, 2), torch.ones(2, Q, 2, requires_grad=True)
    slots = torch.zeros(2, 5, dtype=torch.bool)
    slots[1, :Q] = True
    (splice(embeds, tokens, slots) * 2).sum().backward()
    assert torch.equal(tokens.grad, torch.stack([torch.zeros(Q, 2), torch.full((Q, 2), 2.0)]))


def test_splice_without_any_image():
    embeds = torch.randn(2, 4, 2)
    out = splice(embeds, torch.randn(2, Q, 2), torch.zeros(2, 4, dtype=torch.bool))
    assert torch.equal(out, embeds)


def test_pooling_by_hand():
    states = torch.randn(3, 5, 4)
    lengths = [5, 2, 1]
    mask = torch.tensor([[1] * n + [0] * (5 - n) for n in lengths])
    last, mean = pool(states, mask, "last"), pool(states, mask, "mean")
    for row, n in enumerate(lengths):
        assert torch.equal(last[row], states[row, n - 1])
        torch.testing.assert_close(mean[row], states[row, :n].mean(dim=0))
    assert pool(states.bfloat16(), mask, "mean").dtype == torch.float32


# -- any family, out of a folder ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("qwen3", "last"), ("llama", "last")]
)
def test_a_folder_loads_and_is_what_transformers_says(folder, kind, pooling):
    from transformers import AutoModel

    config = config_of(folder, kind, train="frozen")
    backbone = load_backbone(config).eval()
    assert (backbone.width, backbone.pooling, backbone.positions) == (32, pooling, 64)
    assert not any(p.requires_grad for p in backbone.parameters())
    prompt = prompts(config, ["red shoe", "the lamp of blue"], [False, False])
    with torch.no_grad():
        ours = backbone(prompt, visual(2))
        theirs = AutoModel.from_pretrained(folder(kind)).eval()(
            input_ids=prompt.input_ids, attention_mask=prompt.attention_mask
        )
    expected = pool(theirs.last_hidden_state, prompt.attention_mask, pooling)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
def test_neither_padding_nor_neighbours_change_a_row(folder, kind):
    config = config_of(folder, kind)
    backbone = load_backbone(config).eval()
    texts, has_image = ["red", "the red lamp of the blue shoe", "", ""], [True, True, True, False]
    tokens = visual(4)
    with torch.no_grad():
        together = backbone(prompts(config, texts, has_image), tokens)
        for i in range(4):
            alone = backbone(
                prompts(config, texts[i : i + 1], has_image[i : i + 1]), tokens[i : i + 1]
            )
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
def test_visual_tokens_are_read_where_there_is_an_image(folder, kind):
    config = config_of(folder, kind)
    backbone = load_backbone(config).eval()
    prompt = prompts(config, ["red", "red"], [True, False])
    with torch.no_grad():
        a, b = backbone(prompt, visual(2, seed=0)), backbone(prompt, visual(2, seed=1))
    assert not torch.allclose(a[0], b[0], atol=1e-3)
    assert torch.equal(a[1], b[1])


@pytest.mark.parametrize("kind", FAMILIES)
def test_lora_starts_as_the_frozen_model_and_is_all_that_trains(folder, kind):
    config = config_of(folder, kind, lora_rank=2, lora_dropout=0.3)
    lora, frozen = load_backbone(config), load_backbone(config_of(folder, kind, train="frozen"))
    prompt, tokens = prompts(config, ["red shoe", "lamp"], [True, True]), visual(2)
    with torch.no_grad():
        assert torch.equal(lora.train()(prompt, tokens), frozen.train()(prompt, tokens))
    trained = [n for n, p in lora.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in n for n in trained)
    assert all("layers." in n or "layer." in n for n in trained)
    before = {n: p.detach().clone() for n, p in lora.named_parameters()}
    optimizer = torch.optim.SGD([p for p in lora.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        lora(prompt, tokens).square().sum().backward()
        optimizer.step()
    moved = {n for n, p in lora.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert moved <= set(trained)


def test_lora_on_named_layers_only(folder):
    backbone = load_backbone(config_of(folder, "qwen3", lora_targets="q_proj,v_proj"))
    trained = [n for n, p in backbone.named_parameters() if p.requires_grad]
    assert len(trained) == 3 * 2 * 2
    assert all(".q_proj." in n or ".v_proj." in n for n in trained)


def test_lora_on_a_layer_that_is_not_there(folder):
    with pytest.raises(ConfigError, match=r"language.lora_targets \('nowhere'\) names no layer"):
        load_backbone(config_of(folder, "qwen3", lora_targets="nowhere"))


def test_full_training_trains_everything(folder):
    backbone = load_backbone(config_of(folder, "bert", train="full"))
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_small_step_is_not_rounded_away(folder, train):
    config = replace(config_of(folder, "qwen3", train=train), dtype="bfloat16")
    backbone = load_backbone(config)
    trained = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
    before = {n: p.detach().clone() for n, p in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-5, weight_decay=0.0)
    for p in trained.values():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for n, p in trained.items():
        torch.testing.assert_close(before[n] - p, torch.full_like(p, 1e-5), rtol=0.1, atol=0)
    out = backbone(prompts(config, ["red shoe", "lamp"], [True, False]), visual(2))
    assert torch.isfinite(out).all()
    rest = {p.dtype for p in backbone.parameters() if not p.requires_grad}
    assert rest == ({torch.bfloat16} if train == "lora" else set())


@pytest.mark.parametrize("kind", FAMILIES)
def test_first_layers_only(folder, kind):
    config = config_of(folder, kind, layers=1, train="frozen")
    cut, whole = load_backbone(config), load_backbone(config_of(folder, kind, train="frozen"))
    here, there = dict(cut.named_parameters()), dict(whole.named_parameters())
    assert len(here) < len(there)
    assert all(torch.equal(p, there[n]) for n, p in here.items() if "pooler" not in n)
    with pytest.raises(ConfigError, match=r"language.layers \(9\) is more than the 3 layers"):
        load_backbone(config_of(folder, kind, layers=9))


def test_no_dropout_but_loras_own(folder):
    config = config_of(folder, "bert", train="full")
    backbone = load_backbone(config).train()
    prompt, tokens = prompts(config, ["red shoe"], [True]), visual(1)
    with torch.no_grad():
        assert torch.equal(backbone(prompt, tokens), backbone(prompt, tokens))


# -- random weights -------------------------------------------------------------------------------


def test_random_weights_are_the_same_every_time(folder):
    config = config_of(folder, "qwen3", random_weights=True, train="frozen")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = load_backbone(config)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    b = load_backbone(config)
    trained = load_backbone(config_of(folder, "qwen3", train="frozen"))
    pairs = zip(a.parameters(), b.parameters(), trained.parameters(), strict=True)
    assert all(torch.equal(x, y) for x, y, _ in pairs)
    assert not torch.equal(next(a.parameters()), next(trained.parameters()))


def test_random_weights_ask_no_hub():
    """Config and tokenizer of a hub's model, shipped and replaced, with nothing to be reached."""
    config = LanguageConfig(name="nobody/nothing", random_weights=True)
    assert load_tokenizer(config).pad_token_id == 256


# -- what cannot be loaded ------------------------------------------------------------------------


def one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text and text.count(". ") == 0


@pytest.mark.parametrize(
    ("kind", "reason"), [("t5", "takes no inputs_embeds"), ("vit", "takes no inputs_embeds")]
)
def test_a_network_that_reads_no_embeddings(folder, kind, reason):
    with pytest.raises(ModelError, match=reason):
        load_backbone(config_of(folder, kind))


def test_a_damaged_folder(folder, tmp_path):
    bad = tmp_path / "model"
    shutil.copytree(folder("qwen3"), bad)
    weights = bad / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_backbone(LanguageConfig(name=str(bad)))
    assert one_sentence(caught.value)


def test_a_folder_without_weights(folder, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder("qwen3") / name, tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(LanguageConfig(name=str(tmp_path)))


def test_a_folder_of_another_architecture(folder, tmp_path):
    bad = tmp_path / "model"
    shutil.copytree(folder("qwen3"), bad)
    shutil.copy(folder("bert") / "model.safetensors", bad)
    with pytest.raises(ModelError, match=r"lacks \d+ weights"):
        load_backbone(LanguageConfig(name=str(bad)))


def test_remote_code_is_not_run(folder, tmp_path):
    bad = tmp_path / "model"
    shutil.copytree(folder("qwen3"), bad)
    settings = json.loads((bad / "config.json").read_text())
    settings |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (bad / "config.json").write_text(json.dumps(settings))
    (bad / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(LanguageConfig(name=str(bad)))


@pytest.mark.parametrize("load", [load_backbone, load_tokenizer])
def test_an_unreachable_hub_id_is_one_sentence(load, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="'nobody/no-such-model' cannot be loaded") as caught:
        load(LanguageConfig(name="nobody/no-such-model"))
    assert one_sentence(caught.value)


@pytest.mark.parametrize(
    ("option", "value"), [("layers", 0), ("lora_rank", 0), ("lora_dropout", 1.0)]
)
def test_a_wrong_option_is_named(option, value):
    with pytest.raises(ConfigError, match=rf"language.{option} \({value}\)"):
        LanguageConfig(**{option: value})


def test_layers_that_are_run_again_give_the_same_gradient(folder):
    """`training.gradient_checkpointing`: less is kept, and what is learned is the same."""
    from functools import partial

    from tgqformer.embedder.memory import kept_for_backward

    found, sizes = [], []
    for again in (False, True):
        backbone = load_backbone(config_of(folder, "qwen3")).train()
        torch.manual_seed(0)
        for weight in backbone.parameters():
            if weight.requires_grad:
                weight.data.normal_(std=0.1)
        if again:
            backbone.checkpoint()
        config = config_of(folder, "qwen3")
        prompt = PromptBuilder(load_tokenizer(config), config.prompt, Q).build(
            ["red shoe", "lamp"], [True, False]
        )
        visual = torch.randn(
            2, Q, backbone.width, generator=torch.Generator().manual_seed(1)
        ).requires_grad_()
        read = partial(backbone, prompt, visual)
        sizes.append(kept_for_backward(read, backbone.parameters()))
        backbone(prompt, visual).square().sum().backward()
        found.append([p.grad for p in backbone.parameters() if p.requires_grad] + [visual.grad])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert sizes[1] < sizes[0] / 2

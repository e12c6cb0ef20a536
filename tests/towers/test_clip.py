"""CLIP-like pairs: both halves say what the whole model says, and know their common space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tgqformer.errors import ConfigError, ModelError
from tgqformer.hub import load_settings
from tgqformer.towers.features import ItemFeatures
from tgqformer.towers.load import (
    ImageTowerConfig,
    TextTowerConfig,
    load_image_tower,
    load_text_tower,
)

Checkpoint = Callable[..., str]
FAMILIES = ["clip", "chinese_clip", "siglip", "siglip2"]
TEXTS = ["red shoe", "the large blue boot of leather", "lamp"]
PRESETS = {
    "OFA-Sys/chinese-clip-vit-base-patch16": (197, 512, 512),
    "google/siglip2-base-patch16-224": (196, 768, 64),
}


def pictures() -> list[Image.Image]:
    first = Image.linear_gradient("L").convert("RGB").resize((40, 32))
    return [first, Image.radial_gradient("L").convert("RGB").resize((32, 40))]


def whole(folder: str) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_image_tokens_and_global_are_the_whole_models(family: str, checkpoint: Checkpoint) -> None:
    from transformers import AutoImageProcessor

    folder = checkpoint(family)
    tower = load_image_tower(ImageTowerConfig(kind="clip", name=folder, dtype="float32"))
    out = tower.encode([tower.preprocess(picture) for picture in pictures()])
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(
        pictures(), return_tensors="pt"
    )
    with torch.inference_mode():
        expected = whole(folder).get_image_features(**inputs)
    torch.testing.assert_close(out.tokens, expected.last_hidden_state)
    torch.testing.assert_close(out.pooled, expected.pooler_output)
    assert out.tokens.shape == (2, tower.max_tokens, tower.dim)
    assert out.pooled.shape == (2, tower.global_dim)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_tokens_and_global_are_the_whole_models(family: str, checkpoint: Checkpoint) -> None:
    from transformers import AutoTokenizer

    folder = checkpoint(family)
    tower = load_text_tower(TextTowerConfig(kind="clip", name=folder, dtype="float32"))
    out = tower.encode(TEXTS)
    if family != "siglip2":  # transformers gives that one a tokenizer of its own
        assert out.mask.sum(1).tolist() == [4, 8, 3]
    model, tokenizer = whole(folder), AutoTokenizer.from_pretrained(folder)
    for n, text in enumerate(TEXTS):
        ids = tokenizer(text)["input_ids"]
        length = len(ids)
        assert out.mask[n].tolist() == [True] * length + [False] * (out.mask.shape[1] - length)
        if family.startswith("siglip"):  # always padded to its 12 positions, without a mask
            ids = ids + [0] * (12 - length)
        with torch.inference_mode():
            expected = model.get_text_features(input_ids=torch.tensor([ids]))
        torch.testing.assert_close(out.tokens[n, :length], expected.last_hidden_state[0, :length])
        torch.testing.assert_close(out.pooled[n], expected.pooler_output[0])


def test_siglip_reads_lower_case(checkpoint: Checkpoint) -> None:
    tower = load_text_tower(TextTowerConfig(kind="clip", name=checkpoint("siglip")))
    out = tower.encode(["RED Shoe", "red shoe"])
    torch.testing.assert_close(out.pooled[0], out.pooled[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_halves_of_one_checkpoint_share_a_space(family: str, checkpoint: Checkpoint) -> None:
    def pair(image_seed: int, text_seed: int) -> ItemFeatures:
        image = ImageTowerConfig(kind="clip", name=checkpoint(family, image_seed))
        text = TextTowerConfig(kind="clip", name=checkpoint(family, text_seed))
        return ItemFeatures(load_image_tower(image), load_text_tower(text), None)

    features = pair(0, 0)
    assert features.shared_space
    assert features.image_tower.global_dim == features.text_tower.global_dim
    assert not pair(0, 1).shared_space


@pytest.mark.parametrize("family", FAMILIES)
def test_the_half_that_is_not_used_is_dropped(family: str, checkpoint: Checkpoint) -> None:
    image = load_image_tower(ImageTowerConfig(kind="clip", name=checkpoint(family)))
    text = load_text_tower(TextTowerConfig(kind="clip", name=checkpoint(family)))
    assert not any(name.startswith("text") for name, _ in image.module.named_parameters())
    assert not any(name.startswith("vis") for name, _ in text.module.named_parameters())


def test_the_layer_is_an_option(checkpoint: Checkpoint) -> None:
    folder = checkpoint("clip")

    def tokens(layer: int | None) -> torch.Tensor:
        tower = load_image_tower(ImageTowerConfig(kind="clip", name=folder, layer=layer))
        return tower.encode([tower.preprocess(pictures()[0])]).tokens

    torch.testing.assert_close(tokens(None), tokens(-1))
    torch.testing.assert_close(tokens(-2), tokens(1))
    assert not torch.allclose(tokens(1), tokens(2))
    with pytest.raises(ConfigError, match="layer 3 of the image tower"):
        tokens(3)


def test_a_larger_photo_gives_more_tokens(checkpoint: Checkpoint) -> None:
    config = ImageTowerConfig(kind="clip", name=checkpoint("clip"), image_size=48)
    assert load_image_tower(config).num_tokens == 1 + 6 * 6
    naflex = ImageTowerConfig(kind="clip", name=checkpoint("siglip2"), image_size=48)
    with pytest.raises(ConfigError, match="leave image_size out"):
        load_image_tower(naflex)


def test_naflex_masks_what_a_photos_shape_leaves_free(checkpoint: Checkpoint) -> None:
    tower = load_image_tower(ImageTowerConfig(kind="clip", name=checkpoint("siglip2")))
    out = tower.encode([tower.preprocess(Image.new("RGB", s)) for s in ((32, 32), (50, 20))])
    assert tower.num_tokens is None
    assert tower.max_tokens == 16
    assert out.mask[0].all()
    assert 0 < int(out.mask[1].sum()) < 16
    assert out.mask[1, : int(out.mask[1].sum())].all()


def test_a_model_that_is_no_pair_is_named(checkpoint: Checkpoint) -> None:
    with pytest.raises(ModelError, match="BertModel, not a pair like CLIP"):
        load_text_tower(TextTowerConfig(kind="clip", name=checkpoint("bert")))


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_need_only_the_config(
    family: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    import shutil

    shutil.copy(Path(checkpoint(family)) / "config.json", tmp_path)
    name = str(tmp_path)
    image = load_image_tower(ImageTowerConfig(kind="clip", name=name, random_weights=True))
    text = load_text_tower(TextTowerConfig(kind="clip", name=name, random_weights=True))
    real = load_image_tower(ImageTowerConfig(kind="clip", name=checkpoint(family)))
    assert (image.dim, image.global_dim) == (real.dim, real.global_dim)
    assert text.encode(TEXTS).pooled.shape == (3, image.global_dim)
    assert image.space == text.space is not None


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_configs_are_shipped_and_give_their_shapes(name: str) -> None:
    from transformers import AutoModel

    tokens, width, _ = PRESETS[name]
    settings = load_settings(name)
    with torch.device("meta"):
        network = AutoModel.from_config(settings)
        out = network.get_image_features(torch.zeros(1, 3, 224, 224))
    assert out.last_hidden_state.shape == (1, tokens, 768)
    assert out.pooler_output.shape == (1, width)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_towers_load_with_random_weights(name: str) -> None:
    tokens, width, positions = PRESETS[name]
    image = load_image_tower(ImageTowerConfig(kind="clip", name=name, random_weights=True))
    assert (image.num_tokens, image.dim, image.global_dim) == (tokens, 768, width)
    text = load_text_tower(
        TextTowerConfig(kind="clip", name=name, random_weights=True, max_tokens=1000)
    )
    assert (text.dim, text.global_dim, text.max_tokens) == (768, width, positions)
    assert text.space == image.space

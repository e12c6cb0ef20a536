"""Clutter: what the background guess keeps, what is pasted, what a crop shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tgqformer.corruption import BACKGROUNDS, CORRUPTIONS, draw_background
from tgqformer.corruption.clutter import background_mask, distractor_paste
from tgqformer.errors import ConfigError


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def product_on(background: tuple[int, int, int], side: int = 200) -> Image.Image:
    image = Image.new("RGB", (side, side), background)
    image.paste((30, 60, 160), (70, 50, 130, 160))
    return image


def test_a_uniform_background_is_replaced_and_the_product_kept() -> None:
    image = product_on((255, 255, 255))
    replaced = CORRUPTIONS["background_replacement"](image, 1.0, generator(4))
    before, after = np.asarray(image), np.asarray(replaced)
    assert (after[60:150, 80:120] == before[60:150, 80:120]).all()
    assert (after[:30] != before[:30]).mean() > 0.5


def test_a_hole_of_the_background_colour_inside_the_product_is_kept() -> None:
    image = product_on((255, 255, 255))
    image.paste((255, 255, 255), (90, 90, 110, 110))
    mask = np.asarray(background_mask(image))
    assert mask[100, 100] == 0
    assert mask[5, 5] == 255


def test_without_a_uniform_border_the_middle_is_kept() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    mask = np.asarray(
        background_mask(Image.fromarray(np.kron(pixels[:8, :8], np.ones((15, 15, 1), np.uint8))))
    )
    assert mask[60, 60] == 0
    assert mask[2, 2] == 255


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_given_distractors_are_the_ones_pasted(mode: str) -> None:
    green = Image.new(mode, (30, 60), (0, 255, 0))
    image = Image.new("RGB", (100, 100), "white")
    for seed in range(5):
        result = distractor_paste(image, 0.8, generator(seed), distractors=[green])
        colours = {colour for _, colour in result.getcolors(10_000) or []}
        assert colours <= {(255, 255, 255), (0, 255, 0)}


def test_a_crop_shows_only_what_was_there() -> None:
    image = product_on((200, 10, 10))
    result = np.asarray(CORRUPTIONS["crop"](image, 1.0, generator(2)), np.int64)
    assert result[:, :, 0].max() <= 215  # bicubic may overshoot a little
    assert result.shape == (200, 200, 3)


@pytest.mark.parametrize("kind", list(BACKGROUNDS))
@pytest.mark.parametrize("size", [(1, 1), (7, 90), (448, 448)])
def test_backgrounds_fill_any_size(kind: str, size: tuple[int, int]) -> None:
    image = draw_background(size, generator(1), kind)
    assert (image.size, image.mode) == (size, "RGB")
    assert image.tobytes() == draw_background(size, generator(1), kind).tobytes()


def test_an_unknown_background_is_refused() -> None:
    with pytest.raises(ConfigError, match="'beach' is unknown"):
        draw_background((10, 10), generator(0), "beach")

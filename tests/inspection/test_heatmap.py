"""Laws of the map over the photo: the tower's own frame, and what lies in a box."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.inspection.heatmap import Layout, heatmap, layout_of
from tgqformer.towers.hashing import HashTokenizer, token_spans
from tgqformer.towers.load import ImageTowerConfig
from tgqformer.towers.processors import Preprocessor
from tgqformer.towers.tiny import TinyImageTower

SQUARE = Layout(4, 4, 0, (0.0, 0.0, 80.0, 80.0), (80, 80))
WIDE = Layout(4, 4, 0, (0.0, -20.0, 80.0, 60.0), (80, 40))  # padded to a square above and below


def delta(row: int, column: int, layout: Layout = SQUARE):
    weights = np.zeros((1, layout.leading + 16))
    weights[0, layout.leading + 4 * row + column] = 0.7
    return heatmap(weights, layout)


def test_a_delta_in_the_box_points_into_it_and_one_outside_does_not():
    box = (20, 40, 40, 60)  # exactly row 2, column 1
    assert delta(2, 1).points_into(box) == 1
    assert delta(2, 1).inside(box) == pytest.approx(1)
    assert delta(1, 1).points_into(box) == 0
    assert delta(1, 1).inside(box) == 0
    assert delta(2, 1).seen == pytest.approx(0.7)


def test_a_uniform_map_has_the_share_of_the_box():
    even = heatmap(np.ones((3, 16)), SQUARE)
    for box in ((0, 0, 80, 80), (3, 7, 50, 66), (10, 10, 11, 11)):
        area = (box[2] - box[0]) * (box[3] - box[1])
        assert even.inside(box) == pytest.approx(area / 6400, abs=1e-6)
    assert even.points_into((0, 0, 40, 80)) == pytest.approx(0.5)  # ties are shared


def test_boxes_that_tile_the_photo_share_the_map():
    rng = np.random.default_rng(0)
    found = heatmap(rng.random((2, 16)), SQUARE)
    parts = [(0, 0, 33, 80), (33, 0, 80, 51), (33, 51, 80, 80)]
    assert sum(found.inside(box) for box in parts) == pytest.approx(1, abs=1e-6)


def test_padding_lies_in_no_box_of_the_photo():
    even = heatmap(np.ones((1, 16)), WIDE)
    assert even.inside((0, 0, 80, 40)) == pytest.approx(0.5, abs=1e-6)
    assert delta(0, 0, WIDE).inside((0, 0, 80, 40)) == 0
    assert delta(1, 0, WIDE).inside((0, 0, 20, 20)) == pytest.approx(1)


def test_a_class_token_is_no_part_of_the_map():
    layout = Layout(4, 4, 1, (0.0, 0.0, 80.0, 80.0), (80, 80))
    attention = np.full((1, 17), 0.5 / 16)
    attention[0, 0] = 0.5
    found = heatmap(attention, layout)
    assert found.weights.sum() == pytest.approx(1)
    assert found.seen == pytest.approx(0.5)


def test_the_map_over_the_photo_has_its_aspect_and_peaks_where_the_cell_lies():
    laid = delta(1, 2, WIDE).over_photo()
    assert laid.shape == (40, 80)
    y, x = np.unravel_index(laid.argmax(), laid.shape)
    assert (40 <= x < 60, 0 <= y < 20) == (True, True)
    assert laid.max() <= 1
    assert delta(0, 0, WIDE).over_photo()[20:].max() == 0
    even = heatmap(np.ones((1, 16)), SQUARE).over_photo()
    np.testing.assert_allclose(even, 1, atol=1e-6)  # to the rim


def test_layouts_follow_the_towers_tokens():
    tower = TinyImageTower(ImageTowerConfig(kind="tiny"))
    picture = Image.new("RGB", (30, 90))
    found = layout_of(tower, picture, 32)  # two photos of 16 tokens
    assert (found.rows, found.columns, found.leading, found.size) == (4, 4, 0, (30, 90))
    for count, leading in ((17, 1), (21, 5)):
        tower.num_tokens = count
        assert layout_of(tower, picture, count).leading == leading
    tower.num_tokens = 23
    assert layout_of(tower, picture, 23) is None


@pytest.mark.parametrize("size", [(300, 200), (90, 240), (64, 64)])
@pytest.mark.parametrize("family", ["clip", "vit"])
def test_what_lies_outside_of_the_window_the_tower_does_not_see(family, size):
    settings = SimpleNamespace(model_type=family, image_size=64)
    config = ImageTowerConfig(kind="clip", name="x", random_weights=True)
    prepare = Preprocessor(config, settings)
    window = prepare.window(*size)
    assert window[2] - window[0] == pytest.approx(min(size) if family == "clip" else size[0])
    plain = Image.new("RGB", size, "black")
    plain.paste("red", tuple(round(edge) for edge in window))
    red = prepare(plain)["pixel_values"]
    everywhere = prepare(Image.new("RGB", size, "red"))["pixel_values"]
    inner = slice(2, -2)  # the border is mixed by the resampling
    assert torch.allclose(red[:, inner, inner], everywhere[:, inner, inner], atol=1e-4)


def test_a_strip_is_padded_before_it_is_scaled():
    config = ImageTowerConfig(kind="clip", name="x", random_weights=True)
    prepare = Preprocessor(config, SimpleNamespace(model_type="vit", image_size=64))
    assert prepare.window(1600, 10) == (0, -95, 1600, 105)  # 8 : 1


def test_spans_of_a_tokenizer_without_vocabulary_are_the_words():
    spans = token_spans(HashTokenizer(100), "red  desk lamp", 4)
    assert spans == [(0, 0), (0, 3), (5, 9), (0, 0)]  # cut at two words and two special tokens
    assert token_spans(object(), "red", 4) == []

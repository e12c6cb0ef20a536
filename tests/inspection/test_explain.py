"""Laws of an explanation: shares are shares, and what is hidden is not seen."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.catalog.items import Item
from tgqformer.cli.shared import plain
from tgqformer.inspection.explain import (
    contributions,
    explain,
    read_words,
    without_metadata,
    without_photo,
)
from tgqformer.inspection.heatmap import draw

HOSTILE = "</b>$\\frac{1}{2}$ _x 衣服 \x00\u202e & <script>"


def test_a_heatmap_is_a_distribution_over_the_photos_tokens(embedder, lamp):
    found = explain(embedder, lamp)
    assert list(found.heatmaps) == ["anchored", "exploratory"]
    for one in found.heatmaps.values():
        assert one.weights.shape == (4, 4)
        assert one.weights.sum() == pytest.approx(1, abs=1e-5)
        assert 0 < one.seen < 1  # the null token takes the rest
        assert one.layout.window == (0, 0, 60, 30)


def test_a_heatmap_is_the_mean_of_the_connectors_attention(embedder, lamp):
    found = explain(embedder, lamp).heatmaps["anchored"]
    attention = embedder.outputs([lamp], attention=True).connector.attention["anchored"][0]
    mean = attention.mean(dim=0).numpy().reshape(4, 4)
    np.testing.assert_allclose(found.weights * found.seen, mean, atol=1e-5)


def test_an_item_without_photo_has_no_heatmap_and_one_without_metadata_no_words(embedder, lamp):
    blind, mute = explain(embedder, without_photo(lamp)), explain(embedder, without_metadata(lamp))
    assert (blind.photo, dict(blind.heatmaps), blind.agreement) == (None, {}, None)
    assert any("no photo" in note for note in blind.notes)
    assert blind.words
    assert not mute.words
    assert mute.agreement is None
    assert any("no metadata" in note for note in mute.notes)
    assert mute.heatmaps


def test_an_unreadable_photo_is_no_photo_and_the_next_one_counts(embedder, lamp):
    broken = Item("b", "lamp", images=(b"no picture", *lamp.images))
    assert explain(embedder, broken).photo is not None
    assert explain(embedder, Item("b", "lamp", images=(b"no picture",))).photo is None


def test_of_several_photos_the_map_is_of_the_first_wherever_its_tokens_stand(
    embedder_of, lamp, photo
):
    embedder = embedder_of("embedder.max_images=3")
    photos = (*lamp.images, photo(8), photo(9))
    seen = []
    for order in (photos, (photos[0], photos[2], photos[1])):
        found = explain(embedder, replace(lamp, images=order))
        one = found.heatmaps["anchored"]
        assert one.weights.shape == (4, 4)
        assert any("3 photos are read together" in note for note in found.notes)
        seen.append(one.weights * one.seen)
    np.testing.assert_array_equal(*seen)
    spans = embedder.features.photo_spans(replace(lamp, images=photos))
    [start] = [first for ref, first, _ in spans if ref == photos[0]]
    output = embedder.outputs([replace(lamp, images=photos)], attention=True).connector
    mean = output.attention["anchored"][0].mean(dim=0).numpy()
    np.testing.assert_allclose(seen[0].ravel(), mean[start : start + 16], atol=1e-5)


def test_words_are_shares_in_the_order_of_the_text(embedder, lamp):
    words = explain(embedder, lamp).words
    assert " ".join(word.text for word in words) == "red desk lamp brand Lux category Home > Lamps"
    assert sum(word.weight for word in words) == pytest.approx(1)
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_tokens_add_up_to_the_words_that_they_are_part_of():
    attention = np.array([[0.2, 0.1, 0.3, 0.2, 0.2], [0.0, 0.1, 0.1, 0.4, 0.4]])
    # [CLS] des ##k _lamp (with the space before it) [SEP]
    words = read_words("desk lamp", [(0, 0), (0, 3), (3, 4), (4, 9), (0, 0)], attention)
    assert [(word.text, word.start) for word in words] == [("desk", 0), ("lamp", 5)]
    assert [word.weight for word in words] == pytest.approx([0.5, 0.5])
    assert read_words("desk", [], attention) == ()
    assert read_words("", [(0, 0)], attention) == ()


def test_gates_are_factors_and_agreement_is_the_connectors(embedder, lamp):
    found = explain(embedder, lamp)
    out = embedder.outputs([lamp]).connector
    assert found.agreement == pytest.approx(float(out.agreement[0]), abs=1e-5)
    for name, gate in found.gates.items():
        assert ((gate > 0) & (gate < 2)).all()
        np.testing.assert_allclose(gate, 1 + out.gates[name][0].numpy(), atol=1e-5)


def test_to_be_asked_changes_no_bit(embedder, lamp, shoe):
    towers = embedder.features.batch([lamp, shoe])
    with torch.inference_mode():
        plain, nothing = embedder.model.connector.anchored(towers.text, towers.text_mask)
        states, read = embedder.model.connector.anchored(
            towers.text, towers.text_mask, weights=True
        )
    assert nothing is None
    assert torch.equal(states, plain)
    assert (read.sum(dim=-1) < 1).all()
    assert (read[~towers.text_mask[:, None].expand_as(read)] == 0).all()


def test_contributions_add_up_and_treat_both_items_alike(embedder, lamp, shoe):
    one, other = contributions(embedder, lamp, shoe), contributions(embedder, shoe, lamp)
    assert one.baseline + one.image + one.text == pytest.approx(one.similarity, abs=1e-6)
    assert one.to_dict() == pytest.approx(other.to_dict(), abs=1e-6)
    a, b = embedder.encode([lamp, shoe])
    assert one.similarity == pytest.approx(float(a @ b), abs=1e-5)


def test_a_part_that_neither_item_has_contributes_nothing(embedder, lamp, shoe):
    blind = contributions(embedder, without_photo(lamp), without_photo(shoe))
    assert blind.image == pytest.approx(0, abs=1e-6)
    mute = contributions(embedder, without_metadata(lamp), without_metadata(shoe))
    assert mute.text == pytest.approx(0, abs=1e-6)


def test_a_model_that_reads_one_part_gives_it_everything(lamp, shoe):
    class TextAlone:
        def encode(self, items, *, progress=False):
            angles = [len(item.title) for item in items]
            return np.array([[math.cos(x), math.sin(x)] for x in angles], dtype=np.float32)

    found = contributions(TextAlone(), lamp, shoe)
    assert found.image == pytest.approx(0, abs=1e-6)
    assert found.text == pytest.approx(found.similarity - found.baseline, abs=1e-6)


@pytest.mark.parametrize("kind", ["qformer", "qformer_text", "perceiver", "notellm2"])
def test_rivals_that_attend_have_a_heatmap(embedder_of, lamp, kind):
    found = explain(embedder_of(f"embedder.connector.kind={kind}"), lamp)
    assert list(found.heatmaps) == ["visual"]
    assert found.heatmaps["visual"].weights.sum() == pytest.approx(1, abs=1e-5)
    assert any("gates" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["mlp", "cabstractor", "text_only", "clip_sum"])
def test_a_connector_without_attention_says_so(embedder_of, lamp, shoe, kind):
    found = explain(embedder_of(f"embedder.connector.kind={kind}"), lamp, shoe)
    assert not found.heatmaps
    assert any("has no attention" in note for note in found.notes)


def test_an_explanation_is_plain_data(embedder, lamp, shoe):
    told = plain(explain(embedder, lamp, shoe).to_dict())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["other"]["item_id"] == "shoe"


def test_a_picture_takes_any_text_and_any_gap(embedder, photo):
    hostile = Item("x" + HOSTILE[:8], HOSTILE, images=(photo(3, 20, 90),))
    picture = draw(explain(embedder, hostile, Item("nothing")), dpi=30)
    assert picture.mode == "RGB"
    assert np.asarray(picture).std() > 0

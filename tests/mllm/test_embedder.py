"""Any item becomes a unit vector of what it shows and says, whatever batch it comes in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from tgqformer.catalog.items import Item
from tgqformer.errors import ConfigError, ImageError, ModelError, UnreadInputWarning
from tgqformer.mllm import MLLMConfig, MLLMEmbedder
from tgqformer.mllm.processing import fit

QUIET = {"errors": "ignore"}  # one of the items has a broken photo


def test_every_item_gets_a_unit_vector_that_no_batch_changes(embedder, items):
    vectors = embedder.encode(items, **QUIET)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(items), 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([embedder.encode([item], **QUIET) for item in items])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    np.testing.assert_allclose(vectors, embedder.encode(items, batch_size=2, **QUIET), atol=1e-5)


def test_photo_and_metadata_both_count(embedder, items, photo):
    whole = items[0]
    others = [replace(whole, title="blue shoe"), replace(whole, images=(photo(9),))]
    first, *rest = embedder.encode([whole, *others])
    assert all(np.abs(first - other).max() > 1e-4 for other in rest)
    renamed = embedder.encode([replace(whole, item_id="another id", price=3.0)])
    np.testing.assert_array_equal(renamed[0], embedder.encode([whole])[0])


def test_a_broken_photo_is_passed_over_and_told(embedder, items):
    strip = next(item for item in items if item.item_id == "strip")
    with pytest.warns(UnreadInputWarning, match="1, in 1 of 2 inputs; .* 'strip'.* photo 0"):
        vectors = embedder.encode([strip, replace(strip, images=strip.images[1:])])
    with pytest.raises(ImageError, match="'strip'"):
        embedder.encode(strip)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert "no picture" in embedder.broken["strip"]


def test_fewer_dimensions_are_the_first_ones_renormalised(embedder, items):
    full, short = (
        embedder.encode(items, **QUIET),
        embedder.encode(items, dims=5, **QUIET),
    )
    expected = full[:, :5] / np.linalg.norm(full[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(short, expected, atol=1e-5)
    with pytest.raises(ConfigError, match=r"dims \(13\) must lie within 1 and 12"):
        embedder.encode(items, dims=13)


def test_the_vector_is_the_head_of_the_last_tokens_state(embedder, items):
    """Against the model called by hand, one item at a time, with no padding."""
    model = embedder.model
    for item in items[:3]:
        inputs = embedder.batch([item])
        with torch.inference_mode():
            state = model.backbone(**inputs).last_hidden_state[0, -1]
            expected = torch.nn.functional.normalize(model.head(state), dim=-1)
        np.testing.assert_allclose(embedder.encode([item])[0], expected.numpy(), atol=1e-5)


def test_in_bfloat16_the_vectors_are_of_unit_length_and_near(make, items):
    full, half = (
        make("internvl", dtype=dtype).encode(items, **QUIET) for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)
    assert (full * half).sum(axis=1).min() > 0.99


def test_an_untrained_lora_leaves_the_published_network_as_it_is(make, items):
    for family in ("qwen3_vl", "internvl"):
        ours = make(family, stirred=False)
        published = AutoModelForImageTextToText.from_pretrained(ours.config.name).base_model
        inputs = ours.batch(items[:1])
        with torch.inference_mode():
            expected = published(**inputs).last_hidden_state[:, -1]
            torch.testing.assert_close(ours.model.states(inputs), expected)


def test_only_lora_and_head_are_trained(make):
    for train in ("lora", "full", "frozen"):
        model = make("internvl", train=train).model
        names = {name for name, p in model.named_parameters() if p.requires_grad}
        inside = {name for name in names if name.startswith("backbone.")}
        assert names - inside == {"head.weight", "head.bias", "log_scale"}
        assert not any("vision" in name or "projector" in name for name in inside)
        assert bool(inside) == (train != "frozen")
        assert all(("lora_" in name) == (train == "lora") for name in inside)


def test_saved_and_loaded_it_encodes_the_same(embedder, items, tmp_path):
    embedder.facts = {"H@10": 0.5}
    embedder.save_pretrained(tmp_path / "model")
    again = MLLMEmbedder.from_pretrained(tmp_path, device="cpu")  # a run's folder
    np.testing.assert_array_equal(embedder.encode(items, **QUIET), again.encode(items, **QUIET))
    assert again.facts == {"H@10": 0.5}
    assert again.config == embedder.config
    weights = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert weights < 4 * 1.5 * sum(p.numel() for p in again.model.parameters() if p.requires_grad)


def test_a_folder_of_another_kind_is_refused(tmp_path, embedder):
    with pytest.raises(ModelError, match="is no saved MLLM embedder"):
        MLLMEmbedder.from_pretrained(tmp_path)
    embedder.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    for change, told in (
        ({"format": 99}, "format 99"),
        ({"mllm": {"name": "x", "dimz": 3}}, "dimz"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(saved | change))
        with pytest.raises(ModelError, match=told):
            MLLMEmbedder.from_pretrained(tmp_path)


def test_a_model_without_eyes_is_refused(tmp_path):
    from transformers import Qwen2Config

    Qwen2Config(hidden_size=8, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no processor of photos and text"):
        MLLMEmbedder.from_config(MLLMConfig(str(tmp_path)))
    with pytest.raises(ModelError, match="does not exist"):
        MLLMEmbedder.from_config(MLLMConfig(str(tmp_path / "nowhere")))


def test_random_weights_are_the_same_every_time(make, items):
    first, second = (make("qwen3_vl", random_weights=True) for _ in range(2))
    np.testing.assert_array_equal(first.encode(items[:2]), second.encode(items[:2]))


@pytest.mark.parametrize("option", ["dims", "max_pixels", "max_tokens", "lora_rank"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(ConfigError, match=rf"mllm\.{option} \(0\) must be 1 or more"):
        MLLMConfig("any", **{option: 0})


# -- prompts and photos ----------------------------------------------------------------------------


def test_a_photo_never_costs_more_than_max_pixels(make, photo):
    shapes = [(8, 8), (64, 64), (500, 400), (2000, 20), (31, 900)]
    qwen = make("qwen3_vl", max_pixels=64 * 64)
    intern = make("internvl", max_pixels=4 * 32 * 32)
    for width, height in shapes:
        item = Item("x", images=(photo(1, width, height),))
        patches = qwen.batch([item])["pixel_values"].shape[0]
        assert 0 < patches * 8 * 8 <= 64 * 64
        tiles = intern.batch([item])["pixel_values"].shape[0]
        assert 1 <= tiles <= 4
    one_tile = make("internvl", max_pixels=1)
    assert one_tile.batch([item])["pixel_values"].shape[0] == 1


def test_fitting_keeps_the_shape_and_leaves_small_photos_alone(photo):
    from tgqformer.catalog.images import decode_image

    small = decode_image(photo(1, 30, 20))
    assert fit(small, 600).tobytes() == small.tobytes()
    fitted = fit(decode_image(photo(1, 400, 200)), 3200)
    assert fitted.size == (80, 40)
    assert max(fit(decode_image(photo(1, 900, 2)), 10**9).size) / 8 <= 113


def test_as_many_image_tokens_as_the_network_gives_vectors(embedder, items):
    """Else the network itself would refuse; here for the count in the ids."""
    marked = embedder.model.backbone.config.image_token_id
    inputs = embedder.batch(items)
    counts = (inputs["input_ids"] == marked).sum(1)
    assert [bool(count) for count in counts] == [bool(item.images) for item in items]


def test_a_title_that_spells_a_special_token_stays_text(embedder):
    marks = embedder.chat.processor.tokenizer.get_added_vocab()
    ids = set(marks.values())
    plain = embedder.batch([Item("a", "lamp")])["input_ids"][0].tolist()
    spelt = embedder.batch([Item("a", "lamp " + " ".join(marks))])["input_ids"][0].tolist()
    assert [t for t in spelt if t in ids] == [t for t in plain if t in ids]


def test_long_metadata_is_cut_at_max_tokens(make):
    embedder = make("internvl", max_tokens=10)
    lengths = [embedder.batch([Item("a", "x" * n)])["input_ids"].shape[1] for n in (9, 10, 11, 300)]
    assert lengths == [lengths[0], lengths[0] + 1, lengths[0] + 1, lengths[0] + 1]


def test_an_item_without_anything_says_so(embedder):
    prompt = embedder.chat.prompt("", image=False)
    assert embedder.config.missing in prompt
    assert embedder.config.instruction in prompt
    assert embedder.config.missing not in embedder.chat.prompt("", image=True)


def test_a_scale_at_its_limit_can_leave_it_again(make):
    model = make("internvl").model
    with torch.no_grad():
        model.log_scale.fill_(7.0)
    model.clamp_scale()
    assert model.scale.item() == pytest.approx(100)
    model.scale.backward()
    assert float(model.log_scale.grad) > 0

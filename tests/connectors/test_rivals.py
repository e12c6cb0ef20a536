"""What every connector of the table promises, TGQ-Former's rivals above all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tgqformer.connectors import CONNECTORS, ConnectorConfig, ConnectorShape, build_connector
from tgqformer.connectors.blocks import grid_side, pooling_weights
from tgqformer.errors import ConfigError
from tgqformer.towers.base import TowerBatch

SHAPE = ConnectorShape(visual=12, image_global=10, text=8, text_global=6, output=20)
WITHOUT_TOKENS = {"text_only", "clip_sum"}  # test_baselines.py
RIVALS = sorted(set(CONNECTORS) - {"tgqformer"} - WITHOUT_TOKENS)
ATTENTIVE = ["notellm2", "perceiver", "qformer", "qformer_text"]
SMALL = {"width": 16, "heads": 4, "layers": 2, "anchored": 4, "exploratory": 2}
every_rival = pytest.mark.parametrize("kind", RIVALS)
attentive = pytest.mark.parametrize("kind", ATTENTIVE)


def connector(kind: str, shape: ConnectorShape = SHAPE, **options):
    """A connector with every weight moved off its start."""
    torch.manual_seed(0)
    built = build_connector(ConnectorConfig(kind=kind, **{**SMALL, **options}), shape).eval()
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return built


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["tgqformer", *RIVALS])
def test_all_emit_the_same_number_of_tokens_and_their_streams(kind, states):
    model = connector(kind)
    out = model(TowerBatch(**states(visual=9)))
    assert out.tokens.shape == (5, 6, SHAPE.output)
    assert model.num_tokens == model.config.tokens == 6
    assert tuple(out.streams) == model.stream_names
    assert all(s.shape == (5, model.width) for s in out.streams.values())


@every_rival
def test_the_stream_is_the_mean_of_the_states_behind_the_tokens(kind, states):
    model, batch = connector(kind), states(visual=9)
    seen, _ = model.states(TowerBatch(**batch))
    out = model(TowerBatch(**batch))
    assert torch.equal(out.streams["visual"], seen.mean(dim=1))
    assert torch.equal(out.tokens, model.project(seen))
    assert not out.gates
    assert not out.projections


@every_rival
def test_an_item_does_not_depend_on_its_batch(kind, states):
    model, batch = connector(kind), states(visual=9)
    alone = {name: x[2:3] for name, x in batch.items()}
    close(model(TowerBatch(**batch)).tokens[2:3], model(TowerBatch(**alone)).tokens)


@every_rival
def test_what_is_masked_has_no_influence(kind, states):
    model, batch = connector(kind), states(visual=9)
    batch["visual_mask"][1] = False
    batch["text_mask"][2, 3:] = False
    before = model(TowerBatch(**batch)).tokens
    batch["visual"][1] = 1e3
    batch["text"][2, 3:] = 1e3
    close(model(TowerBatch(**batch)).tokens, before)


@pytest.mark.parametrize("kind", sorted(set(RIVALS) - {"cabstractor"}))
def test_padding_changes_nothing(kind, states):
    model, batch = connector(kind), states(visual=9)
    before = model(TowerBatch(**batch)).tokens
    for name in ("visual", "text"):
        junk = torch.randn_like(batch[name][:, :3])
        batch[name] = torch.cat([batch[name], junk], dim=1)
        batch[f"{name}_mask"] = nn.functional.pad(batch[f"{name}_mask"], (0, 3), value=False)
    close(model(TowerBatch(**batch)).tokens, before)


@every_rival
@pytest.mark.parametrize("missing", ["visual", "text", "both"])
def test_missing_parts_leave_tokens_and_gradients_finite(kind, states, missing):
    model, batch = connector(kind).train(), states(visual=9)
    for column, name in enumerate(("visual", "text")):
        if missing in (name, "both"):
            batch[name], batch[f"{name}_mask"] = batch[name] * 0, batch[f"{name}_mask"] & False
            batch["presence"][:, column] = False
    out = model(TowerBatch(**batch))
    (out.tokens.square().sum() + out.streams["visual"].sum()).backward()
    assert bool(out.tokens.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@every_rival
def test_every_weight_is_trained(kind, states):
    model = connector(kind)
    model(TowerBatch(**states(visual=9))).tokens.square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not idle


@every_rival
def test_only_the_text_conditioned_rival_reads_the_metadata(kind, states):
    model, batch = connector(kind), states(visual=9)
    before = model(TowerBatch(**batch)).tokens
    batch["text"], batch["text_global"] = batch["text"] + 1, batch["text_global"] + 1
    batch["text"][:, 0, 0] += 3
    assert torch.equal(model(TowerBatch(**batch)).tokens, before) == (kind != "qformer_text")


@every_rival
def test_the_photo_matters(kind, states):
    model, batch = connector(kind), states(visual=9)
    other = {**batch, "visual": states(visual=9, seed=1)["visual"]}
    a, b = (model(TowerBatch(**given)).tokens for given in (batch, other))
    gap = (a - b).abs().amax(dim=(1, 2))
    assert bool((gap > 1e-3).all())


@attentive
def test_attention_comes_on_request_and_changes_nothing(kind, states):
    model, batch = connector(kind), states()
    plain, shown = model(TowerBatch(**batch)), model(TowerBatch(**batch), return_attention=True)
    assert not plain.attention
    assert shown.attention["visual"].shape == (5, 6, 7)
    close(plain.tokens, shown.tokens)
    share = shown.attention["visual"].sum(dim=-1)  # null token and latents take the rest
    assert bool((share > 0).all())
    assert bool((share < 1).all())


@pytest.mark.parametrize("kind", sorted(set(RIVALS) - set(ATTENTIVE)))
def test_without_attention_there_is_no_map(kind, states):
    assert not connector(kind)(TowerBatch(**states(visual=9)), return_attention=True).attention


@attentive
def test_permuted_visual_tokens_permute_the_attention_alone(kind, states):
    model, batch = connector(kind), states()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    moved = {**batch, "visual": batch["visual"][:, order]}
    a, b = (
        model(TowerBatch(**batch), return_attention=True),
        model(TowerBatch(**moved), return_attention=True),
    )
    close(a.tokens, b.tokens)
    close(a.attention["visual"][..., order], b.attention["visual"])


def cross_layers(model) -> list[int]:
    return [i for i, layer in enumerate(model.stack.layers) if layer.cross_attention is not None]


def test_cross_attention_stands_in_every_so_many_layers():
    assert cross_layers(connector("notellm2")) == [0, 2, 4]
    assert cross_layers(connector("qformer", layers=5)) == [0, 2, 4]
    assert cross_layers(connector("qformer_text", layers=3, cross_every=1)) == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"connector.cross_every \(0\) must be 1 or more"):
        ConnectorConfig(cross_every=0)


def test_linear_and_mlp_are_llavas_where_nothing_is_pooled(states):
    batch = states(visual=6)  # no square: a sequence of as many tokens as the connector emits
    for kind in ("linear", "mlp"):
        model = connector(kind)
        close(
            model(TowerBatch(**batch)).tokens, model.projection(model.input_norm(batch["visual"]))
        )


def test_a_class_token_is_left_out_of_the_grid(states):
    for kind in ("cabstractor", "linear", "mlp"):
        model, batch = connector(kind), states(visual=10)
        grid = {
            **batch,
            "visual": batch["visual"][:, 1:],
            "visual_mask": batch["visual_mask"][:, 1:],
        }
        close(model(TowerBatch(**batch)).tokens, model(TowerBatch(**grid)).tokens)


def test_c_abstractor_asks_for_a_square_grid(states):
    with pytest.raises(ConfigError, match="square grid of visual tokens .* there are 7"):
        connector("cabstractor")(TowerBatch(**states(visual=7)))


def test_c_abstractor_takes_no_four_photos_for_a_grid(states):
    known = connector("cabstractor", replace(SHAPE, photo_tokens=9))
    assert known(TowerBatch(**states(visual=9))).tokens.isfinite().all()
    assert known(TowerBatch(**states(visual=36))).tokens.isfinite().all()
    with pytest.raises(ConfigError, match=r"there are 35; set embedder.max_images=1"):
        known(TowerBatch(**states(visual=35)))


def test_c_abstractor_knows_where_a_token_lies(states):
    known = connector("cabstractor", replace(SHAPE, photo_tokens=9))
    without = connector("cabstractor")
    without.load_state_dict({k: x for k, x in known.state_dict().items() if k != "positions"})
    one = states(visual=9)
    assert not torch.allclose(known(TowerBatch(**one)).tokens, without(TowerBatch(**one)).tokens)
    with torch.no_grad():
        known.positions.zero_()
    close(known(TowerBatch(**one)).tokens, without(TowerBatch(**one)).tokens)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_projectors_average_the_grids_of_four_photos(kind, states):
    known, batch = connector(kind, replace(SHAPE, photo_tokens=9)), states(visual=36)
    maps = known.input_norm(batch["visual"]).unflatten(1, (4, 3, 3)).mean(dim=1)
    pooled = nn.functional.adaptive_avg_pool2d(maps.permute(0, 3, 1, 2), (2, 3))
    close(known(TowerBatch(**batch)).tokens, known.projection(pooled.flatten(2).transpose(1, 2)))


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_the_order_of_photos_does_not_matter_and_a_photo_told_twice_adds_little(kind, states):
    known = connector(kind, replace(SHAPE, photo_tokens=9))
    batch = states(visual=27)
    batch["visual_mask"][1, 18:] = False  # of one item two photos, of another one
    batch["visual_mask"][2, 9:] = False
    batch["visual"] = batch["visual"] * batch["visual_mask"][..., None]
    told = known(TowerBatch(**batch))
    photos = batch["visual"].unflatten(1, (3, 9))
    turned = torch.stack([photos[0].flip(0), photos[1][[1, 0, 2]], *photos[2:]])
    again = known(TowerBatch(**{**batch, "visual": turned.flatten(1, 2)}))
    close(again.tokens, told.tokens)
    for name, stream in told.streams.items():
        close(again.streams[name], stream)
    one = {name: x[2:3, :9] if name.startswith("visual") else x[2:3] for name, x in batch.items()}
    close(
        known(TowerBatch(**one)).tokens, told.tokens[2:3]
    )  # beside items with more photos and alone


# -- pooling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "cells", "grid"), [(14, 8, (2, 4)), (5, 4, (2, 2)), (2, 9, (3, 3))]
)
@pytest.mark.parametrize("leading", [0, 1])
def test_square_grids_are_pooled_as_the_library_pools_them(side, cells, grid, leading):
    tokens = torch.randn(2, leading + side * side, 3, dtype=torch.float64)
    ours = pooling_weights(torch.ones(tokens.shape[:2], dtype=torch.bool), cells).double() @ tokens
    maps = tokens[:, leading:].transpose(1, 2).unflatten(-1, (side, side))
    theirs = nn.functional.adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "cells"), [(7, 3), (13, 8), (2, 5), (1, 4)])
def test_other_sequences_are_pooled_as_the_library_pools_them(length, cells):
    tokens = torch.randn(2, length, 3, dtype=torch.float64)
    ours = pooling_weights(torch.ones(2, length, dtype=torch.bool), cells).double() @ tokens
    theirs = nn.functional.adaptive_avg_pool1d(tokens.transpose(1, 2), cells).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_each_item_is_pooled_over_its_own_tokens():
    lengths = [16, 17, 7, 0]
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    weights = pooling_weights(mask, 4)
    for i, length in enumerate(lengths):
        own = pooling_weights(torch.ones(1, length, dtype=torch.bool), 4)[0]
        assert torch.equal(weights[i, :, :length], own)
        assert not bool(weights[i, :, length:].any())
        assert bool(weights[i].any()) == bool(length)


def test_several_photos_are_pooled_each_over_its_grid():
    lengths = [9, 36, 18, 4]
    mask = torch.arange(36) < torch.tensor(lengths)[:, None]
    weights, unknown = pooling_weights(mask, 4, photo_tokens=9), pooling_weights(mask, 4)
    for i in (0, 3):
        assert torch.equal(weights[i], unknown[i])
    grid = pooling_weights(torch.ones(1, 9, dtype=torch.bool), 4)[0]
    torch.testing.assert_close(weights[1], grid.repeat(1, 4) / 4)
    torch.testing.assert_close(weights[2, :, :18], grid.repeat(1, 2) / 2)
    apart = pooling_weights(mask, 4, photo_tokens=9, apart=True)
    torch.testing.assert_close(apart[1], torch.eye(4).repeat_interleave(9, dim=1) / 9)
    assert torch.equal(apart[0], weights[0])
    assert (grid_side(36), grid_side(36, 9), grid_side(9, 9)) == ((6, 0), None, (3, 0))


def test_grids_are_found_with_and_without_a_class_token():
    found = {n: grid_side(n) for n in (196, 197, 49, 9, 10, 7, 0, 1, 2)}
    assert found == {
        196: (14, 0), 197: (14, 1), 49: (7, 0), 9: (3, 0), 10: (3, 1),
        7: None, 0: None, 1: (1, 0), 2: None,
    }  # fmt: skip

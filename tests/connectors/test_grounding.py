"""Token-level agreement: the map, what it steers, and what it must not touch."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tgqformer.connectors import CONNECTORS, ConnectorConfig, ConnectorShape, build_connector
from tgqformer.connectors.grounding import (
    CELLS,
    INITIAL_THRESHOLD,
    Confidence,
    Grounding,
    Ungrounded,
)
from tgqformer.errors import ConfigError
from tgqformer.objectives import image_text_contrast
from tgqformer.towers.base import TowerBatch

SIDE = 14
SHAPE = ConnectorShape(
    visual=12, image_global=12, text=10, text_global=10, output=8, photo_tokens=SIDE * SIDE
)
WITHOUT_GRID = replace(SHAPE, photo_tokens=None)
ATTENTIVE = ["notellm2", "perceiver", "qformer", "qformer_text"]
attentive = pytest.mark.parametrize("kind", ATTENTIVE)


def inputs(batch=3):
    torch.manual_seed(0)
    visual, text = torch.randn(batch, SIDE * SIDE, 12), torch.randn(batch, 4, 10)
    return {
        "visual": visual,
        "visual_mask": torch.ones(visual.shape[:2], dtype=torch.bool),
        "image_global": visual.mean(1),
        "text": text,
        "text_mask": torch.ones(text.shape[:2], dtype=torch.bool),
        "text_global": text.mean(1),
        "presence": torch.ones(batch, 2, dtype=torch.bool),
        "words": torch.zeros(batch, 0),
    }


def grounding(shape=WITHOUT_GRID):
    torch.manual_seed(1)
    return Grounding(ConnectorConfig(width=16, heads=2, agreement_width=8), shape, looks=2)


def ask(module, given):
    return module(TowerBatch(**given))


def build(kind, grounding="all", **options):
    torch.manual_seed(5)
    small = {"width": 16, "heads": 2, "layers": 2, "anchored": 2, "exploratory": 1}
    config = ConnectorConfig(kind=kind, grounding=grounding, agreement_width=8, **small, **options)
    connector = build_connector(config, SHAPE).eval()
    with torch.no_grad():
        for weight in connector.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return connector


def test_relevance_is_at_most_that_of_the_best_token_and_the_null_token_stands_last():
    found = ask(grounding(), inputs())
    assert found.relevance.shape == (3, SIDE * SIDE + 1)
    torch.testing.assert_close(found.relevance[:, :-1].amax(1), torch.zeros(3))
    assert (found.agreement.abs() <= 1).all()
    assert found.projections["image"].shape == (3, CELLS, 8)


def test_photos_share_the_cells_and_none_is_blurred_by_another():
    module, given = grounding(SHAPE), inputs()
    one = ask(module, given).projections["image"]
    assert torch.equal(one, ask(grounding(), given).projections["image"])
    given["visual"] = torch.randn(3, 4 * SIDE * SIDE, 12)
    given["visual_mask"] = torch.ones(given["visual"].shape[:2], dtype=torch.bool)
    tokens = F.normalize(module.image(given["visual"]), dim=-1)
    maps = tokens.unflatten(1, (4, SIDE, SIDE)).flatten(0, 1).permute(0, 3, 1, 2)
    cells = F.adaptive_avg_pool2d(maps, (3, 4)).flatten(2).transpose(1, 2).reshape(3, 48, -1)
    told = ask(module, given)
    torch.testing.assert_close(told.projections["image"][:, :48], cells)
    assert not told.projections["image"][:, 48:].any()
    turned = {**given, "visual": given["visual"].unflatten(1, (4, -1)).flip(1).flatten(1, 2)}
    torch.testing.assert_close(ask(module, turned).agreement, told.agreement)
    connector = build_connector(ConnectorConfig(width=16, heads=2), SHAPE)
    assert connector.grounding.photo_tokens == SIDE * SIDE


@pytest.mark.parametrize("missing", [0, 1])
def test_without_photo_or_metadata_nothing_is_steered_and_nothing_agrees(missing):
    given = inputs()
    given["presence"][1, missing] = False
    if missing == 0:
        given["visual_mask"][1] = False
        given["visual"][1] = 0
    found = ask(grounding(), given)
    assert not found.relevance[1].any()
    assert not found.agreement[1].any()
    assert not found.confidence[1].any()
    assert not any(bias[1].any() for bias in found.bias)
    assert all(bias[0].any() for bias in found.bias)
    assert torch.isfinite(found.projections["image"]).all()


def test_training_the_contrast_finds_the_part_that_the_text_speaks_of():
    torch.manual_seed(2)
    module, words = grounding(), torch.randn(6, 10)
    things = torch.randn(6, 12)
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        visual = 0.3 * torch.randn(6, SIDE * SIDE, 12, generator=generator)
        visual[:, :20] += things[:, None]  # each photo shows its thing in a corner
        given = {**inputs(6), "visual": visual, "text_global": words}
        found = ask(module, given)
        valid = torch.ones(6, dtype=torch.bool)
        loss = image_text_contrast(
            found.projections["image"], found.projections["text"], 10.0, valid
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # a scene that shows the things of items 0 and 1: each text finds its own
    scene = 0.3 * torch.randn(2, SIDE * SIDE, 12)
    scene[:, :42] += things[0]
    scene[:, 154:] += things[1]
    given = {**inputs(2), "visual": scene, "text_global": words[:2]}
    relevance = ask(module, given).relevance
    first, second = relevance[:, :42].mean(1), relevance[:, 154:196].mean(1)
    assert first[0] > second[0] + 0.2
    assert second[1] > first[1] + 0.2


@pytest.mark.parametrize(
    ("scope", "steered"),
    [("none", set()), ("anchored", {"anchored"}), ("all", {"anchored", "exploratory"})],
)
def test_grounding_steers_the_streams_that_it_is_told_to(scope, steered):
    torch.manual_seed(3)
    config = ConnectorConfig(
        width=16, heads=2, layers=1, grounding=scope, agreement_width=8, anchored_gate=False
    )
    connector = build_connector(config, SHAPE).eval()
    given = inputs()
    before = connector(TowerBatch(**given)).streams
    if scope != "none":
        connector.grounding.strength.data.mul_(-3)
    after = connector(TowerBatch(**given)).streams
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-4)}
    assert changed == steered


def test_the_exploratory_stream_takes_nothing_of_the_text_but_where_to_look():
    torch.manual_seed(4)
    config = ConnectorConfig(width=16, heads=2, layers=1, agreement_width=8, grounding="all")
    connector = build_connector(config, SHAPE).eval()
    given = inputs()
    given["visual"][:] = given["visual"][:, :1]  # alike everywhere: where to look tells nothing
    connector.memory.positions.scale.data.zero_()
    connector.grounding.strength.data.zero_()
    other = {**given, "text": torch.randn_like(given["text"])}
    streams = [connector(TowerBatch(**x)).streams["exploratory"] for x in (given, other)]
    torch.testing.assert_close(*streams)


# -- abstaining -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tgqformer", *ATTENTIVE])
def test_without_confidence_attention_is_as_without_grounding(kind):
    grounded = build(kind, agreement_input=False)
    plain = build(kind, "none", agreement_input=False)
    plain.load_state_dict(grounded.state_dict(), strict=False)
    given = inputs()
    steered = grounded(TowerBatch(**given)).tokens
    grounded.grounding.confidence.threshold.data.fill_(100)
    assert not ask(grounded.grounding, given).confidence.any()
    a, b = (model(TowerBatch(**given), return_attention=True) for model in (grounded, plain))
    torch.testing.assert_close(a.tokens, b.tokens)
    torch.testing.assert_close(a.attention, b.attention, rtol=0, atol=1e-6)
    assert not torch.allclose(steered, a.tokens, atol=1e-5)


def test_grounding_that_cannot_abstain_is_the_limit_of_full_confidence():
    able, unable, given = build("tgqformer"), build("tgqformer", abstain=False), inputs()
    towers = TowerBatch(**given)
    unable.load_state_dict(able.state_dict(), strict=False)
    assert not list(unable.grounding.confidence.parameters())
    assert torch.equal(ask(unable.grounding, given).confidence, torch.ones(3, 1))
    assert not torch.allclose(able(towers).tokens, unable(towers).tokens, atol=1e-5)
    able.grounding.confidence.threshold.data.fill_(-100)
    assert torch.equal(able(towers).tokens, unable(towers).tokens)


def test_the_bias_of_an_item_is_its_map_by_strength_and_confidence():
    module, given = grounding(), inputs()
    module.strength.data.normal_()
    found = ask(module, given)
    expected = torch.einsum(
        "lh,bp,b->lbhp", module.strength, found.relevance, found.confidence[:, 0]
    )
    torch.testing.assert_close(torch.stack(found.bias), expected[:, :, :, None])


def test_confidence_rises_with_the_agreement_whatever_is_learned():
    agreement = torch.linspace(-1, 1, 41)[:, None]
    for seed in range(5):
        torch.manual_seed(seed)
        confidence = Confidence()
        if seed:
            for weight in confidence.parameters():
                weight.data.normal_()
        found = confidence(agreement).double()
        assert found.shape == agreement.shape
        assert bool((found.diff(dim=0) >= 0).all())
        assert 0 <= found[0] < 0.5 < found[-1] <= 1 or seed
    torch.testing.assert_close(Confidence()(torch.tensor(INITIAL_THRESHOLD)), torch.tensor(0.5))


def test_photos_that_agree_are_steered_more_than_those_that_do_not():
    module, given = grounding(), inputs(6)
    found = ask(module, given)
    order = found.agreement[:, 0].argsort()
    assert bool((found.confidence[order, 0].diff() > 0).all())


def test_at_the_start_every_map_counts():
    for seed in range(5):
        torch.manual_seed(seed)
        module = Grounding(ConnectorConfig(), SHAPE, looks=2)
        assert bool((ask(module, inputs(20)).confidence > 0.5).all())


def test_where_confidence_lies_is_learned_with_the_rest():
    connector = build("tgqformer")
    connector(TowerBatch(**inputs())).tokens.square().sum().backward()
    learned = dict(connector.grounding.confidence.named_parameters())
    assert learned.keys() == {"log_slope", "threshold"}
    assert all(bool(weight.grad) for weight in learned.values())


# -- rivals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_a_rival_is_grounded_only_where_it_is_asked_for(kind):
    config = ConnectorConfig(kind=kind)
    assert config.steered == ("all" if kind == "tgqformer" else "none")
    if hasattr(build_connector(config, SHAPE), "grounding"):
        for told in ("auto", "none", "all"):
            connector = build_connector(ConnectorConfig(kind=kind, grounding=told), SHAPE)
            takes = {"auto": ["tgqformer"], "none": [], "all": ["tgqformer", *ATTENTIVE]}[told]
            expected = Grounding if kind in takes else Ungrounded
            assert isinstance(connector.grounding, expected)


def test_a_rival_has_no_anchored_queries_to_ground():
    with pytest.raises(ConfigError, match="'perceiver' has none; choose all or none"):
        ConnectorConfig(kind="perceiver", grounding="anchored")


@attentive
@pytest.mark.parametrize("cross_every", [1, 2])
def test_each_look_of_a_rival_has_strengths_of_its_own(kind, cross_every):
    connector, given = build(kind, cross_every=cross_every, notellm2_layers=5), inputs()
    layers = {"notellm2": 5}.get(kind, 2)
    looks = layers if kind == "perceiver" else -(-layers // cross_every)
    assert connector.grounding.strength.shape == (looks, 2)
    for look in range(looks):  # and each is heeded
        before = connector(TowerBatch(**given)).tokens
        connector.grounding.strength.data[look] += 3
        assert not torch.allclose(before, connector(TowerBatch(**given)).tokens, atol=1e-5)


@attentive
def test_without_strength_a_grounded_rival_is_the_build(kind):
    grounded, plain, given = build(kind), build(kind, "none"), inputs()
    plain.load_state_dict(grounded.state_dict(), strict=False)
    grounded.grounding.strength.data.zero_()
    a, b = (model(TowerBatch(**given), return_attention=True) for model in (grounded, plain))
    torch.testing.assert_close(a.tokens, b.tokens)
    torch.testing.assert_close(a.attention, b.attention)


@attentive
def test_a_grounded_rival_says_what_the_contrast_trains(kind):
    connector, given = build(kind), inputs()
    out, alone = connector(TowerBatch(**given)), ask(connector.grounding, given)
    assert torch.equal(out.agreement, alone.agreement)
    assert out.projections.keys() == {"image", "text"}
    assert all(torch.equal(out.projections[name], x) for name, x in alone.projections.items())
    out.tokens.square().sum().backward()
    weights = dict(connector.named_parameters())
    assert not [name for name, p in weights.items() if p.grad is None or not p.grad.any()]


@attentive
def test_a_rival_looks_where_the_metadata_points(kind):
    """At full strength all heads rest on the token that agrees most, however little they share."""
    connector, given = build(kind), inputs()
    connector.grounding.strength.data.fill_(1e6)
    connector.grounding.rest.data.fill_(-1)
    found, attention = (
        ask(connector.grounding, given),
        connector(TowerBatch(**given), return_attention=True),
    )
    shown = attention.attention["visual"]
    best = found.relevance[:, :-1].argmax(dim=1)
    assert torch.equal(shown.argmax(dim=-1), best[:, None].expand(-1, shown.shape[1]))
    if kind != "perceiver":  # whose latents may attend to one another instead
        torch.testing.assert_close(shown.amax(dim=-1), torch.ones(shown.shape[:2]))


@attentive
@pytest.mark.parametrize("missing", [0, 1])
def test_a_rival_is_not_steered_where_photo_or_metadata_are_missing(kind, missing):
    connector, given = build(kind), inputs()
    given["presence"][1, missing] = False
    before = connector(TowerBatch(**given)).tokens
    connector.grounding.strength.data.mul_(-3)
    after = connector(TowerBatch(**given)).tokens
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0], atol=1e-5)


def test_latents_keep_their_own_scores():
    connector, given = build("perceiver"), inputs()
    memory, mask = connector.memory(given["visual"], given["visual_mask"])
    layers = len(connector.stack.layers)
    plain, _ = connector.stack(memory, mask)
    nothing = [torch.zeros(3, 2, 1, memory.shape[1])] * layers
    torch.testing.assert_close(connector.stack(memory, mask, nothing)[0], plain)
    away = [torch.full((3, 2, 1, memory.shape[1]), -1e9)] * layers
    _, attention = connector.stack(memory, mask, away, weights=True)
    assert not attention.any()  # all of it rests on the latents

"""The loss of a step is the sum of its terms, each of what it is meant for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.config import override
from tgqformer.embedder.model import MAX_LOG_SCALE
from tgqformer.objectives import image_text_contrast, info_nce, likeness, redundancy
from tgqformer.training.config import LossConfig
from tgqformer.training.data import StepDataset
from tgqformer.training.losses import batch_loss, per_item
from tgqformer.training.trainer import make_optimizer


@pytest.fixture(scope="module")
def batch(shop, config_of, embedder_of):
    """A step's facts, what a model says of it, and what one says without backbone and base."""
    config = config_of(**{"noise.views": 0})
    embedder = embedder_of(config, shop)
    plain = embedder_of(override(config, ["embedder.base=none"]), shop)
    step = StepDataset(embedder, shop, config.training)[0]
    with torch.no_grad():
        whole = embedder.model.eval()(step.chunks[0])
        alone = plain.model.eval()(step.chunks[0], connector_only=True)
    return step.facts, whole, alone


def test_the_loss_is_the_weighted_sum_of_its_terms(batch):
    facts, output, _ = batch
    config = LossConfig(visual=0.3, exploratory=0.4, redundancy=0.7, agreement=0.2)
    total, terms = batch_loss(per_item(output, config), facts, config)
    b = facts.pairs
    pair = {"known": facts.known, "both_sides": True}
    vectors = {
        "main": output.embedding,
        "visual": output.visual,
        "exploratory": output.stream_views["exploratory"],
    }
    scales = {"main": output.scales["embedding"]}
    scales |= dict.fromkeys(("visual", "exploratory"), output.scales["visual"])
    expected = {
        name: info_nce(x[:b], x[b:], scales[name].mean(), **pair) for name, x in vectors.items()
    }
    c = output.connector
    expected["redundancy"] = redundancy(c.streams["anchored"], c.streams["exploratory"])
    expected["agreement"] = image_text_contrast(
        c.projections["image"],
        c.projections["text"],
        output.scales["agreement"].mean(),
        output.complete[:, 0] > 0,
        facts.same_text,
    )
    assert bool(facts.own_text.all())
    assert terms.keys() == expected.keys()
    weights = {"main": 1.0, "visual": 0.3, "exploratory": 0.4, "redundancy": 0.7, "agreement": 0.2}
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])
    torch.testing.assert_close(total, sum(weights[n] * x for n, x in expected.items()))


@pytest.mark.parametrize("name", ["visual", "exploratory", "redundancy", "agreement"])
def test_a_weight_of_zero_removes_its_term_alone(batch, name):
    facts, output, _ = batch
    config = LossConfig()
    every = batch_loss(per_item(output, config), facts, config)[1]
    less = replace(config, **{name: 0.0})
    rest = batch_loss(per_item(output, less), facts, less)[1]
    assert rest.keys() == every.keys() - {name}
    assert all(torch.equal(rest[n], every[n]) for n in rest)


def test_the_alignment_stage_has_no_main_loss_without_a_base(batch):
    facts, _, output = batch
    config = LossConfig(visual=0.0, exploratory=0.0, redundancy=0.0, agreement=0.0)
    total, terms = batch_loss(per_item(output, config), facts, config)
    assert terms.keys() == {"visual"}  # at full weight, whatever the option says
    assert torch.equal(total, terms["visual"])


def test_the_alignment_stage_has_a_main_loss_with_a_base(shop, config_of, embedder_of):
    embedder = embedder_of(config_of(), shop)
    step = StepDataset(embedder, shop, config_of().training)[0]
    output, config = embedder.model(step.chunks[0], connector_only=True), LossConfig()
    total, terms = batch_loss(per_item(output, config), step.facts, config)
    assert {"main", "visual", "exploratory"} <= terms.keys()
    total.backward()
    reached = {n for n, p in embedder.model.named_parameters() if p.grad is not None}
    assert {"adapt.weight", "strength"} <= reached
    assert not any(n.startswith(("backbone", "head")) for n in reached)


@pytest.mark.parametrize("aligning", [False, True])
def test_the_exploratory_loss_reaches_its_own_stream_alone(shop, config_of, embedder_of, aligning):
    """Neither the anchored stream nor the backbone, which settle by the title what they can."""
    config = LossConfig(redundancy=0)
    embedder = embedder_of(config_of(), shop)
    step = StepDataset(embedder, shop, config_of().training)[0]
    output = embedder.model(step.chunks[0], connector_only=aligning)
    items = {
        n: x if "exploratory" in n else x.detach() for n, x in per_item(output, config).items()
    }
    items["scale_visual"] = items["scale_visual"].detach()
    batch_loss(items, step.facts, config)[0].backward()
    parameters = embedder.model.named_parameters()
    reached = {n for n, p in parameters if p.grad is not None and bool(p.grad.any())}
    assert {n for n in reached if n.startswith("visual_head")} == {
        f"visual_head.exploratory.{n}" for n in ("0.weight", "0.bias", "1.weight", "1.bias")
    }
    assert "connector.exploratory.slots" in reached
    assert [n for n in reached if n.startswith(("connector.anchored", "backbone", "head"))] == []


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_base_teaches_view_pairs_and_the_shops_keep_their_loss(
    shop, config_of, embedder_of, share
):
    config = config_of(**{"noise.teacher": "base", "noise.share": share})
    embedder = embedder_of(config, shop)
    step, loss = StepDataset(embedder, shop, config.training)[0], config.training.loss
    own = step.facts.own
    assert own.tolist() == [False] * (8 - int(8 * share)) + [True] * int(8 * share)
    output = embedder.model(step.chunks[0])
    _, terms = batch_loss(per_item(output, loss), step.facts, loss)
    x, teacher = output.embedding, output.base[:8][own]
    taught = [likeness(side[own], teacher) for side in (x[:8], x[8:])]
    torch.testing.assert_close(terms["base_main"], sum(taught) / 2)
    assert ("main" in terms) == (share < 1)
    if share < 1:
        scale = output.scales["embedding"].mean()
        options = {"known": step.facts.known, "both_sides": True, "counted": ~own}
        torch.testing.assert_close(terms["main"], info_nce(x[:8], x[8:], scale, **options))


@pytest.mark.parametrize(
    ("teacher", "pairs", "taught"),
    [("auto", True, False), ("auto", False, True), ("base", True, True), ("item", False, False)],
)
def test_who_teaches_a_view(shop, config_of, embedder_of, teacher, pairs, taught):
    config = config_of(**{"noise.teacher": teacher})
    catalog = shop if pairs else Catalog(shop.items, [])
    step = StepDataset(embedder_of(config, shop), catalog, config.training)[0]
    assert (step.facts.own is not None) == taught


def test_a_connector_without_the_stream_has_no_exploratory_loss(shop, config_of, embedder_of):
    config = config_of("embedder.connector.kind=perceiver")
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    loss = LossConfig()
    terms = batch_loss(per_item(embedder.model(step.chunks[0]), loss), step.facts, loss)[1]
    assert "exploratory" not in terms


def test_matryoshka_is_in_the_main_loss_only(batch):
    facts, output, _ = batch
    items = per_item(output, LossConfig())
    plain_terms = batch_loss(items, facts, LossConfig())[1]
    nested = batch_loss(items, facts, LossConfig(), (4, 8))[1]
    assert not torch.equal(nested["main"], plain_terms["main"])
    assert all(torch.equal(nested[n], x) for n, x in plain_terms.items() if n != "main")


@pytest.mark.parametrize("aligning", [False, True])
@pytest.mark.parametrize(
    "off",
    [(), ("visual",), ("exploratory",), ("redundancy", "agreement"), ("visual", "redundancy")],
)
def test_the_losses_are_handed_what_they_use_and_no_more(batch, aligning, off):
    """So that a weight that no loss asks for has no gradient, in any number of processes."""
    facts, whole, alone = batch
    config = replace(LossConfig(), **dict.fromkeys(off, 0.0))
    items = per_item(alone if aligning else whole, config)
    leaves = {n: x.clone().requires_grad_() for n, x in items.items()}
    batch_loss(leaves, facts, config)[0].backward()
    untrained = {"base", "complete"}  # no weight stands behind these
    assert {n for n, x in leaves.items() if x.grad is None} == untrained & items.keys()


def test_a_temperature_that_reaches_its_limit_comes_back(shop, config_of, embedder_of):
    config = config_of(learning_rate=0.1)
    embedder = embedder_of(config, shop)
    model, log = embedder.model, embedder.model.log_scales["embedding"]
    optimizer = make_optimizer(model, config.training)
    chunk = embedder.batch(shop.items[:2])
    for direction, steps in ((-1, 30), (1, 30)):
        for _ in range(steps):
            optimizer.zero_grad()
            (direction * model(chunk).scales["embedding"].log().mean()).backward()
            optimizer.step()
        if direction < 0:
            assert log.item() == pytest.approx(MAX_LOG_SCALE)
    assert log.item() < MAX_LOG_SCALE - 0.5

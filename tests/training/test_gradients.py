"""The gradient cache gives the plain gradient; a step's loss is the sum of its terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.comparison.metadata import OtherMetadata
from tgqformer.embedder.model import MAX_LOG_SCALE
from tgqformer.errors import ConfigError
from tgqformer.objectives import image_text_contrast, info_nce, redundancy
from tgqformer.training.config import LossConfig
from tgqformer.training.data import StepDataset
from tgqformer.training.gradient_cache import GradientCache
from tgqformer.training.losses import PerItemModel, batch_loss, per_item
from tgqformer.training.mining import NEIGHBOURS, SKIPPED, HardNegatives
from tgqformer.training.optimizer import make_optimizer

TOLERANCE = 1e-6
DROPOUT = "embedder.language.lora_dropout=0.4"


def joined(outputs):
    return {name: torch.cat([out[name] for out in outputs]) for name in outputs[0]}


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_equal_gradients(a, b, tolerance: float = TOLERANCE) -> None:
    assert a.keys() == b.keys()
    for name in a:
        bound = tolerance * max(1.0, b[name].abs().max().item())  # float32 has seven digits
        assert (a[name] - b[name]).abs().max().item() <= bound, name


def plain(model, step, loss, seed: int):
    """Every chunk with its graph, one backward pass."""
    torch.manual_seed(seed)
    value = loss(joined([model(chunk) for chunk in step.chunks]))
    value.backward()
    return value.detach(), gradients(model)


def cached(model, step, loss, seed: int):
    torch.manual_seed(seed)
    value = GradientCache(model, loss).step(step.chunks)
    return value, gradients(model)


@pytest.mark.parametrize("chunk", [1, 5, 11, 16])
@pytest.mark.parametrize("space", ["tiny", "shared"])
def test_cached_gradient_is_the_plain_one(shop, config_of, embedder_of, chunk, space):
    name = [f"embedder.{t}_tower.name=shared" for t in ("image", "text")] * (space == "shared")
    config = config_of(DROPOUT, "embedder.matryoshka=8,16", *name, chunk_size=chunk)
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    assert sum(len(c.towers) for c in step.chunks) == 16
    model = PerItemModel(embedder.model, config.training.loss).train()

    def loss(items):
        return batch_loss(items, step.facts, config.training.loss, (8, 16))[0]

    value, expected = plain(model, step, loss, seed=1)
    again, found = cached(model, step, loss, seed=1)
    assert again.item() == pytest.approx(value.item(), abs=1e-6)
    assert not again.requires_grad
    assert_equal_gradients(found, expected)
    other = plain(model, step, loss, seed=2)[1]
    assert any(not torch.equal(other[n], expected[n]) for n in expected)  # dropout is on
    scales = {f"model.log_scales.{n}" for n in ("embedding", "visual")}
    assert all(bool(found[n]) for n in scales)


def test_chunks_leave_the_random_state_of_one_pass(shop, config_of, embedder_of):
    config = config_of(DROPOUT, chunk_size=5)
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    model = PerItemModel(embedder.model, config.training.loss).train()

    def loss(items):
        return batch_loss(items, step.facts, config.training.loss)[0]

    plain(model, step, loss, seed=1)
    expected = torch.get_rng_state()
    cached(model, step, loss, seed=1)
    assert torch.equal(torch.get_rng_state(), expected)


def test_chunked_is_unchunked(shop, config_of, embedder_of):
    grads = []
    for chunk in ("none", 7):
        config = config_of(chunk_size=chunk)
        embedder = embedder_of(config, shop)
        step = StepDataset(embedder, shop, config.training)[2]

        def loss(items, step=step, config=config):
            return batch_loss(items, step.facts, config.training.loss)[0]

        model = PerItemModel(embedder.model, config.training.loss).train()
        grads.append(cached(model, step, loss, seed=0)[1])
    assert_equal_gradients(*grads, tolerance=5e-6)  # batches of other shapes round otherwise


# -- the loss of a step ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(shop, config_of, embedder_of):
    config = config_of()
    embedder = embedder_of(config, shop)
    step = StepDataset(embedder, shop, config.training)[0]
    with torch.no_grad():
        whole = embedder.model.eval()(step.chunks[0])
        alone = embedder.model(step.chunks[0], connector_only=True)
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
        "exploratory": output.streams["exploratory"],
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


def test_the_alignment_stage_has_no_main_loss(batch):
    facts, _, output = batch
    config = LossConfig(visual=0.0, exploratory=0.0, redundancy=0.0, agreement=0.0)
    total, terms = batch_loss(per_item(output, config), facts, config)
    assert terms.keys() == {"visual"}  # at full weight, whatever the option says
    assert torch.equal(total, terms["visual"])


@pytest.mark.parametrize("aligning", [False, True])
def test_the_exploratory_loss_asks_nothing_of_the_metadata(shop, config_of, embedder_of, aligning):
    """So that it is learned from the photo alone, whatever the title settles."""
    config = LossConfig()
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
    assert [n for n, x in leaves.items() if x.grad is None] == ["complete"] * ("complete" in items)


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


# -- batches of items -----------------------------------------------------------------------------


def test_a_step_knows_what_belongs_together(shop, config_of, embedder_of):
    config = config_of()
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    query, target, _ = shop.pair_indices("train")
    pairs = set(zip(query.tolist(), target.tolist()))
    step, (q, t) = dataset[1], dataset.batches.batch(1)
    rows = [*q.tolist(), *t.tolist()]
    texts = [dataset.texts[r] for r in rows]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            told = bool(step.facts.known[i, j])
            assert told == (a == b or (a, b) in pairs or (b, a) in pairs)
            assert bool(step.facts.same_text[i, j]) == (texts[i] == texts[j])


def test_metadata_is_alike_where_the_connector_reads_it_so(shop, config_of, embedder_of):
    config = config_of(batch_size=16)
    kinds = {item.item_id: item.title.partition(" ")[0] for item in shop.items}
    embedder = OtherMetadata(embedder_of(config, shop), kinds, backbone=False)
    step = StepDataset(embedder, shop, config.training)[0]
    read = step.chunks[0].towers.text_global
    assert torch.equal(step.facts.same_text, (read[:, None] == read[None, :]).all(dim=-1))


def test_a_step_is_a_function_of_its_number(shop, config_of, embedder_of):
    config = config_of(**{"dropout.metadata": 0.3, "dropout.image": 0.3, "dropout.prompt": 0.3})
    embedder = embedder_of(config, shop)
    a, b = (StepDataset(embedder, shop, config.training) for _ in range(2))
    b[0], b[4]
    for x, y in zip(a[2].chunks, b[2].chunks, strict=True):
        assert torch.equal(x.towers.presence, y.towers.presence)
        assert torch.equal(x.prompt.input_ids, y.prompt.input_ids)
    with pytest.raises(IndexError):
        a[6]


@pytest.mark.parametrize(("part", "column"), [("image", 0), ("metadata", 1)])
def test_dropout_hides_a_part_and_nothing_else(shop, config_of, embedder_of, part, column):
    config = config_of(batch_size=16, **{f"dropout.{part}": 0.5})
    embedder = embedder_of(config, shop)
    hidden = StepDataset(embedder, shop, config.training)[0].chunks[0]
    plain_config = config_of(batch_size=16)
    shown = StepDataset(embedder, shop, plain_config.training)[0].chunks[0]
    before, after = shown.towers.presence, hidden.towers.presence
    assert torch.equal(before[:, 1 - column], after[:, 1 - column])
    lost = before[:, column] & ~after[:, column]
    assert 4 < int(lost.sum()) < 28
    assert not bool((after[:, column] & ~before[:, column]).any())


def test_prompt_dropout_leaves_the_connector_its_guide(shop, config_of, embedder_of):
    config = config_of(**{"dropout.prompt": 0.9})
    embedder = embedder_of(config, shop)
    hidden = StepDataset(embedder, shop, config.training)[0].chunks[0]
    shown = StepDataset(embedder, shop, config_of().training)[0].chunks[0]
    assert torch.equal(hidden.towers.text, shown.towers.text)
    assert hidden.prompt.attention_mask.sum() < shown.prompt.attention_mask.sum()


def test_swapped_metadata_is_another_items_and_no_positive_of_the_agreement(
    shop, config_of, embedder_of
):
    config = config_of(batch_size=16, **{"dropout.swap": 0.5})
    embedder = embedder_of(config, shop)
    swapped = StepDataset(embedder, shop, config.training)[0]
    plain = StepDataset(embedder, shop, config_of(batch_size=16).training)[0]
    own = swapped.facts.own_text
    assert 4 < int((~own).sum()) < 28
    assert bool(plain.facts.own_text.all())
    before, after = plain.chunks[0], swapped.chunks[0]
    assert torch.equal(before.towers.visual, after.towers.visual)
    assert torch.equal(before.towers.text_global[own], after.towers.text_global[own])
    assert not torch.equal(before.towers.text_global[~own], after.towers.text_global[~own])
    same = after.towers.text_global
    assert torch.equal(swapped.facts.same_text, (same[:, None] == same[None, :]).all(dim=-1))
    output = embedder.model(after)
    _, terms = batch_loss(
        per_item(output, config.training.loss), swapped.facts, config.training.loss
    )
    kept = image_text_contrast(
        output.connector.projections["image"],
        output.connector.projections["text"],
        output.scales["agreement"].mean(),
        (output.complete[:, 0] > 0) & own,
        swapped.facts.same_text,
    )
    torch.testing.assert_close(terms["agreement"], kept)


def test_swapped_metadata_is_that_of_training_items(shop, config_of, embedder_of):
    config = config_of(batch_size=16, **{"dropout.swap": 0.9})
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    rows = np.concatenate(dataset.batches.batch(0))
    query, target, _ = shop.pair_indices("train")
    told = [dataset._told(rows, np.random.default_rng(seed)) for seed in range(20)]
    assert set(np.concatenate(told).tolist()) == {*query.tolist(), *target.tolist()}


def test_two_processes_share_a_step(shop, config_of, embedder_of):
    config = config_of(chunk_size=3, **{"dropout.image": 0.3})
    embedder = embedder_of(config, shop)
    whole = StepDataset(embedder, shop, config.training)[0]
    halves = [
        StepDataset(embedder, shop, config.training, rank=r, processes=2)[0] for r in range(2)
    ]
    presence = torch.cat([c.towers.presence for h in halves for c in h.chunks])
    expected = torch.cat([c.towers.presence for c in whole.chunks])
    assert torch.equal(presence[halves[0].order], expected)
    assert torch.equal(halves[1].facts.known, whole.facts.known)


def test_a_batch_must_divide_among_the_processes(shop, config_of, embedder_of):
    config = config_of(batch_size=9)
    with pytest.raises(ConfigError, match=r"batch_size \(9\) must be a multiple .* \(2\)"):
        StepDataset(embedder_of(config, shop), shop, config.training, processes=2)


# -- hard negatives -------------------------------------------------------------------------------


def test_hard_negatives_are_unknown_and_new_to_the_batch(shop, config_of, embedder_of, monkeypatch):
    config = config_of(hard_negatives=2, mine_every=3, alignment_steps=1)
    embedder = embedder_of(config, shop)
    dataset = StepDataset(embedder, shop, config.training)
    mining = HardNegatives(embedder, dataset, config.training)
    for step in (0, 1, 3):
        mining.before_step(step)
        assert dataset.hard is None
    mining.before_step(4)
    hard = dataset.hard
    assert hard.shape == (len(shop), NEIGHBOURS - SKIPPED)
    query, target, _ = shop.pair_indices("train")
    trained = set(np.concatenate([query, target]).tolist())
    for row in range(len(shop)):
        found = hard[row][hard[row] >= 0]
        assert bool(len(found)) == (row in trained)
        known = dataset.known.mask(np.concatenate([[row], found]))[0, 1:]
        assert not known.any()
        assert set(found.tolist()) <= trained
    ids: list[str] = []
    make = embedder.batch
    monkeypatch.setattr(
        embedder,
        "batch",
        lambda items, **k: (ids.extend(i.item_id for i in items), make(items, **k))[1],
    )
    assert dataset[0].facts.known.shape == (32, 32)  # 8 pairs and two negatives for each
    assert len(set(ids)) == 32
    again = dataset.hard.copy()
    mining.before_step(4)
    assert np.array_equal(dataset.hard, again)


def test_mined_tables_come_back(shop, config_of, embedder_of, tmp_path):
    config = config_of(hard_negatives=1, mine_every=2)
    embedder = embedder_of(config, shop)
    first, second = (StepDataset(embedder, shop, config.training) for _ in range(2))
    mining = HardNegatives(embedder, first, config.training)
    mining.before_step(2)
    mining.save(tmp_path)
    HardNegatives(embedder, second, config.training).load(tmp_path)
    assert np.array_equal(first.hard, second.hard)

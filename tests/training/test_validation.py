"""Validation: what is held out, what may be kept, and what training gained over the frozen base."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.config import override
from tgqformer.evaluation.metrics import per_query, rank_targets
from tgqformer.training import train
from tgqformer.training.data import StepDataset
from tgqformer.training.noise import NoiseViews
from tgqformer.training.start import fit_base
from tgqformer.training.trainer import duration, judge, seconds_of_a_step
from tgqformer.training.validation import (
    FACTORS,
    LEAST_PAIRS,
    MOST_HELD_OUT,
    Validation,
    hold_out,
    score,
)


def pairs_of(catalog: Catalog, split: str) -> set[tuple[int, int]]:
    query, target, _ = catalog.pair_indices(split)
    return set(zip(query.tolist(), target.tolist()))


# -- what is held out -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_held_out_queries_are_in_no_training_pair(seed, ring):
    catalog = ring(200, "train", "train", "test")
    held, count = hold_out(catalog, seed)
    before, train_pairs, val = (
        pairs_of(catalog, "train"),
        pairs_of(held, "train"),
        pairs_of(held, "val"),
    )
    queries = {query for query, _ in val}
    assert count == len(queries) == 20
    assert val == {pair for pair in before if pair[0] in queries}
    assert train_pairs == {pair for pair in before if not queries & set(pair)}
    assert pairs_of(held, "test") == pairs_of(catalog, "test")
    assert held.items == catalog.items


def test_a_seed_holds_out_the_same_queries_and_another_others(ring):
    catalog = ring(200, "train")
    one, same, other = (pairs_of(hold_out(catalog, seed)[0], "val") for seed in (0, 0, 1))
    assert one == same != other


def test_no_more_are_held_out_than_validation_needs(ring):
    assert hold_out(ring(12 * MOST_HELD_OUT, "train"), 0)[1] == MOST_HELD_OUT


def test_nothing_is_held_out_where_there_is_something_or_too_little(ring):
    star = Catalog([Item(f"i{n}") for n in range(60)], [Pair("i0", f"i{n}") for n in range(1, 60)])
    for catalog in (ring(200, "train", "val"), ring(LEAST_PAIRS - 1, "train"), ring(9), star):
        held, count = hold_out(catalog, 0)
        assert held is catalog
        assert count == 0


def test_a_run_without_validation_pairs_holds_some_out(shop_of, config_of, tmp_path):
    made = train(shop_of(("train",)), config_of(), tmp_path / "run", device="cpu")
    plan = made.summary["plan"]
    assert plan["held_out"] == 5
    assert plan["pairs"] < 48 - 5 + 1
    assert {"ndcg@10", "noisy_ndcg@10"} <= made.summary["validation"].keys()


# -- the figures ----------------------------------------------------------------------------------


def test_the_noise_of_validation_is_other_than_that_of_training(shop, config_of):
    config = config_of().training
    judge_ = Validation(shop, config)
    drawn = NoiseViews(shop.items, config.noise, config.seed).views[0]
    training = {photo.recipe for view in drawn for photo in view.images}
    own = {photo.recipe for view in judge_.noisy for photo in view.images}
    assert own
    assert not own & training
    assert len(judge_.noisy) == len(judge_.items)
    assert not Validation(shop, config_of(**{"noise.views": 0}).training).noisy


def test_without_pairs_a_view_asks_for_its_own_item(shop, config_of, embedder_of):
    config = config_of()
    embedder = embedder_of(config, shop)
    alone = Validation(Catalog(shop.items, []), config.training)
    assert alone.by_views
    figures = alone.run(embedder, connector_only=False)
    clean, noisy = embedder.encode(alone.items), embedder.encode(alone.noisy)
    rows = np.arange(len(alone.items))[alone.query]
    ranks = rank_targets(noisy[alone.query], clean, np.arange(len(rows)), rows)
    expected = {name: float(x.mean()) for name, x in per_query(ranks, (1, 10, 50, 100)).items()}
    assert figures == pytest.approx(expected)
    perfect = np.eye(len(alone.items), dtype=np.float32)
    assert alone.figures(perfect)["hit@1"] == 1.0


def test_the_score_is_the_mean_over_items_as_they_are_and_under_noise():
    assert score({"m": 0.4, "noisy_m": 0.2}, "m") == pytest.approx(0.3)
    assert score({"m": 0.4}, "m") == 0.4
    assert score({"eval_m": 0.4, "eval_noisy_m": 0.2}, "m", "eval_") == pytest.approx(0.3)


def test_a_step_below_the_base_is_not_chosen_however_it_does_under_noise():
    def entry(step: int, clean: float, noisy: float) -> dict[str, float]:
        return {"step": step, "eval_m": clean, "eval_noisy_m": noisy}

    log = [entry(0, 0.4, 0.1), {"step": 1, "loss": 2.0}, entry(2, 0.39, 0.9), entry(4, 0.41, 0.2)]
    values = [value for _, value in judge(log, "m", lambda step: True)]
    assert values == pytest.approx([0.25, -1.0, 0.305])
    later = [value for _, value in judge(log, "m", lambda step: step > 0)]
    assert later == pytest.approx([0.645, 0.305])  # no base, no floor


# -- the gain -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def misled(shop) -> Catalog:
    """The shop, with training pairs of items that have nothing to do with one another."""
    rng = np.random.default_rng(0)
    names = rng.permutation([item.item_id for item in shop.items]).tolist()
    wrong = [Pair(a, b) for a, b in zip(names[::2], names[1::2])]
    ids = [item.item_id for item in shop.items]
    right = [Pair(ids[a], ids[b], split="val") for a, b in pairs_of(shop, "val")]
    return Catalog(shop.items, [*wrong, *right])


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["embedder.language.kind=none"],
        ["training.alignment_steps=4"],
        ["training.chunk_size=5"],
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_a_run_that_ruins_the_model_ends_with_the_base(misled, config_of, tmp_path, options):
    ruin = {"learning_rate": 10, "language_learning_rate": 1.0, "noise.views": 0}
    config = config_of(*options, steps=8, eval_every=4, **ruin)
    made = train(misled, config, tmp_path / "run", cache_dir=tmp_path / "tokens", device="cpu")
    assert made.summary["step"] == 0
    [start] = [entry for entry in made.curve if entry["step"] == 0]
    told = made.summary["validation"]
    assert told == {n.removeprefix("eval_"): round(x, 6) for n, x in start.items() if "eval_" in n}
    gain = made.summary["gain"]["clean"]
    assert gain["base"] == gain["model"] == pytest.approx(told["ndcg@10"], abs=1e-6)
    assert gain["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    embedder = made.embedder
    assert np.array_equal(embedder.encode(misled.items), embedder.encode_base(misled.items))
    config = override(config, ["training.keep_best=false"])
    kept = train(misled, config, tmp_path / "last", cache_dir=tmp_path / "tokens", device="cpu")
    assert kept.summary["step"] == 8
    assert kept.summary["gain"]["clean"]["difference"]["value"] < 0


def test_the_gain_is_the_models_less_the_bases_over_the_same_queries(shop, config_of, embedder_of):
    config = config_of()
    embedder = embedder_of(config, shop)
    fit_base(embedder, shop, 0)
    judge_ = Validation(shop, config.training)
    gains = judge_.gain(embedder, "mrr")
    assert gains.keys() == {"clean", "noisy"}
    for name, items in (("clean", judge_.items), ("noisy", judge_.noisy)):
        found = gains[name]
        base = judge_.per_query(embedder.encode_base(items))["mrr"]
        model = judge_.per_query(embedder.encode(items))["mrr"]
        assert (found.base, found.model) == pytest.approx((base.mean(), model.mean()))
        gap = found.difference.absolute
        assert gap.value == pytest.approx((model - base).mean())
        assert gap.low < gap.value < gap.high
        assert found.to_dict()["difference"] == gap.to_dict()


def test_without_a_base_there_is_no_gain(shop, config_of, embedder_of):
    config = config_of("embedder.base=none")
    assert Validation(shop, config.training).gain(embedder_of(config, shop), "mrr") == {}


# -- how much the streams count -------------------------------------------------------------------


def test_the_figures_are_those_of_the_model_at_its_best_strength(shop, config_of, embedder_of):
    config = config_of()
    embedder, judge_of = embedder_of(config, shop), Validation(shop, config.training)
    fit_base(embedder, shop, 0)
    with torch.no_grad():
        embedder.model.strength.fill_(0.05)
    told = judge_of.run(embedder, connector_only=False)
    tried = {}
    for factor in FACTORS:
        with embedder.model.strengthened(factor):
            vectors = [embedder.encode(items) for items in (judge_of.items, judge_of.noisy)]
        tried[factor] = [judge_of.figures(x)[config.training.metric] for x in vectors]
    best = max(FACTORS, key=lambda factor: sum(tried[factor]))
    assert sum(tried[told["factor"]]) == pytest.approx(sum(tried[best]), abs=1e-6)
    assert told[config.training.metric] == pytest.approx(tried[told["factor"]][0], abs=1e-6)
    assert embedder.model.strength.item() == pytest.approx(0.05)


def test_a_strength_of_zero_is_multiplied_by_nothing(shop, config_of, embedder_of):
    config = config_of()
    embedder = embedder_of(config, shop)
    fit_base(embedder, shop, 0)
    with torch.no_grad():
        embedder.model.strength.zero_()
    assert Validation(shop, config.training).run(embedder, connector_only=False)["factor"] == 1


# -- how long it takes ----------------------------------------------------------------------------


def test_timing_a_step_changes_nothing(shop, config_of, embedder_of):
    config = config_of()
    embedder = embedder_of(config, shop)
    before = {name: x.clone() for name, x in embedder.model.state_dict().items()}
    random = torch.get_rng_state()
    seconds = seconds_of_a_step(
        embedder, StepDataset(embedder, shop, config.training), config.training
    )
    assert seconds > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(x, before[name]) for name, x in embedder.model.state_dict().items())
    assert all(p.grad is None for p in embedder.model.parameters())
    assert not embedder.model.training


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 seconds"), (89, "89 seconds"), (540, "9 minutes"), (9000, "2.5 hours")],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds, told):
    assert duration(seconds) == told

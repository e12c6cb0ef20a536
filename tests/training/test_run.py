"""A run from a catalog to a folder: what it learns, writes, refuses, and does not do twice."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.errors import CatalogError, ConfigError, StorageError
from tgqformer.numerics import cpu_has_bfloat16
from tgqformer.training import is_finished, read_curve, train
from tgqformer.training.config import TrainingConfig
from tgqformer.training.noise import NoiseViews
from tgqformer.training.start import fit_base
from tgqformer.training.trainer import training_arguments
from tgqformer.training.validation import LEAST_PAIRS, Validation


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture(scope="module")
def config(config_of):
    # three epochs and more: 48 pairs in batches of 8
    return config_of(steps=24, eval_every=6, learning_rate=0.01, alignment_steps=6)


@pytest.fixture(scope="module")
def result(shop, config, cache, tmp_path_factory):
    return train(
        shop, config, tmp_path_factory.mktemp("run") / "run", cache_dir=cache, device="cpu"
    )


def _figures(told):
    """Without the factor of the strength, which the kept weights have in them."""
    return {name: value for name, value in told.items() if name != "factor"}


@pytest.mark.parametrize("base", ["none", "trained"])
def test_it_learns(shop, config, cache, tmp_path, base):
    config = override(config, [f"embedder.base={base}", "training.noise.views=0"])
    result = train(shop, config, tmp_path / "run", cache_dir=cache, device="cpu")
    judge = Validation(shop, config.training)
    untrained = ItemEmbedder.from_config(config.embedder, cache_dir=cache, device="cpu")
    fit_base(untrained, shop, 0)
    before = judge.run(untrained, connector_only=False)
    after = judge.run(result.embedder, connector_only=False)
    assert after["hit@10"] > before["hit@10"] + 0.2
    losses = [entry["loss"] for entry in result.curve if "loss" in entry]
    assert losses[-1] < losses[0]
    if base == "trained":  # which begins where the frozen towers are
        told = result.summary["validation"]
        assert _figures(after) == pytest.approx(_figures(told), abs=1e-6)
        [start] = [entry for entry in result.curve if entry["step"] == 0]
        assert {f"eval_{n}": x for n, x in before.items()}.items() <= start.items()


def test_the_best_step_is_kept_and_told(shop, config, result):
    judge = Validation(shop, config.training)
    figures = judge.run(result.embedder, connector_only=False)
    told = result.summary["validation"]
    assert told.keys() == figures.keys()
    assert {name: round(value, 6) for name, value in _figures(figures).items()} == _figures(told)
    judged = [e for e in result.curve if "eval_ndcg@10" in e]
    floor = judged[0]["eval_ndcg@10"]
    best = max(
        (entry for entry in judged if entry["eval_ndcg@10"] >= floor),
        key=lambda entry: entry["eval_ndcg@10"] + entry["eval_noisy_ndcg@10"],
    )
    assert (result.summary["step"], told["ndcg@10"]) == (
        best["step"],
        round(best["eval_ndcg@10"], 6),
    )
    assert result.summary["step"] > 0


def test_what_the_folder_holds(result, config):
    out = result.out
    assert {p.name for p in out.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "curve.jsonl",
        "model",
        "summary.json",
    }
    assert is_finished(out)
    summary = json.loads((out / "summary.json").read_text())
    assert summary == result.summary
    assert (summary["steps"], summary["seed"]) == (24, 0)
    assert summary["seconds"] > 0
    facts = json.loads((out / "model" / "config.json").read_text())["facts"]
    assert facts == {"training": summary}


def test_what_the_curve_tells(result):
    assert read_curve(result.out) == result.curve
    logged = [entry for entry in result.curve if "loss" in entry]
    assert [entry["step"] for entry in logged] == [10, 20]
    names = ("main", "visual", "exploratory", "redundancy", "agreement")
    terms = {f"loss_{name}" for name in names}
    for entry in logged:
        assert {"grad_norm", "learning_rate", "temperature", *terms} <= entry.keys()
        assert all(np.isfinite(value) for value in entry.values())
        assert 0.01 <= entry["temperature"] < 1
    judged = [entry for entry in result.curve if "eval_hit@10" in entry]
    assert [entry["step"] for entry in judged] == [0, 6, 12, 18, 24]
    for entry in judged:
        names = {"eval_hit@1", "eval_mrr", "eval_visual_hit@10", "eval_noisy_hit@10"}
        assert names <= entry.keys()


def test_loading_the_run_gives_the_vectors_of_the_run(result, shop, cache):
    loaded = ItemEmbedder.from_pretrained(result.out, cache_dir=cache, device="cpu")
    assert np.array_equal(loaded.encode(shop.items), result.embedder.encode(shop.items))


def test_no_tower_is_called_after_the_first_look(result, shop, config, tmp_path):
    """Three epochs, four evaluations and the end: as many tower calls as one look at all."""
    fresh = ItemEmbedder.from_config(config.embedder, cache_dir=tmp_path / "cold", device="cpu")
    views = NoiseViews(shop.items, config.training.noise, config.training.seed).views[0]
    noisy = Validation(shop, config.training).noisy
    assert len(views) == len(shop)
    fresh.features.fill([*shop.items, *views, *noisy])
    once = fresh.features.tower_calls
    assert once > 0
    options = [f"training.{name}=0.3" for name in ("dropout.metadata", "dropout.image")]
    cold = train(shop, override(config, options), tmp_path / "run", device="cpu")
    assert cold.embedder.features.tower_calls == once
    warm = train(
        shop,
        override(config, [*options, "training.learning_rate=0.001"]),
        tmp_path / "warm",
        cache_dir=tmp_path / "run" / "cache",
        device="cpu",
    )
    assert warm.embedder.features.tower_calls == 0


def test_a_seed_gives_one_run(shop, config_of, cache, tmp_path):
    small = config_of(steps=3, eval_every=0)
    same = [train(shop, small, tmp_path / str(i), cache_dir=cache, device="cpu") for i in range(2)]
    other = train(
        shop, override(small, ["training.seed=1"]), tmp_path / "2", cache_dir=cache, device="cpu"
    )
    a, b, c = ((r.out / "model" / "model.safetensors").read_bytes() for r in [*same, other])
    assert a == b
    assert a != c


@pytest.mark.parametrize("keep_best", [True, False])
def test_without_an_evaluation_the_last_step_counts(shop_of, config_of, cache, tmp_path, keep_best):
    few = shop_of(("train",))
    few = few.with_pairs(few.pair_table.head(LEAST_PAIRS - 1))
    for name, shop, every in (("few", few, 3), ("never", shop_of(("train",)), 0)):
        config = config_of(steps=2, keep_best=keep_best, eval_every=every)
        made = train(shop, config, tmp_path / name, cache_dir=cache, device="cpu")
        assert made.summary["steps"] == 2
        assert "validation" not in made.summary
        assert made.summary["plan"]["held_out"] == 0
        assert made.summary["gain"] == {}
        assert is_finished(made.out)


@pytest.mark.parametrize("base", ["none", "trained"])
def test_without_a_backbone_there_is_no_alignment_stage(shop, config_of, cache, tmp_path, base):
    options = ["embedder.language.kind=none", f"embedder.base={base}"]
    runs = []
    for steps in (0, 4):
        config = config_of(*options, steps=4, eval_every=2, alignment_steps=steps)
        out = tmp_path / str(steps)
        runs.append(train(shop, config, out, cache_dir=cache, device="cpu"))
    with_stage, without = ((run.out / "model" / "model.safetensors").read_bytes() for run in runs)
    assert with_stage == without
    assert len({run.summary["step"] for run in runs}) == 1
    assert all("validation" in run.summary for run in runs)


@pytest.mark.parametrize("train_mode", ["frozen", "full"])
def test_other_ways_to_train_the_backbone(shop, config_of, cache, tmp_path, train_mode):
    config = config_of(f"embedder.language.train={train_mode}", steps=2, eval_every=0)
    made = train(shop, config, tmp_path / "run", cache_dir=cache, device="cpu")
    start = ItemEmbedder.from_config(config.embedder, device="cpu").model.backbone
    moved = any(
        not np.array_equal(p.detach().numpy(), q.detach().numpy())
        for p, q in zip(made.embedder.model.backbone.parameters(), start.parameters())
    )
    assert moved is (train_mode == "full")


def test_early_stopping(shop, config_of, cache, tmp_path):
    config = config_of(
        steps=60, eval_every=2, patience=2, learning_rate=0, language_learning_rate=0
    )
    made = train(shop, config, tmp_path / "run", cache_dir=cache, device="cpu")
    assert made.summary["steps"] == 4  # nothing is gained after the first of three evaluations
    assert made.summary["step"] == 0


# -- what is refused, before anything slow --------------------------------------------------------


def refused(error, match, catalog, config, out, **options) -> None:
    with pytest.raises(error, match=match) as caught:
        train(catalog, config, out, device="cpu", **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not (out / "config.yaml").exists()  # a second try in the same folder is welcome


def test_an_empty_catalog(config, tmp_path):
    refused(CatalogError, "no item", Catalog([]), config, tmp_path / "run")


@pytest.mark.parametrize("splits", [(), ("val",)])
def test_a_catalog_without_training_pairs_nor_noise_views(shop_of, config, tmp_path, splits):
    config = override(config, ["training.noise.views=0"])
    refused(CatalogError, "train", shop_of(splits), config, tmp_path / "run")


def test_a_batch_larger_than_the_shop(shop, config_of, tmp_path):
    config = config_of(batch_size=40, **{"noise.views": 0})
    refused(CatalogError, "needs 80 different items", shop, config, tmp_path / "run")
    config = config_of(batch_size=60)
    match = "60 pairs needs 90 different items, and the catalog has 72; lower training.batch_size"
    refused(CatalogError, match, shop, config, tmp_path / "run")
    match = "3 items are too few to train on"
    refused(CatalogError, match, Catalog(shop.items[:3]), config_of(steps=0), tmp_path / "run")


def test_a_metric_that_is_not_measured(shop, config_of, tmp_path):
    config = config_of(metric="hit@7")
    match = r"training.metric 'hit@7' is unknown; choose one of: .*hit@10"
    refused(ConfigError, match, shop, config, tmp_path / "run")


def test_a_folder_that_cannot_be_made(shop, config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be made"):
        train(shop, config, tmp_path / "file" / "run", device="cpu")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("training.learning_rat", "training.learning_rate"),
        ("training.lr", "training.learning_rate"),
        ("embedder.connector.anchord", "embedder.connector.anchored"),
        ("training.loss.redundency", "training.loss.redundancy"),
        ("trainig.steps", "training.steps"),
    ],
)
def test_an_unknown_option_names_the_nearest(config, key, nearest):
    with pytest.raises(ConfigError, match=f"unknown option '{key}'; did you mean '{nearest}'"):
        override(config, [f"{key}=1"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", -1),
        ("batch_size", 1),
        ("chunk_size", 0),
        ("learning_rate", -1.0),
        ("warmup", 1.5),
        ("alignment_steps", 301),
        ("popularity", -1.0),
        ("eval_every", -2),
        ("mine_every", 0),
        ("patience", -1),
    ],
)
def test_a_wrong_option_is_named(option, value):
    with pytest.raises(ConfigError, match=rf"training\.{option} \({value}\)"):
        replace(TrainingConfig(steps=300), **{option: value})


@pytest.mark.parametrize(
    "name",
    [
        "loss.visual",
        "loss.exploratory",
        "loss.redundancy",
        "dropout.image",
        "noise.share",
        "noise.appear",
        "noise.metadata",
        "noise.missing",
    ],
)
def test_a_wrong_weight_or_share_is_named(config, name):
    with pytest.raises(ConfigError, match=rf"training\.{name} \(-1.0\)"):
        override(config, [f"training.{name}=-1"])


@pytest.mark.parametrize("severity", ["0.8,0.2", "-0.1,0.5", "0.5,1.1"])
def test_a_severity_that_is_no_range_is_named(config, severity):
    with pytest.raises(ConfigError, match=r"training\.noise\.severity \(\[.*the lower one first"):
        override(config, [f"training.noise.severity={severity}"])


def test_hard_negatives_need_the_main_process():
    with pytest.raises(ConfigError, match=r"training.workers \(2\) must be 0"):
        TrainingConfig(hard_negatives=1, workers=2)


def test_the_temperature_that_is_told_is_the_one_that_is_used(shop, config_of, cache, tmp_path):
    def build(*args, **options) -> ItemEmbedder:
        embedder = ItemEmbedder.from_config(*args, **options)
        embedder.model.log_scales["embedding"].data.fill_(6.0)  # beyond its limit
        return embedder

    config = config_of(steps=2, eval_every=0, learning_rate=1e-6)
    made = train(shop, config, tmp_path / "run", cache_dir=cache, device="cpu", build=build)
    told = [entry["temperature"] for entry in made.curve if "temperature" in entry]
    assert told == pytest.approx([0.01])


# -- where it trains -----------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1", "cpu"])
def test_of_several_gpus_one_process_takes_the_one_asked_for(config, tmp_path, monkeypatch, device):
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda it: current.append(torch.device(it)))
    asked = torch.device(device)
    try:
        auto = replace(config.training, precision="auto")
        args = training_arguments(auto, tmp_path, evaluates=False, device=asked)
        on_gpu = asked.type == "cuda"
        assert args.device == asked
        assert args.n_gpu == int(on_gpu)  # with more of them transformers wraps in DataParallel
        assert current[-1:] == [asked] * on_gpu
        assert args.bf16 == (on_gpu or cpu_has_bfloat16())
        assert not training_arguments(
            config.training, tmp_path, evaluates=False, device=torch.device("cpu")
        ).bf16
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


# -- on a drawn shop ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_tiny_preset_learns_on_a_storefront(config_of, tmp_path):
    from tgqformer.storefront import draw_storefront

    shop = draw_storefront(tmp_path / "shop", items=400, noise="clean", size=64, workers=1)
    config = config_of(steps=150, batch_size=32, eval_every=50, eval_queries=200)
    made = train(shop, config, tmp_path / "run", device="cpu")
    judge = Validation(shop, config.training)
    untrained = ItemEmbedder.from_config(config.embedder, device="cpu")
    before = judge.run(untrained, connector_only=False)["hit@10"]
    assert made.summary["validation"]["hit@10"] > before + 0.05


def balanced(config, *, photos: bool) -> float:
    """How much the photo counts against the metadata where only one of them tells partners."""
    rng = np.random.default_rng(0)
    names = [f"{n}" for n in range(240)]
    colours = rng.integers(0, 255, (60, 3))

    def photo(group: int) -> bytes:
        out = io.BytesIO()
        Image.new("RGB", (24, 24), tuple(map(int, colours[group]))).save(out, "PNG")
        return out.getvalue()

    order = rng.permutation(240)
    items = [
        Item(
            name,
            title=f"word{(order[n] if photos else n) // 4}",
            images=(photo((n if photos else order[n]) // 4),),
        )
        for n, name in enumerate(names)
    ]
    pairs = [Pair(names[n], names[n ^ 1]) for n in range(240)]
    embedder = ItemEmbedder.from_config(config.embedder, device="cpu")
    fit_base(embedder, Catalog(items, pairs), 0)
    photo_counts, metadata_counts = embedder.model.base.counts.tolist()
    return photo_counts / metadata_counts


def test_the_base_counts_what_finds_the_partners_of_training_pairs(config):
    assert balanced(config, photos=True) > 1
    assert balanced(config, photos=False) < 1


def test_too_few_pairs_balance_nothing(shop, config):
    embedder = ItemEmbedder.from_config(config.embedder, device="cpu")
    fit_base(embedder, shop, 0)
    assert embedder.model.base.counts.tolist() == [1, 1]

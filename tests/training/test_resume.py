"""A run that is killed, at any moment, goes on and ends in the same weights, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tgqformer.catalog.catalog import Catalog
from tgqformer.config import to_dict
from tgqformer.embedder.saving import trained_weights
from tgqformer.errors import ConfigError
from tgqformer.training import RunConfig, is_finished, read_curve, train
from tgqformer.training.checkpoints import COMPLETE, last_checkpoint

pytestmark = pytest.mark.timeout(1200)  # other processes, on a machine that may be busy

LORA_DROPOUT = "embedder.language.lora_dropout=0.3"


@pytest.fixture(scope="module")
def configs(config_of: Callable[..., RunConfig]) -> dict[str, RunConfig]:
    """A plain run, and one with everything that has a state of its own."""
    return {
        "plain": config_of(LORA_DROPOUT, steps=8, eval_every=4),
        "rich": config_of(
            LORA_DROPOUT,
            steps=24,
            batch_size=4,
            eval_every=2,
            save_every=3,
            alignment_steps=2,
            hard_negatives=1,
            mine_every=2,
            chunk_size=5,
            patience=2,
            popularity=0.5,
            learning_rate=0.0001,
            language_learning_rate=0.0001,
            **{"dropout.metadata": 0.2, "dropout.image": 0.1},
        ),
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def told(
    configs: dict[str, RunConfig], shop_folder: Path, out: Path, warm_bin: Path
) -> dict[str, Any]:
    """What forks.py did, all scenarios in one process."""
    script = Path(__file__).with_name("forks.py")
    done = subprocess.run(
        [warm_bin / "python", script, shop_folder, out],
        input=json.dumps({name: to_dict(config) for name, config in configs.items()}),
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    last = last_checkpoint(run / "checkpoints")
    assert last is not None
    parts = {"model": run / "model", "last": last}
    found = {
        f"{n}:{k}": x
        for n, p in parts.items()
        for k, x in load_file(p / "model.safetensors").items()
    }
    best = load_file(run / "checkpoints" / "best.safetensors")
    return found | {f"best:{k}": x for k, x in best.items()}


def judged(run: Path) -> list[dict[str, float]]:
    """Step and figures of each evaluation."""
    kept = [entry for entry in read_curve(run) if "eval_hit@10" in entry]
    return [{k: v for k, v in e.items() if k == "step" or k.startswith("eval_")} for e in kept]


def unfinished(run: Path, copy: Path) -> Path:
    """A copy of a finished run as it was before its last checkpoint."""
    shutil.copytree(run, copy)
    (copy / "summary.json").unlink()
    shutil.rmtree(last_checkpoint(copy / "checkpoints"))
    return copy


@pytest.mark.parametrize(
    ("scenario", "unbroken", "kills"),
    [
        ("plain killed", "plain", 2),
        ("rich killed", "rich", 2),
        ("saving", "plain", 4),
        ("summary", "rich", 1),
    ],
)
def test_a_killed_run_ends_in_the_same_weights(told, out, scenario, unbroken, kills):
    assert told[scenario.removesuffix(" killed")]["kills"] >= kills
    a, b = weights(out / unbroken), weights(out / scenario)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert judged(out / unbroken) == judged(out / scenario)
    summaries = [json.loads((out / n / "summary.json").read_text()) for n in (unbroken, scenario)]
    for summary in summaries:
        del summary["seconds"]
    assert summaries[0] == summaries[1]


def test_the_rich_run_stopped_early_and_mined(told, out, configs):
    steps = json.loads((out / "rich" / "summary.json").read_text())["steps"]
    assert steps < configs["rich"].training.steps
    assert (last_checkpoint(out / "rich" / "checkpoints") / "hard_negatives.npy").is_file()


def test_checkpoints_do_not_pile_up(told, out):
    for name in ("plain", "plain killed", "rich killed", "saving"):
        folders = list((out / name / "checkpoints").glob("checkpoint-*"))
        assert len(folders) <= 2, name
        assert all((folder / COMPLETE).is_file() for folder in folders), name


def test_a_full_disk_leaves_a_run_that_can_go_on(told, out):
    full = told["full"]
    assert full["code"] == -3
    assert full["complaint"].startswith("StorageError: The checkpoint ")
    assert "free some space and go on with --resume." in full["complaint"]
    assert not any("checkpoint-" in path or path.endswith(".tmp") for path in full["left"])
    a, b = weights(out / "plain"), weights(out / "full")
    assert all(torch.equal(a[name], b[name]) for name in a)


# -- folders of other runs ------------------------------------------------------------------------


def test_a_run_is_not_overwritten(shop, configs, told, out):
    with pytest.raises(ConfigError, match=r"plain already holds a run; go on with it by --resume"):
        train(shop, configs["plain"], out / "plain", device="cpu")


def test_a_run_is_resumed_with_its_own_options_only(shop, configs, told, out):
    with pytest.raises(ConfigError, match=r"another configuration \(.+: .+, now .+\); resume it"):
        train(shop, configs["rich"], out / "plain", resume=True, device="cpu")


def test_a_finished_run_is_handed_back(shop: Catalog, configs, told, out, monkeypatch):
    def never(*args: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("tgqformer.training.trainer.TGQTrainer.train", never)
    run = out / "plain"
    before = (run / "summary.json").read_bytes()
    assert is_finished(run)
    result = train(shop, configs["plain"], run, resume=True, device="cpu")
    assert result.curve == read_curve(run)
    assert result.summary == json.loads(before)
    assert (run / "summary.json").read_bytes() == before
    own = load_file(run / "model" / "model.safetensors")
    model = trained_weights(result.embedder.model)
    assert model.keys() == own.keys()
    assert all(torch.equal(model[name], x) for name, x in own.items())


def test_a_resumed_run_takes_its_start_from_the_checkpoint(
    shop: Catalog, configs, told, out, tmp_path, monkeypatch
):
    """What is computed before the first step is in the checkpoint, and not computed again."""

    def never(*args: object) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr("tgqformer.training.run.fit_base", never)
    run = unfinished(out / "rich", tmp_path / "run")
    with pytest.raises(AssertionError, match="prepared again"):
        train(shop, configs["rich"], tmp_path / "new", device="cpu", cache_dir=out / "cache")
    train(shop, configs["rich"], run, resume=True, device="cpu", cache_dir=out / "cache")
    a, b = weights(out / "rich"), weights(run)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


# -- nothing unsafe is read -----------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_planted_pickle_does_not_run(shop, configs, told, out, tmp_path, name):
    run = unfinished(out / "plain", tmp_path / "run")
    earlier = last_checkpoint(run / "checkpoints")
    torch.save(Evil(), earlier / name)
    with pytest.raises(Exception, match="[Ww]eights.only") as caught:
        train(shop, configs["plain"], run, resume=True, device="cpu", cache_dir=out / "cache")
    assert not isinstance(caught.value, SystemExit)


def test_our_own_files_are_no_pickles(told, out):
    for folder in (out / "plain" / "checkpoints").glob("checkpoint-*"):
        for path in folder.iterdir():
            if path.name not in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
                assert not path.read_bytes().startswith((b"\x80", b"PK\x03\x04")), path.name

"""Laws of `train`: a run goes on to the same weights, and a wrong start does nothing."""

from __future__ import annotations

import _thread
import shutil
import threading
import time
from pathlib import Path

import pytest


def test_train_leaves_a_run_that_can_be_resumed_to_the_same_weights(
    shop: Path, trained: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    options = ["--preset", "tiny", "--set", "training.eval_every=2", "--set", "training.steps=4"]
    code, _, err = tgqformer("train", shop, "--out", trained, *options, "-q")
    assert (code, "--resume" in err) == (2, True)
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for path in (run / "checkpoints" / "checkpoint-4", run / "model"):
        shutil.rmtree(path)
    (run / "summary.json").unlink()
    assert tgqformer_json("train", shop, "--out", run, *options, "--resume", "-q")["steps"] == 4
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (trained / weights).read_bytes()


def test_an_interrupted_run_names_the_option_that_goes_on_with_it(
    shop: Path, tmp_path: Path, tgqformer
) -> None:
    run = tmp_path / "run"
    steps = ["--set", "training.steps=400", "--set", "training.save_every=2"]
    command = ["train", shop, "--preset", "tiny", "--out", run, *steps, "-q"]

    def interrupt() -> None:
        while not list(run.glob("checkpoints/checkpoint-*")):
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    code, _, err = tgqformer(*command)
    assert code == 130
    assert "the same command with --resume" in err
    code, _, err = tgqformer(*command)  # without it the command is refused
    assert (code, "--resume" in err) == (2, True)
    code, out, _ = tgqformer(*command, "--resume")
    assert (code, "Trained 400 steps" in out) == (0, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "training.learning_rat=1"], "did you mean 'training.learning_rate'?"),
        (["--set", "training.steps=none"], "training.steps = 'none' must be int"),
        (["--set", "training.steps"], "key=value"),
        (["--preset", "nonsense"], "nonsense"),
        (["--preset", "absent.yaml"], "absent.yaml"),
    ],
)
def test_train_refuses_wrong_options_before_it_does_anything(
    tmp_path: Path, tgqformer, options: list[str], words: str
) -> None:
    code, _, err = tgqformer("train", tmp_path / "no-shop", "--out", tmp_path / "run", *options)
    assert code == 2
    assert words in err
    assert not (tmp_path / "run").exists()


def test_train_says_what_a_catalog_lacks(tmp_path: Path, tgqformer) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nA,Lamp\n")
    for catalog in (tmp_path, tmp_path / "absent"):
        code, _, err = tgqformer(
            "train", catalog, "--preset", "tiny", "--out", tmp_path / "run", "-q"
        )
        assert code == 2
        assert err.startswith("tgqformer: error: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "run" / "model").exists()

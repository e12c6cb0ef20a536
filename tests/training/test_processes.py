"""Two processes (gloo) take the gradients of one, and end in its weights."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from tgqformer.config import to_dict
from tgqformer.embedder import ItemEmbedder
from tgqformer.training import read_curve
from tgqformer.training.checkpoints import last_checkpoint

pytestmark = pytest.mark.timeout(1200)  # other processes, on a machine that may be busy

every_run = pytest.mark.parametrize("name", ["whole", "chunked", "taught"])
SCRIPT = Path(__file__).with_name("processes.py")


@pytest.fixture(scope="module")
def configs(config_of) -> dict[str, Any]:
    """Both ways of a step, and each loss that leaves some weights without a gradient."""
    shared = [f"embedder.{tower}_tower.name=shared" for tower in ("image", "text")]
    options = {"steps": 6, "max_grad_norm": 0, "hard_negatives": 1, "mine_every": 2}
    return {
        "whole": to_dict(config_of(**options, alignment_steps=2, popularity=0.5)),
        "chunked": to_dict(
            config_of(
                "embedder.matryoshka=8,16",
                *shared,
                **options,
                chunk_size=3,
                **{"loss.visual": 0, "dropout.image": 0.2},
            )
        ),
        "taught": to_dict(config_of(**options, **{"noise.teacher": "base", "noise.share": 1.0})),
    }


@pytest.fixture(scope="module")
def runs(
    configs, shop_folder: Path, tmp_path_factory: pytest.TempPathFactory, warm_bin: Path
) -> tuple[Path, Path]:
    """Folders of the runs in one process and in two."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "configs.json").write_text(json.dumps(configs))
    arguments = [str(shop_folder), str(folder / "two"), str(folder / "configs.json")]
    done = subprocess.run(
        [warm_bin / "python", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runpy.run_path(str(SCRIPT))["train_and_watch"](shop_folder, folder / "one", configs)
    return folder / "one", folder / "two"


@every_run
def test_the_gradient_of_the_first_step_is_that_of_one_process(runs, name):
    one, two = (load_file(run / name / "gradient-0.safetensors") for run in runs)
    assert one.keys() == two.keys()  # weights out of use have no gradient in either
    for n, expected in one.items():
        bound = 5e-6 * max(1.0, expected.abs().max().item())
        assert (two[n] - expected).abs().max().item() <= bound, n


@every_run
def test_later_gradients_stay_beside_those_of_one_process(runs, name):
    """Across the end of the alignment stage and with hard negatives of each one's own model."""
    for step in range(6):
        one, two = (load_file(run / name / f"gradient-{step}.safetensors") for run in runs)
        joined = [np.concatenate([g[n].numpy().ravel() for n in one]) for g in (one, two)]
        assert np.linalg.norm(joined[0] - joined[1]) <= 1e-3 * np.linalg.norm(joined[0]), step


@every_run
def test_the_run_ends_in_the_same_model(runs, name, shop):
    one, two = (ItemEmbedder.from_pretrained(run / name, device="cpu") for run in runs)
    sample = shop.items[:20]
    np.testing.assert_allclose(one.encode(sample), two.encode(sample), atol=1e-3)
    curves = [[e for e in read_curve(run / name) if "loss" in e] for run in runs]
    for a, b in zip(*curves, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)


def test_each_process_keeps_a_random_state_of_its_own(runs):
    checkpoint = last_checkpoint(runs[1] / "whole" / "checkpoints")
    assert checkpoint is not None
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}

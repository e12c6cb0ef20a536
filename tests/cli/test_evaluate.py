"""Laws of `evaluate`: reference points beside the model, and no figures without a finished run."""

from __future__ import annotations

import json
from pathlib import Path


def test_evaluate_sets_two_reference_points_beside_the_model(
    shop: Path, trained: Path, tmp_path: Path, tgqformer_json
) -> None:
    told = tgqformer_json("evaluate", trained, shop, "--out", tmp_path / "figures", "-q")
    names = [model["name"] for model in told["comparison"]["models"]]
    assert names == ["run", "text only (frozen)", "photo + text (frozen)"]
    for evaluation in told["evaluations"]:
        assert evaluation["pool"] == 80
        hits = [evaluation["metrics"][f"hit@{k}"]["value"] for k in (1, 10, 50, 100)]
        assert hits == sorted(hits)
        assert hits[-1] == 1.0, "a pool of 80 holds every target at rank 100 or better"
    saved = json.loads((tmp_path / "figures" / "model" / "evaluation.json").read_text())
    assert saved["metrics"] == told["evaluations"][0]["metrics"]


def test_evaluate_of_no_run_and_of_an_unfinished_one(shop: Path, tmp_path: Path, tgqformer) -> None:
    (tmp_path / "begun").mkdir()
    for run in (tmp_path / "begun", tmp_path / "absent"):
        code, _, err = tgqformer("evaluate", run, shop, "-q")
        assert code == 2
        assert str(run) in err


def test_a_cold_catalog_has_no_known_partners(shop: Path, trained: Path, tgqformer_json) -> None:
    few = ("evaluate", trained, shop, "--no-reference", "--bootstrap", 0, "-q")
    masked, counted = (tgqformer_json(*few, "--known", known) for known in ("mask", "count"))
    assert masked == counted
    assert "masked" not in masked["comparison"]

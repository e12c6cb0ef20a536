"""Laws of the commands that show why: explain, pointing and audit, on the small shop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image


def test_explain_draws_a_picture_and_tells_the_same_as_json(
    shop: Path, trained: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    picture = tmp_path / "why.png"
    options = ["--id", "p000000", "--with", "p000001"]
    code, out, err = tgqformer("explain", trained, shop, *options, "--out", picture)
    assert (code, "similarity" in out) == (0, True), err
    with Image.open(picture) as image:
        assert image.format == "PNG"
    told = tgqformer_json("explain", trained, shop, *options)
    pair = told["contributions"]
    assert pair["baseline"] + pair["image"] + pair["text"] == pytest.approx(pair["similarity"])
    for one in (told, told["other"]):
        for heat in one["heatmaps"].values():
            assert sum(map(sum, heat["weights"])) == pytest.approx(1, abs=1e-4)


def test_explain_names_an_id_that_is_not_there(shop: Path, trained: Path, tgqformer) -> None:
    code, _, err = tgqformer("explain", trained, shop, "--id", "nobody")
    assert (code, "nobody" in err, err.count("\n")) == (2, True, 1)
    code, _, err = tgqformer("explain", trained, shop, "--id", "p000000", "--out", "why.doc")
    assert (code, ".png" in err) == (2, True)


def test_pointing_tells_every_regime_stream_and_run(
    shop: Path, trained: Path, tgqformer, tgqformer_json
) -> None:
    options = ["--photos", 3, "--bootstrap", 20, "-q"]
    told = tgqformer_json("pointing", trained, trained, shop, *options)
    assert [model["name"] for model in told["models"]] == ["tgqformer", "tgqformer (2)"]
    streams = {(row["model"], row["stream"]) for row in told["rows"]}
    assert ("tgqformer", "anchored") in streams
    assert ("chance", "") in streams
    assert all(0 <= row["inside"]["value"] <= 1 for row in told["rows"])
    same = [lead for lead in told["leads"] if lead["stream"] == lead["other_stream"]]
    assert all(lead["absolute"]["value"] == 0 for lead in same)
    code, out, _ = tgqformer("pointing", trained, shop, *options)
    assert (code, "anchored" in out) == (0, True)


def test_audit_writes_a_page_and_tells_the_same_as_json(
    shop: Path, trained: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    page = tmp_path / "audit.html"
    told = tgqformer_json("audit", trained, shop, "--out", page, "--most", 5, "-q")
    text = page.read_text(encoding="utf-8")
    assert told["counts"]["items"] == 80
    assert told["disagreements"][0]["item_id"] in text
    code, out, _ = tgqformer("audit", trained, shop, "--out", page, "-q")
    assert (code, str(page) in out) == (0, True)
    shown = {path.name: path.stat().st_mtime_ns for path in shop.iterdir()}
    mended = tmp_path / "mended"
    told = tgqformer_json("audit", trained, shop, "--out", page, "--corrected", mended, "-q")
    listed = (mended / "corrections.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in listed] == told["corrected"]
    assert len(listed) == told["counts"]["photo speaks against the category"]
    assert shown == {path.name: path.stat().st_mtime_ns for path in shop.iterdir()}
    code, _, err = tgqformer("audit", trained, shop, "--out", page, "--corrected", shop, "-q")
    assert (code, "the catalog itself" in err, err.count("\n")) == (2, True, 1)

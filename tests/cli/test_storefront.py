"""Laws of `storefront`: the same bytes by any workers, and one sentence for an unknown noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tgqformer.storefront.regimes import LATEST

Digests = Callable[[Path], dict[str, str]]


def test_storefront_draws_the_same_bytes_again(
    shop: Path, tmp_path: Path, tgqformer_json, digests: Digests
) -> None:
    options = ["--items", 80, "--size", 48, "--workers", 2, "-q"]
    told = tgqformer_json("storefront", tmp_path / "again", *options)
    assert told["items"] == 80
    assert digests(tmp_path / "again") == digests(shop)


def test_storefront_draws_the_version_that_it_is_told(tmp_path: Path, tgqformer) -> None:
    options = ["--items", 20, "--size", 32, "--workers", 1, "-q"]
    for name, more, said in (
        ("first", ["--drawing", 1], {}),
        ("latest", [], {"drawing": LATEST}),
        ("held", ["--held-out", 2], {"drawing": LATEST, "held_out": 2}),
    ):
        assert tgqformer("storefront", tmp_path / name, *options, *more)[0] == 0
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert {k: v for k, v in manifest.items() if k in ("drawing", "held_out")} == said


def test_storefront_names_a_noise_that_it_does_not_know(tmp_path: Path, tgqformer) -> None:
    code, _, err = tgqformer("storefront", tmp_path / "x", "--noise", "loud")
    assert (code, "loud" in err, err.count("\n")) == (2, True, 1)

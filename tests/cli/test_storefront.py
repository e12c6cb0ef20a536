"""Laws of `storefront`: the same bytes by any workers, and one sentence for an unknown noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Digests = Callable[[Path], dict[str, str]]


def test_storefront_draws_the_same_bytes_again(
    shop: Path, tmp_path: Path, tgqformer_json, digests: Digests
) -> None:
    options = ["--items", 80, "--size", 48, "--workers", 2, "-q"]
    told = tgqformer_json("storefront", tmp_path / "again", *options)
    assert told["items"] == 80
    assert digests(tmp_path / "again") == digests(shop)


def test_storefront_names_a_noise_that_it_does_not_know(tmp_path: Path, tgqformer) -> None:
    code, _, err = tgqformer("storefront", tmp_path / "x", "--noise", "loud")
    assert (code, "loud" in err, err.count("\n")) == (2, True, 1)

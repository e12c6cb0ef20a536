"""Laws of `storefront`: the same bytes by any workers, and one sentence for an unknown noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.photos import photos_read
from tgqformer.embedder.config import EmbedderConfig
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


def test_several_photos_leave_the_first_as_it_was(
    tmp_path: Path, tgqformer, tgqformer_json, digests: Digests
) -> None:
    options = ["--items", 30, "--size", 48, "--workers", 1, "-q"]
    assert tgqformer("storefront", tmp_path / "one", *options)[0] == 0
    told = tgqformer_json("storefront", tmp_path / "four", *options, "--photos", "1-4")
    catalog = Catalog.load(tmp_path / "four")
    counts = {len(item.images) for item in catalog.items if item.images}
    assert counts == {1, 2, 3, 4}
    assert told["images"] == sum(len(item.images) for item in catalog.items)
    one, four = (digests(tmp_path / name) for name in ("one", "four"))
    photos = {name: digest for name, digest in one.items() if name.startswith("images/")}
    assert photos.items() <= four.items()
    assert one["pairs.parquet"] == four["pairs.parquet"]
    kinds = catalog.labels["photos"].to_list()
    assert [len(own) for own in kinds] == [len(item.images) for item in catalog.items]
    assert {"clean", "detail", "overlay", "clutter"} <= {k for own in kinds for k in own[1:]}
    assert tgqformer("storefront", tmp_path / "four", *options, "--photos", "1-4")[0] == 0
    code, _, err = tgqformer("storefront", tmp_path / "four", *options)
    assert (code, "another shop (photos '1-4', not '1-1')" in err) == (2, True)
    for wrong in ("0", "4-1", "1-99", "many", "1-", "-3"):
        assert tgqformer("storefront", tmp_path / "x", *options, f"--photos={wrong}")[0] == 2


def test_validate_and_embed_tell_how_many_photos_are_read(
    tmp_path: Path, tgqformer, tgqformer_json, trained
) -> None:
    shop = tmp_path / "shop"
    options = ["--items", 30, "--size", 48, "--workers", 1, "-q", "--photos", "6"]
    assert tgqformer("storefront", shop, *options)[0] == 0
    most = EmbedderConfig().max_images
    told = tgqformer_json("validate", shop, "-q")["photos_read"]
    assert told == photos_read(Catalog.load(shop).items, most)
    assert (told["photos"], told["read"]) == (6 * told["items"], most * told["items"])
    sentence = f"{told['read']} of {told['photos']} photos of {told['items']} items are read"
    assert sentence in tgqformer("validate", shop, "-q")[1]
    out = tmp_path / "vectors.parquet"
    assert sentence in tgqformer("embed", trained, shop, "--out", out, "-q")[1]
    assert tgqformer_json("embed", trained, shop, "--out", out, "-q")["photos"] == told
    run = [
        "train",
        shop,
        "--preset",
        "tiny",
        "--set",
        "training.steps=2",
        "--out",
        tmp_path / "run",
    ]
    code, _, err = tgqformer(*run)
    assert (code, sentence in err) == (0, True)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["photos"] == told

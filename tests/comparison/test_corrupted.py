"""A corrupted copy of a catalog: the same shop, photographed worse."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import PIL
import pytest
from click.testing import CliRunner
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.writing import save_catalog
from tgqformer.cli.storefront import corrupt
from tgqformer.errors import ConfigError
from tgqformer.evaluation.robustness import (
    FAMILIES,
    KINDS,
    MARK,
    Family,
    _kinds,
    corrupt_catalog,
    corrupted_items,
)

DRAWN = {
    "overlays": "646900821a266fa7",
    "clutter": "5367742c200d76b1",
    "overlays+clutter": "44bc20d7272d215f",
}


def ramp() -> bytes:
    """A photo, as PNG, that needs no drawing library to be the same everywhere."""
    y, x = np.mgrid[0:120, 0:160]
    photo = np.stack([x, 2 * y, (x * y) % 256], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(catalog: Catalog, item: str) -> bytes:
    return decode_image(catalog.items[catalog.index[item]].images[0]).tobytes()


def test_only_the_photos_change_and_a_second_call_gives_the_same(
    small_shop: Path, tmp_path: Path
) -> None:
    shop = Catalog.load(small_shop)
    noisy = corrupt_catalog(shop, tmp_path / "noisy", "overlays+clutter", 0.5)
    again = Catalog.load(tmp_path / "noisy")
    assert not len(again.quarantine)
    assert [i.title for i in again.items] == [i.title for i in shop.items]
    assert again.pair_table.equals(shop.pair_table)
    assert [len(i.images) for i in again.items] == [len(i.images) for i in shop.items]
    assert pixels(again, "0-0") != pixels(shop, "0-0")
    photos = {p: p.stat().st_mtime_ns for p in (tmp_path / "noisy").rglob("*.png")}
    assert len(photos) == sum(bool(i.images) for i in shop.items)
    corrupt_catalog(Catalog.load(small_shop), tmp_path / "noisy", "overlays+clutter", 0.5)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "noisy").rglob("*.png")} == photos
    other = corrupt_catalog(shop, tmp_path / "other", "overlays+clutter", 0.5)
    assert pixels(other, "0-0") == pixels(noisy, "0-0")


def test_another_shop_of_the_same_ids_gets_its_own_photos(small_shop: Path, tmp_path: Path) -> None:
    shop = Catalog.load(small_shop)
    photos = [item.images for item in shop.items]
    turned = [
        replace(i, images=p) for i, p in zip(shop.items, photos[1:] + photos[:1], strict=True)
    ]
    redrawn = Catalog(turned, shop.pair_table, root=shop.root)
    corrupt_catalog(shop, tmp_path / "one", "clutter", 0.5)
    after = corrupt_catalog(redrawn, tmp_path / "one", "clutter", 0.5)
    alone = corrupt_catalog(redrawn, tmp_path / "two", "clutter", 0.5)
    shown = [item.item_id for item in turned if item.images]
    assert [pixels(after, i) for i in shown] == [pixels(alone, i) for i in shown]


@pytest.mark.skipif(PIL.__version__ != "13.0.0", reason="pixels are those of one Pillow")
def test_the_photos_are_those_that_earlier_versions_drew(small_shop: Path, tmp_path: Path) -> None:
    """The token cache, the results and the copies on disk know these photos by their bytes."""
    item = replace(Catalog.load(small_shop).items[0], item_id="one", images=(ramp(),))
    found = {}
    for kind in KINDS:
        photo = corrupted_items([item], kind, 0.5, tmp_path)[0].images[0]
        assert isinstance(photo, Path)
        assert photo.parent == tmp_path / kind / "0.5"
        found[kind] = sha256(decode_image(photo).tobytes()).hexdigest()[:16]
    assert found == DRAWN


def test_unseen_kinds_are_another_copy_beside_the_seen_one(
    small_shop: Path, tmp_path: Path
) -> None:
    shop, out = Catalog.load(small_shop), tmp_path / "noisy"
    seen = pixels(corrupt_catalog(shop, out, "overlays", 0.5), "0-0")
    photos = {path: path.read_bytes() for path in out.rglob("*.png")}
    assert "family" not in json.loads((out / MARK).read_text())
    unseen = pixels(corrupt_catalog(shop, out, "overlays", 0.5, family="unseen"), "0-0")
    assert json.loads((out / MARK).read_text())["family"] == "unseen"
    assert pixels(Catalog.load(out), "0-0") == unseen != seen
    assert {path: path.read_bytes() for path in photos} == photos
    assert len(list(out.rglob("*.png"))) == 2 * len(photos)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_item_gets_two_kinds_of_each_from_its_family(family: Family, small_shop: Path) -> None:
    clutter, overlays = FAMILIES[family]
    drawn = [_kinds(item, "overlays+clutter", family) for item in Catalog.load(small_shop).items]
    for kinds in drawn:
        assert len(set(kinds)) == 4
        assert set(kinds[:2]) <= set(clutter)
        assert set(kinds[2:]) <= set(overlays)
    assert len({tuple(kinds) for kinds in drawn}) > 1


def test_the_command_names_the_family(small_shop: Path, tmp_path: Path) -> None:
    words = [str(small_shop), str(tmp_path / "noisy"), "--unseen", "--json"]
    told = CliRunner().invoke(corrupt, words)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["family"] == "unseen"
    assert json.loads((tmp_path / "noisy" / MARK).read_text())["family"] == "unseen"


@pytest.mark.parametrize(
    ("folder", "kind", "severity", "told"),
    [
        ("small", "overlays", 0.5, "is the catalog itself"),
        ("new", "blur", 0.5, "kind 'blur' is unknown"),
        ("new", "clutter", 0.0, "severity"),
        ("new", "clutter", 1.5, "severity"),
    ],
)
def test_what_is_refused(
    small_shop: Path, folder: str, kind: str, severity: float, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        corrupt_catalog(Catalog.load(small_shop), small_shop.parent / folder, kind, severity)
    assert not (small_shop.parent / "new").exists()


def test_an_unknown_family_is_refused(small_shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="family 'other' is unknown; choose one of seen, unseen"):
        corrupt_catalog(
            Catalog.load(small_shop),
            tmp_path / "new",
            "overlays",
            0.5,
            family="other",  # type: ignore[arg-type]
        )


def test_another_catalog_is_not_written_over(small_shop: Path, tmp_path: Path) -> None:
    shop, theirs = Catalog.load(small_shop), tmp_path / "theirs"
    save_catalog(Catalog(shop.items[:2], root=shop.root), theirs)
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds a catalog already"):
        corrupt_catalog(shop, theirs, "clutter", 0.5)
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before

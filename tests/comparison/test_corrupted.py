"""A corrupted copy of a catalog: the same shop, photographed worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.writing import save_catalog
from tgqformer.comparison.corrupted import corrupt_catalog
from tgqformer.errors import ConfigError


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


def test_another_catalog_is_not_written_over(small_shop: Path, tmp_path: Path) -> None:
    shop, theirs = Catalog.load(small_shop), tmp_path / "theirs"
    save_catalog(Catalog(shop.items[:2], root=shop.root), theirs)
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds a catalog already"):
        corrupt_catalog(shop, theirs, "clutter", 0.5)
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before

"""The first drawing stays as it was: old figures can be made again, to the byte.

And the options that say which shop is drawn: what a manifest tells of them, and what is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import PIL
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.errors import ConfigError, StorageError
from tgqformer.storefront import DRAWINGS, draw_storefront
from tgqformer.storefront.shoppers import hold_out

# Taken from the code before there was a second drawing: 60 items, 64 pixels, seed 0. The tables
# hold the same under any library; photos and boxes are those of one version of Pillow.
TABLES = {
    "market": "8e6365e5ad2d8494650a37b65fe6148490834e32152fb67e565ebc894ee3386d",
    "heavy": "c7a347464958180dcb752033f41de78f476caff4515e16b55fe33ae13c3d26c0",
}
PHOTOS = {
    "market": "59c2a63d4bfecfb0b22744de5db25d9bfddb8a90f13bc7c86841e815d36fde0f",
    "heavy": "b44052ce9bc9fdae2dae5044e614699c68b1dc264594456e23ee3792cbf8ebea",
}
PILLOW = "13.0.0"


def digest_of(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("noise", TABLES)
def test_the_first_drawing_is_what_it_was(noise: str, tmp_path: Path) -> None:
    shop = tmp_path / noise
    draw_storefront(shop, items=60, noise=noise, seed=0, size=64, workers=1, version=1)
    tables = [
        pl.read_parquet(path).drop("product_box", "distractor_boxes", strict=False)
        for path in sorted(shop.glob("*.parquet"))
    ]
    assert len(tables) == 4
    rows = [json.dumps(row, sort_keys=True) for table in tables for row in table.rows(named=True)]
    assert digest_of(*rows) == TABLES[noise]
    if PIL.__version__ == PILLOW:
        photos = [path.read_bytes() for path in sorted((shop / "images").iterdir())]
        assert digest_of(*(hashlib.sha256(data).hexdigest() for data in photos)) == PHOTOS[noise]


def test_the_first_drawing_tells_nothing_of_what_came_later(tmp_path: Path) -> None:
    """A shop that was drawn before there were versions is found, and no other taken for it."""
    shop = draw_storefront(tmp_path / "shop", items=20, size=32, workers=1, version=1)
    manifest = json.loads((tmp_path / "shop" / "manifest.json").read_text())
    assert not {"drawing", "held_out"} & set(manifest)
    assert shop.labels is not None
    assert "family" not in shop.labels.columns
    with pytest.raises(StorageError, match="another shop .drawing 1, not 2"):
        draw_storefront(tmp_path / "shop", items=20, size=32, workers=1)
    again = draw_storefront(tmp_path / "shop", items=20, size=32, workers=1, version=1)
    assert again.pairs == shop.pairs


def test_the_latest_drawing_is_drawn_where_none_is_named(tmp_path: Path) -> None:
    draw_storefront(tmp_path / "shop", items=20, size=32, workers=1)
    manifest = json.loads((tmp_path / "shop" / "manifest.json").read_text())
    assert manifest["drawing"] == max(DRAWINGS)


@pytest.mark.parametrize("version", DRAWINGS)
def test_categories_held_out_have_test_pairs_alone(version: int, tmp_path: Path) -> None:
    shops: dict[int, Catalog] = {
        count: draw_storefront(
            tmp_path / str(count),
            items=120,
            size=32,
            workers=1,
            version=version,
            noise="clean",
            held_out=count,
        )
        for count in (0, 4)
    }
    held_out = hold_out(4, 0)
    assert len(held_out) == 4
    others, plain = shops[4].labels, shops[0].labels
    assert others is not None
    assert plain is not None
    path_of = dict(others.select("item_id", "category").iter_rows())
    for pair in shops[4].pairs:
        ends = {path_of[end].split(" > ")[-1] for end in (pair.query_id, pair.target_id)}
        assert pair.split == "test" or not ends & held_out
    for before, after, path in zip(plain["split"], others["split"], plain["category"]):
        assert after == ("test" if path.split(" > ")[-1] in held_out else before)
    assert json.loads((tmp_path / "4" / "manifest.json").read_text())["held_out"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 3}, "drawing 3 is unknown; choose one of 1, 2"),
        ({"version": 1, "noise": "siblings"}, "'siblings' is not in drawing 1; choose drawing 2"),
        ({"held_out": 11}, "held_out is 11, but must lie in 0..10"),
        ({"held_out": -1}, "held_out is -1, but must lie in 0..10"),
    ],
)
def test_bad_versions_get_one_sentence(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_storefront(tmp_path / "shop", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []

"""The first drawing stays as it was: old figures can be made again, to the byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import PIL
import polars as pl
import pytest

from tgqformer.storefront import draw_storefront

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
    draw_storefront(shop, items=60, noise=noise, seed=0, size=64, workers=1)
    tables = [
        pl.read_parquet(path).drop("product_box", "distractor_boxes", strict=False)
        for path in sorted(shop.glob("*.parquet"))
    ]
    assert len(tables) == 4
    rows = [json.dumps(row, sort_keys=True) for table in tables for row in table.rows(named=True)]
    assert digest_of(*rows) == TABLES[noise]
    if PILLOW == PIL.__version__:
        photos = [path.read_bytes() for path in sorted((shop / "images").iterdir())]
        assert digest_of(*(hashlib.sha256(data).hexdigest() for data in photos)) == PHOTOS[noise]

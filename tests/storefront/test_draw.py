"""A drawn shop: the same bytes, whole or not at all, and everything that is promised of it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.logs import read_log
from tgqformer.catalog.splits import check_leaks
from tgqformer.corruption.canvas import stream
from tgqformer.errors import ConfigError, StorageError
from tgqformer.storefront import NOISES, draw_storefront
from tgqformer.storefront import photo as darkroom
from tgqformer.storefront.photo import PHOTOS, take_photo
from tgqformer.storefront.product import COLOURWAYS, PATTERNS, SHAPES, draw_product, make_look

ITEMS, SIZE = 54, 64  # two chunks of photos


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Catalog]:
    folder = tmp_path_factory.mktemp("shops")
    return {
        noise: draw_storefront(folder / noise, items=ITEMS, noise=noise, size=SIZE, workers=1)
        for noise in NOISES
    }


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(
    shops: dict[str, Catalog], tmp_path: Path
) -> None:
    market = shops["market"].root
    assert market is not None
    draw_storefront(tmp_path / "again", items=ITEMS, size=SIZE, workers=2)
    assert bytes_of(tmp_path / "again") == bytes_of(market)
    assert multiprocessing.active_children() == []
    draw_storefront(tmp_path / "other", items=ITEMS, size=SIZE, workers=1, seed=1)
    assert bytes_of(tmp_path / "other") != bytes_of(market)


def test_the_folder_holds_what_the_manifest_says(shops: dict[str, Catalog]) -> None:
    root = shops["market"].root
    assert root is not None
    manifest = json.loads((root / "manifest.json").read_text())
    assert (manifest["items"], manifest["seed"], manifest["noise"]) == (ITEMS, 0, "market")
    files = bytes_of(root)
    del files["manifest.json"]
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(files.items()))
    assert manifest["digest"] == hashlib.sha256(lines.encode()).hexdigest()
    assert {path.name for path in root.iterdir()} == {
        *("images", "items.parquet", "labels.parquet", "pairs.parquet", "sessions.parquet"),
        "manifest.json",
    }


def test_the_same_seed_is_the_same_shop_under_any_noise(shops: dict[str, Catalog]) -> None:
    hidden = ["item_id", "category", "brand", "tier", "pattern", "colourway", "silhouette", "split"]
    clean = shops["clean"]
    assert clean.labels is not None
    assert clean.root is not None
    sessions = pl.read_parquet(clean.root / "sessions.parquet")
    for noise, shop in shops.items():
        assert shop.labels is not None
        assert shop.root is not None
        assert shop.pairs == clean.pairs
        assert shop.labels.select(hidden).equals(clean.labels.select(hidden))
        assert pl.read_parquet(shop.root / "sessions.parquet").equals(sessions)
        if noise != "clean":
            assert [i.images[0].read_bytes() for i in shop.items if i.images] != [
                i.images[0].read_bytes() for i in clean.items
            ]
        if noise not in ("market", "mislabelled"):
            assert [i.title for i in shop.items] == [i.title for i in clean.items]


def test_the_catalog_is_sound_and_complete(shops: dict[str, Catalog]) -> None:
    for noise, shop in shops.items():
        assert len(shop) == ITEMS
        assert len(shop.quarantine) == 0
        for split in ("train", "val", "test"):
            assert len(shop.pair_indices(split)[0]) > 0
        without = sum(not item.images for item in shop.items)
        assert without <= (6 if noise == "market" else 0)
        for item in shop.items:
            for path in item.images:
                with Image.open(path) as photo:
                    assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (SIZE, SIZE))


def test_nothing_of_the_answer_leaks(shops: dict[str, Catalog]) -> None:
    shop = shops["clean"]
    assert check_leaks(shop, promise="cold") == []
    assert len(shop.pool_indices("test")) == ITEMS
    for split in ("train", "val", "test"):
        pool = set(shop.pool_indices(split).tolist())
        assert pool >= {i for side in shop.pair_indices(split)[:2] for i in side.tolist()}


def test_the_log_is_what_the_pairs_command_reads(shops: dict[str, Catalog]) -> None:
    root = shops["clean"].root
    assert root is not None
    log = read_log(root / "sessions.parquet")
    assert log.height == pl.read_parquet(root / "sessions.parquet").height > ITEMS
    assert set(log["item"]) <= set(shops["clean"].index)


def test_labels_tell_the_regime_and_boxes_that_lie_in_the_photo(
    shops: dict[str, Catalog],
) -> None:
    for noise, shop in shops.items():
        assert shop.labels is not None
        for row, item in zip(shop.labels.iter_rows(named=True), shop.items):
            assert row["item_id"] == item.item_id
            assert noise in ("market", row["noise"])
            assert (row["photo"] == "none") == (not item.images)
            assert bool(row["faults"]) == (row["noise"] == "mislabelled")
            assert bool(row["overlays"]) == (row["photo"] in ("overlay", "heavy", "siblings"))
            if row["photo"] not in ("clutter", "heavy", "siblings"):
                assert row["distractor_boxes"] == []
            if row["photo"] == "clutter":
                assert len(row["distractor_boxes"]) <= 3
            boxes = [row["product_box"]] if row["product_box"] else []
            assert len(boxes) == len(item.images)
            for x0, y0, x1, y1 in (*boxes, *row["distractor_boxes"]):
                assert 0 <= x0 < x1 <= SIZE
                assert 0 <= y0 < y1 <= SIZE


def test_the_product_lies_in_its_box_and_nothing_outside_it() -> None:
    """On a white packshot, whatever is neither white nor shadow is inside the product's box."""
    found = 0
    for seed in range(12):
        look = make_look("Mugs", seed % 3, "dots", "cherry", stream(seed, "look"))
        photo = take_photo(look, "clean", 96, stream(seed, "photo"))
        pixels = np.asarray(photo.image, np.int64)
        if not (pixels[0] == 255).all():
            continue
        found += 1
        colourful = (pixels.max(2) - pixels.min(2)) > 60
        ys, xs = np.nonzero(colourful)
        x0, y0, x1, y1 = photo.product_box
        assert x0 - 1 <= xs.min() <= x0 + 3
        assert x1 - 4 <= xs.max() <= x1
        assert y0 - 1 <= ys.min()
        assert ys.max() <= y1
    assert found > 2


def test_clutter_shows_other_products_sometimes_larger_than_the_one_for_sale() -> None:
    larger, visible = 0, []
    for seed in range(40):
        look = make_look("Teapots", seed % 3, "checks", "lagoon", stream(seed, "look"))
        photo = take_photo(look, "clutter", 64, stream(seed, "photo"))
        own = photo.product_box
        assert len(photo.distractor_boxes) <= 3
        larger += any(box.area > own.area for box in photo.distractor_boxes)
        visible.append(1 - sum(own.overlap(b) for b in photo.distractor_boxes) / own.area)
    assert 5 < larger < 38
    assert np.mean(visible) > 0.7


@pytest.mark.parametrize("kind", PHOTOS)
def test_a_photo_is_decided_by_look_kind_size_and_stream(kind: str) -> None:
    look = make_look("Kites", 0, "zigzag", "peony", stream(0, "look"))
    first = take_photo(look, kind, 80, stream(0, "photo"))
    again = take_photo(look, kind, 80, stream(0, "photo"))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.size == (80, 80)
    assert first.image.tobytes() != take_photo(look, kind, 80, stream(1, "photo")).image.tobytes()


@pytest.mark.parametrize("category", list(SHAPES))
def test_every_shape_has_three_silhouettes_that_fill_their_side(category: str) -> None:
    masks = []
    for silhouette in range(3):
        look = make_look(category, silhouette, "stripes", "ink", stream(0, "look"))
        picture = draw_product(look, 80)
        assert abs(max(picture.size) - 80) <= 2
        alpha = np.asarray(picture.getchannel("A").resize((40, 40)))
        assert (alpha > 0).mean() > 0.1
        masks.append((alpha > 128).tobytes())
    assert len(set(masks)) == 3


def test_style_can_be_told_from_pixels() -> None:
    """The nearest mean colour names the colourway of a plain product, on new shades of it."""

    def mean_colour(colourway: str, seed: int) -> np.ndarray:
        look = make_look("Cushions", 0, "plain", colourway, stream(seed, "look", colourway))
        pixels = np.asarray(draw_product(look, 60), np.float64)
        return pixels[pixels[..., 3] > 0][:, :3].mean(0)

    centres = {name: np.mean([mean_colour(name, s) for s in range(3)], 0) for name in COLOURWAYS}
    for name in COLOURWAYS:
        for seed in range(10, 14):
            colour = mean_colour(name, seed)
            near = min(centres, key=lambda c: float(np.abs(centres[c] - colour).sum()))
            assert near == name


def test_patterns_differ_where_colours_do_not() -> None:
    pictures = set()
    for pattern in PATTERNS:
        look = make_look("Cushions", 0, pattern, "harbour", stream(0, "look"))
        pictures.add(draw_product(look, 80).tobytes())
    assert len(pictures) == len(PATTERNS)


def test_a_shop_that_is_there_is_returned_and_other_things_are_not_touched(
    shops: dict[str, Catalog], tmp_path: Path
) -> None:
    root = shops["clean"].root
    assert root is not None
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    again = draw_storefront(root, items=ITEMS, noise="clean", size=SIZE)
    assert again.pairs == shops["clean"].pairs
    with pytest.raises(StorageError, match="another shop .noise 'clean', not 'heavy'"):
        draw_storefront(root, items=ITEMS, noise="heavy", size=SIZE)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(StorageError, match="remove it or choose another"):
        draw_storefront(tmp_path, items=ITEMS, size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(
    shops: dict[str, Catalog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tgqformer.storefront import photo

    real, drawn = darkroom._draw, []

    def stop_after_fifty(job: darkroom.Job, *rest: object) -> dict[str, object]:
        if len(drawn) == 52:
            raise KeyboardInterrupt
        drawn.append(job.number)
        return real(job, *rest)  # type: ignore[arg-type]

    out = tmp_path / "shop"
    monkeypatch.setattr(darkroom, "_draw", stop_after_fifty)
    with pytest.raises(KeyboardInterrupt):
        draw_storefront(out, items=ITEMS, noise="clean", size=SIZE, workers=1)
    assert not out.exists()
    drawn_before = list(drawn)
    drawn.clear()
    monkeypatch.setattr(
        photo, "_draw", lambda job, *rest: drawn.append(job.number) or real(job, *rest)
    )
    draw_storefront(out, items=ITEMS, noise="clean", size=SIZE, workers=1)
    assert not set(drawn) & set(drawn_before[:50])
    root = shops["clean"].root
    assert root is not None
    assert bytes_of(out) == bytes_of(root)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tgqformer.storefront import draw_storefront\n"
        f"draw_storefront({str(tmp_path / 'shop')!r}, items=60, size=32, workers=2)\n"
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert "pass workers=1, or call from below" in run.stderr
    assert run.returncode != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": 5}, "items is 5, but a shop needs at least 20"),
        ({"noise": "loud"}, "noise 'loud' is unknown; choose one of market, clean"),
        ({"size": 8}, "size is 8, but must lie in 32..2048"),
        ({"workers": 0}, "workers is 0, but must be 1 or more"),
    ],
)
def test_bad_options_get_one_sentence(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_storefront(tmp_path / "shop", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []

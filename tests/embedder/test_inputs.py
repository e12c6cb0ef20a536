"""What `encode` takes: one input or many, in any form, and what it says of what it cannot read."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.errors import CatalogError, ConfigError, ImageError, UnreadInputWarning


def test_one_input_of_any_kind_gives_one_vector(embedder, photo, tmp_path):
    path = tmp_path / "lamp.png"
    path.write_bytes(photo(3))
    picture = Image.open(path)
    forms = {
        "item": (Item("a", "red lamp"), Item("a", "red lamp")),
        "title": ("red lamp", Item("a", "red lamp")),
        "dict": (
            {"title": "red lamp", "price": "3.5", "image": picture},
            Item("a", "red lamp", price=3.5, images=(photo(3),)),
        ),
        "category as a path": (
            {"text": "red lamp", "category": ["Home", "Lamps"]},
            Item("a", "red lamp", category="Home > Lamps"),
        ),
        "picture": (picture, Item("a", images=(photo(3),))),
        "path": (path, Item("a", images=(path,))),
        "bytes": (photo(3), Item("a", images=(photo(3),))),
    }
    for name, (given, item) in forms.items():
        alone = embedder.encode(given)
        assert alone.shape == (32,), name
        [expected] = embedder.encode([item])
        np.testing.assert_allclose(alone, expected, atol=1e-6, err_msg=name)


def test_many_are_any_iterable_of_any_kinds(embedder, photo):
    several = ["red lamp", {"title": "blue shoe"}, Item("a", "boot"), photo(2)]
    rows = embedder.encode(several)
    assert rows.shape == (4, 32)
    assert np.array_equal(rows, embedder.encode(tuple(several)))
    assert np.array_equal(rows, embedder.encode(one for one in several))
    assert np.array_equal(rows, embedder.encode(iter(several)))
    assert embedder.encode(["red lamp"]).shape == (1, 32)
    assert embedder.encode(x for x in ()).shape == (0, 32)
    catalog = Catalog([Item("a", "boot"), Item("b", "shoe")])
    assert embedder.encode(catalog).shape == (2, 32)
    titles = np.array(["red lamp", "blue shoe"])
    np.testing.assert_allclose(embedder.encode(titles), rows[:2], atol=1e-6)
    one = embedder.encode("red lamp", dims=8, precision="int8")
    assert one.dtype == np.int8
    assert one.shape == (8,)


@pytest.mark.parametrize(
    "given",
    [3, [3], [["lamp"]], {"titel": "lamp"}, [{"image": 3}], np.zeros((4, 4, 3)), object(), None],
)
def test_what_is_no_input_is_named(embedder, given):
    with pytest.raises(CatalogError, match="give|known ones are"):
        embedder.encode(given)


def test_a_table_is_not_taken_for_its_column_names(embedder):
    polars = pytest.importorskip("polars")
    with pytest.raises(CatalogError, match=r"Catalog\.from_rows"):
        embedder.encode(polars.DataFrame({"title": ["lamp"]}))


UNREADABLE = [
    b"no picture",
    Path("gone/lamp.jpg"),
    {"title": "lamp", "image": "http://127.0.0.1:1/lamp.jpg"},
    {"title": "lamp", "image": "data:image/png;base64,####"},
    {"title": "lamp", "image": "data:text/plain;base64,AAAA"},
    {"title": "lamp", "images": ["gone.jpg"]},
    {"title": "lamp", "price": "cheap"},
    Item("lamp", "lamp", images=(b"no picture",)),
    "photos/lamp.jpg",
    "https://shop.example/lamp.jpg",
]


@pytest.mark.parametrize("given", UNREADABLE, ids=str)
def test_what_cannot_be_read_raises_alone_and_warns_among_others(embedder, given):
    with pytest.raises(ImageError, match="the input"):
        embedder.encode(given)
    with pytest.warns(UnreadInputWarning, match=r"1, in 1 of 2 inputs; the first is in input 1"):
        rows = embedder.encode(["a title", given])
    assert np.isfinite(rows).all()
    with pytest.raises(ImageError, match="input 1"):
        embedder.encode(["a title", given], errors="raise")
    assert np.array_equal(embedder.encode(["a title", given], errors="ignore"), rows)


def test_a_picture_that_breaks_off_spoils_no_other_input(embedder, photo):
    def broken() -> Image.Image:
        return Image.open(
            io.BytesIO(photo(3)[:-200])
        )  # Pillow reads its pixels when they are asked for

    with pytest.raises(ImageError, match="the input"):
        embedder.encode(broken())
    for one in (broken(), {"title": "Lamp", "image": broken()}):
        with pytest.warns(UnreadInputWarning, match="1, in 1 of 2 inputs"):
            found = embedder.encode([one, "Mug"])
        np.testing.assert_allclose(found[1], embedder.encode("Mug"), atol=1e-6)


def test_how_many_photos_are_unread_is_told_with_a_cache_and_without(make, config, photo, tmp_path):
    items = [
        Item("a", "lamp", images=(b"broken", photo(1))),
        Item("b", "shoe", images=(b"\xff\xd8 cut", tmp_path / "gone.jpg")),
        Item("c", "boot", images=(photo(2),)),
    ]
    for cache in (None, tmp_path / "cache"):
        embedder = make(config, cache_dir=cache)
        for _ in range(2):
            with pytest.warns(UnreadInputWarning, match=r"3, in 2 of 3 inputs; .*'a'.* photo 0"):
                embedder.encode(items)


def test_an_empty_input_is_told(embedder):
    for given in ({}, "", " ", [float("nan")], ["lamp", {"title": None, "images": []}]):
        with pytest.warns(UnreadInputWarning, match="neither text nor photo"):
            embedder.encode(given)
    embedder.encode([Item("an item of a catalog has been looked at there")])


def test_missing_values_of_a_frame_are_missing(embedder):
    row = {"title": "lamp", "brand": float("nan"), "category": None, "image": float("nan")}
    np.testing.assert_allclose(
        embedder.encode([row]), embedder.encode([Item("a", "lamp")]), atol=1e-6
    )


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"]
)
def test_pictures_of_every_mode_are_read_as_rgb(embedder, photo, mode):
    picture = Image.open(io.BytesIO(photo(3))).convert("RGB")
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        changed = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        changed = picture.convert(mode)
    assert changed.mode == mode
    vector = embedder.encode(changed)
    assert np.isfinite(vector).all()
    if mode in ("RGBA", "CMYK", "YCbCr", "HSV", "LAB"):  # of the same colours, but for rounding
        assert vector @ embedder.encode(picture) > 0.97


def test_a_data_url_is_read_and_bounded(embedder, photo, monkeypatch):
    told = base64.b64encode(photo(3)).decode()
    expected = embedder.encode(photo(3))
    for url in (
        f"data:image/png;base64,{told}",
        f"data:;base64,{told.rstrip('=')}",
        f"DATA:image/png;charset=x;base64,{told[:40]}\n{told[40:]}",
    ):
        np.testing.assert_allclose(embedder.encode({"image": url}), expected, atol=1e-6)
    monkeypatch.setattr("tgqformer.catalog.columns.MAX_BYTES", 30)
    with pytest.raises(ImageError, match="more than a photo of 30 bytes"):
        embedder.encode({"image": f"data:image/png;base64,{told}"})


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", True, None])
def test_a_batch_size_is_a_whole_number_from_one_upward(embedder, items, size, tmp_path):
    from tgqformer.scale.pipeline import Pipeline

    calls = [
        lambda: embedder.encode(items, batch_size=size),
        lambda: embedder.encode([], batch_size=size),
        lambda: embedder.encode_views(items, batch_size=size),
        lambda: embedder.encode_base(items, batch_size=size),
        lambda: embedder.features.fill(items, batch_size=size),
        lambda: next(embedder.features.batches(items, batch_size=size)),
        lambda: Pipeline(embedder, batch_size=size),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=r"batch_size \("):
            call()
    assert len(embedder.encode(items[:2], batch_size=np.int64(1))) == 2


def test_an_unknown_way_with_errors_is_refused(embedder):
    with pytest.raises(ConfigError, match="errors is 'coerce'"):
        embedder.encode("lamp", errors="coerce")


def test_similarity_of_anything_with_anything(embedder, items, vectors):
    whole = vectors @ vectors.T
    np.testing.assert_allclose(embedder.similarity(items, items), whole, atol=1e-5)
    np.testing.assert_allclose(embedder.similarity(items, vectors), whole, atol=1e-5)
    longer = torch.from_numpy(3 * vectors)
    np.testing.assert_allclose(embedder.similarity(longer, vectors[0]), whole[:, :1], atol=1e-5)
    assert embedder.similarity("red lamp", (t for t in ["blue lamp", "boot"])).shape == (1, 2)
    assert embedder.similarity([], items).shape == (0, len(items))
    with pytest.raises(ConfigError, match="8 dimensions and b of 32"):
        embedder.similarity(vectors[:, :8], items)
    with pytest.raises(ConfigError, match="finite"):
        embedder.similarity(np.full((1, 32), np.nan), items)
    for wrong in (np.zeros((4, 4, 3), np.uint8), torch.zeros(1, 1, 32), torch.zeros(3, 8, 8)):
        with pytest.raises(ConfigError, match="PIL.Image.fromarray"):
            embedder.similarity(wrong, items)
    for wrong in (None, 3, vectors.astype(complex), torch.ones(1, 32, dtype=torch.cfloat)):
        with pytest.raises(CatalogError, match="is no input"):
            embedder.similarity(wrong, items)


WRONG_FIELDS = [
    ({"title": None}, "title: None is a NoneType"),
    ({"title": 5}, "title: 5 is an int"),
    ({"brand": float("nan")}, "brand"),
    ({"category": ["Home", "Lamp"]}, "category"),
    ({"attributes": None}, "attributes"),
    ({"attributes": [1]}, "attributes"),
    ({"attributes": {"size": 5}}, "'size': 5 is not of two texts"),
    ({"attributes": {5: "size"}}, "attributes"),
    ({"images": None}, "images"),
    ({"images": "lamp.png"}, "images: 'lamp.png' is a str"),
    ({"images": b"bytes"}, "images"),
    ({"images": ("lamp.png",)}, "photo 0: 'lamp.png' is a str"),
    ({"images": (b"", 5)}, "photo 1: 5 is an int"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG_FIELDS, ids=str)
def test_a_field_of_another_type_is_named_with_its_item(embedder, fields, words):
    wrong = Item("sofa", **fields)
    with pytest.raises(CatalogError, match=rf"the input \(item 'sofa'\), .*{re.escape(words)}"):
        embedder.encode(wrong)
    with pytest.raises(CatalogError, match=r"input 1 \(item 'sofa'\)"):
        embedder.encode(["lamp", wrong, "mug"])
    with pytest.raises(CatalogError, match=r"item 'sofa'"):
        embedder.similarity("lamp", wrong)


def test_an_open_file_is_not_taken_for_its_lines(embedder, photo, tmp_path):
    path = tmp_path / "lamp.png"
    path.write_bytes(photo(3))
    with path.open("rb") as file:
        for opened in (file, io.BytesIO(photo(3)), io.StringIO("lamp\nmug\n")):
            with pytest.raises(CatalogError, match=r"an open file .*file\.read"):
                embedder.encode(opened)


@pytest.mark.parametrize("dims", [0, -1, "8", 8.0, True])
def test_dims_are_a_whole_number_from_one_upward(embedder, dims):
    with pytest.raises(ConfigError, match=r"dims \("):
        embedder.encode("lamp", dims=dims)
    assert embedder.encode("lamp", dims=np.int64(8)).shape == (8,)

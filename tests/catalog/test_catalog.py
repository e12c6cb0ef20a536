"""Laws of the catalog: what is written is read again, in every format, in the items' order."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.values import is_missing, plain_text
from tgqformer.errors import CatalogError, ImageError, StorageError

FORMATS = ["parquet", "jsonl", "csv"]

# What stands for nothing, and HTML, do not come back as they were: test_values.py.
TEXT = st.text(max_size=20).filter(
    lambda text: text == "" or (plain_text(text) == text and not is_missing(text))
)
IDS = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
    .filter(lambda text: text.strip() != "" and ".." not in text and not is_missing(text))
    .filter(  # marks around an id are left out: test_logs.py
        lambda text: text.strip(" \ufeff\u200b\u00a0") == text and text[0] not in "='"
    )
)
ITEMS = st.lists(
    st.builds(
        Item,
        item_id=IDS,
        title=TEXT,
        brand=TEXT,
        category=TEXT,
        attributes=st.dictionaries(TEXT, TEXT, max_size=3),
        price=st.none() | st.floats(0, 1e12),
        images=st.lists(st.binary(min_size=1, max_size=8), max_size=2).map(tuple),
    ),
    max_size=6,
    unique_by=lambda item: item.item_id,
)


def picture(shade: int = 200) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (shade, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def image_bytes(item: Item) -> list[bytes]:
    return [ref if isinstance(ref, bytes) else ref.read_bytes() for ref in item.images]


def without_images(item: Item) -> Item:
    return Item(item.item_id, item.title, item.brand, item.category, item.attributes, item.price)


@pytest.mark.parametrize("format", FORMATS)
@given(items=ITEMS, data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, format: str, items: list[Item], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shop")
    ids = [item.item_id for item in items]
    pairs = []
    if len(ids) > 1:
        drawn = st.tuples(
            st.sampled_from(ids), st.sampled_from(ids), st.sampled_from(["train", "val"])
        )
        chosen = data.draw(st.lists(drawn.filter(lambda p: p[0] != p[1]), unique=True, max_size=6))
        pairs = [Pair(query, target, 0.5, split) for query, target, split in chosen]
    saved = Catalog(items, pairs)
    saved.save(folder, format=format)
    loaded = Catalog.load(folder)
    # a text may look as if it had been encoded twice, which is told and changes nothing
    assert not loaded.quarantine.counts().keys() - {"items: encoded twice", "pairs: encoded twice"}
    assert [without_images(i) for i in loaded.items] == [without_images(i) for i in items]
    assert [image_bytes(item) for item in loaded.items] == [image_bytes(item) for item in items]
    assert loaded.pairs == saved.pairs == pairs


def test_the_same_catalog_gives_the_same_bytes(tmp_path: Path) -> None:
    items = [
        Item(str(i), f"title {i}", price=i / 7, images=(picture(i % 200),)) for i in range(300)
    ]
    pairs = [Pair(str(i), str((i * 7 + 1) % 300)) for i in range(50)]
    labels = pl.DataFrame({"item_id": [str(i) for i in range(300)], "noise": ["clean"] * 300})
    for name in ("one", "two"):
        Catalog(items, pairs, labels).save(tmp_path / name)
    for table in ("items", "pairs", "labels"):
        one, two = (tmp_path / name / f"{table}.parquet" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_photos_come_to_the_folder_and_stay_apart(tmp_path: Path) -> None:
    for name, shade in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.png").write_bytes(picture(shade))
    items = [Item(name, images=(tmp_path / name / "photo.png",)) for name in ("a", "b")]
    Catalog(items).save(tmp_path / "shop")
    loaded = Catalog.load(tmp_path / "shop", strict=True)
    assert [image_bytes(item)[0] for item in loaded.items] == [picture(1), picture(2)]
    for item in loaded.items:
        assert item.images[0].is_relative_to(tmp_path / "shop" / "images")
    before = sorted(path.name for path in (tmp_path / "shop/images").iterdir())
    loaded.save(tmp_path / "shop")
    Catalog(items).save(tmp_path / "shop")
    assert sorted(path.name for path in (tmp_path / "shop/images").iterdir()) == before
    (tmp_path / "shop").rename(tmp_path / "moved")
    assert image_bytes(Catalog.load(tmp_path / "moved", strict=True).items[1]) == [picture(2)]


def test_a_new_format_replaces_the_old(tmp_path: Path) -> None:
    catalog = Catalog([Item("a"), Item("b")], [Pair("a", "b")])
    for format in FORMATS:
        catalog.save(tmp_path, format=format)
        assert Catalog.load(tmp_path, strict=True).pairs == catalog.pairs
    Catalog([Item("c")]).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.parquet"]


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="'xlsx' is no format of a catalog; use one of parquet"):
        Catalog([Item("a")]).save(tmp_path, format="xlsx")
    with pytest.raises(ImageError, match=r"gone.jpg does not exist"):
        Catalog([Item("a", images=(tmp_path / "gone.jpg",))]).save(tmp_path / "shop")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Catalog([Item("a")]).save(tmp_path / "file")


def test_a_failed_write_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalog([Item("a")]).save(tmp_path)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        Catalog([Item("b")]).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["items.parquet"]
    assert Catalog.load(tmp_path).items == [Item("a")]


def test_rows_of_any_library_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    rows = [
        {"item_id": 1, "images": str(tmp_path / "a.png"), "category": ["Home", "Lamps"]},
        {"item_id": "2", "image": {"bytes": picture(2), "path": None}, "price": "3.5"},
        {"item_id": "3", "images": [Image.open(BytesIO(picture(3)))], "title": None},
        {"item_id": "4", "images": tmp_path / "a.png", "attributes": [("size", 3), ("new", True)]},
        {"item_id": 5.5, "images": np.array([str(tmp_path / "a.png")] * 2), "price": np.int64(3)},
        {"item_id": "5", "attributes": {"colours": ["red", "blue"], "none": None, "depth": 2.5}},
    ]
    rows[1]["images"] = rows[1].pop("image")
    catalog = Catalog.from_rows(
        (row for row in rows), ({"query_id": 1, "target_id": "3"},), strict=True
    )
    assert [item.item_id for item in catalog.items] == ["1", "2", "3", "4", "5.5", "5"]
    assert catalog.items[0].category == "Home > Lamps"
    assert catalog.items[1].price == 3.5
    assert [len(item.images) for item in catalog.items] == [1, 1, 1, 1, 2, 0]
    assert np.array_equal(
        np.asarray(Image.open(BytesIO(image_bytes(catalog.items[2])[0]))),
        np.asarray(Image.open(BytesIO(picture(3)))),
    )
    assert catalog.items[3].attributes == {"size": "3", "new": "True"}
    assert catalog.items[4].price == 3.0
    assert catalog.items[5].attributes == {"colours": "red, blue", "depth": "2.5"}
    assert catalog.pairs == [Pair("1", "3")]


def test_with_a_root_rows_may_not_leave_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "shop").mkdir()
    rows = [{"item_id": "1", "images": [str(tmp_path / "a.png")]}]
    assert len(Catalog.from_rows(rows).items[0].images) == 1
    catalog = Catalog.from_rows(rows, root=tmp_path / "shop")
    assert catalog.quarantine.counts() == {"items: image outside the folder": 1}


def test_parquet_of_other_writers_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "item_id": pa.array([1, 2, 3]),
            "title": pa.array(["a", None, "c"]).dictionary_encode(),
            "category": pa.array([["Home", "Lamps"], [], None]),
            "price": pa.array([1, None, 3], pa.int32()),
            "attributes": pa.array(
                [[("k", "v"), ("l", None)], None, []], pa.map_(pa.string(), pa.string())
            ),
            "image": pa.array([picture(1), None, picture(2)]),
            "unknown": pa.array([1, 2, 3]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "items.parquet")
    catalog = Catalog.load(tmp_path, strict=True, check_images=True)
    assert catalog.items == [
        Item("1", "a", "", "Home > Lamps", {"k": "v"}, 1.0, (picture(1),)),
        Item("2"),
        Item("3", "c", price=3.0, images=(picture(2),)),
    ]


@pytest.mark.parametrize("kind", ["struct", "json", "entries"])
def test_attributes_of_every_shape(tmp_path: Path, kind: str) -> None:
    shapes = {
        "struct": pa.array([{"k": "v", "n": 1}, {"k": None, "n": None}]),
        "json": pa.array(['{"k": "v", "n": 1}', ""]),
        "entries": pa.array([[{"name": "k", "value": "v"}, {"name": "n", "value": "1"}], []]),
    }
    table = pa.table({"item_id": ["a", "b"], "attributes": shapes[kind]})
    pyarrow.parquet.write_table(table, tmp_path / "items.parquet")
    catalog = Catalog.load(tmp_path, strict=True)
    assert [item.attributes for item in catalog.items] == [{"k": "v", "n": "1"}, {}]


def test_a_folder_of_shards_is_one_table(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    pl.DataFrame({"item_id": ["a"], "title": ["x"]}).write_parquet(tmp_path / "items/0.parquet")
    pl.DataFrame({"item_id": ["b"]}).write_parquet(tmp_path / "items/1.parquet")
    (tmp_path / "pairs").mkdir()
    batch = pa.table({"query_id": ["a"], "target_id": ["b"]})
    with pa.ipc.new_stream(tmp_path / "pairs/data-00000-of-00001.arrow", batch.schema) as writer:
        writer.write_table(batch)
    catalog = Catalog.load(tmp_path, strict=True)
    assert catalog.items == [Item("a", "x"), Item("b")]
    assert catalog.pairs == [Pair("a", "b")]


def test_csv_of_other_programs(tmp_path: Path) -> None:
    text = '﻿item_id,title,price,images\r\n007,"Lamp, ""big""\r\nand old",,\r\nb,,2,p.png\r\n'
    (tmp_path / "items.csv").write_text(text, newline="")
    (tmp_path / "p.png").write_bytes(picture())
    catalog = Catalog.load(tmp_path, strict=True)
    assert catalog.items == [
        Item("007", 'Lamp, "big"\r\nand old'),
        Item("b", price=2.0, images=(tmp_path / "p.png",)),
    ]


def test_pair_indices_follow_the_items() -> None:
    items = [Item(name) for name in "abcd"]
    pairs = [Pair("d", "a", 2.0), Pair("a", "b", 0.5, "test"), Pair("b", "d", 1.5)]
    catalog = Catalog(items, pairs)
    query, target, weight = catalog.pair_indices("train")
    assert (query.dtype, target.dtype, weight.dtype) == (np.int64, np.int64, np.float32)
    assert (query.tolist(), target.tolist(), weight.tolist()) == ([3, 1], [0, 3], [2.0, 1.5])
    assert [len(part) for part in catalog.pair_indices("val")] == [0, 0, 0]
    with pytest.raises(CatalogError, match="'dev' is no split; use one of train, val, test"):
        catalog.pair_indices("dev")
    moved = catalog.with_pairs([Pair("a", "c")])
    assert moved.pairs == [Pair("a", "c")]
    assert catalog.pairs == pairs


def test_pools() -> None:
    items = [Item(name) for name in "abcd"]
    assert Catalog(items).pool_indices("val").tolist() == [0, 1, 2, 3]
    labels = pl.DataFrame({"item_id": ["d", "a", "b"], "pool": ["", "val, test", "val"]})
    catalog = Catalog(items, labels=labels)
    assert catalog.pool_indices("val").tolist() == [0, 1, 2]
    assert catalog.pool_indices("test").tolist() == [0, 2]
    assert catalog.pool_indices("test").dtype == np.int64
    with pytest.raises(CatalogError, match="'dev' is no split"):
        catalog.pool_indices("dev")


@pytest.mark.parametrize("format", FORMATS)
def test_labels_come_in_the_order_of_the_items(tmp_path: Path, format: str) -> None:
    labels = pl.DataFrame(
        {
            "item_id": ["02", "zz", "01", "02"],
            "noise": ["heavy", "x", "clean", "y"],
            "n": [1, 2, 3, 4],
        }
    )
    catalog = Catalog([Item("01"), Item("02"), Item("03")], labels=labels)
    assert catalog.labels is not None
    assert catalog.labels.rows() == [("01", "clean", 3), ("02", "heavy", 1), ("03", None, None)]
    assert catalog.quarantine.counts() == {"labels: duplicate id": 1, "labels: names no item": 1}
    catalog.save(tmp_path, format=format)
    loaded = Catalog.load(tmp_path, strict=True)
    assert loaded.labels is not None
    assert loaded.labels.rows() == catalog.labels.rows()


def test_nested_labels_survive(tmp_path: Path) -> None:
    boxes = [[[0.0, 0.1, 0.5, 0.5]], []]
    labels = pl.DataFrame({"item_id": ["a", "b"], "distractor_boxes": boxes})
    for format in ("parquet", "jsonl"):
        Catalog([Item("a"), Item("b")], labels=labels).save(tmp_path, format=format)
        loaded = Catalog.load(tmp_path).labels
        assert loaded is not None
        assert loaded["distractor_boxes"].to_list() == boxes
    Catalog([Item("a"), Item("b")], labels=labels).save(tmp_path, format="csv")
    loaded = Catalog.load(tmp_path).labels
    assert loaded is not None
    assert [json.loads(value) for value in loaded["distractor_boxes"]] == boxes


def test_the_counts(tmp_path: Path) -> None:
    catalog = Catalog.from_rows(
        [
            {"item_id": "a", "title": "Lamp", "price": 2, "images": [picture(1), picture(2)]},
            {"item_id": "b", "category": "X"},
            {"item_id": "a"},
        ],
        [{"query_id": "a", "target_id": "b"}, {"query_id": "b", "target_id": "a", "split": "test"}],
    )
    assert catalog.describe() == {
        "items": 2,
        "images": 2,
        "items without image": 1,
        "items without title": 1,
        "items without category": 1,
        "items with price": 1,
        "pairs": {"train": 1, "val": 0, "test": 1},
        "queries": {"train": 1, "val": 0, "test": 1},
        "pool": {"train": 2, "val": 2, "test": 2},
        "quarantine": {"items: duplicate id": 1},
    }
    assert catalog.summary() == (
        "2 items (1 without image, 1 without title), 2 images, 2 pairs (train 1, val 0, test 1); "
        "1 quarantined (items: duplicate id 1)"
    )


def test_access_by_position_and_id() -> None:
    catalog = Catalog([Item("a"), Item("b")])
    assert len(catalog) == 2
    assert catalog[1] == Item("b")
    assert catalog.index == {"a": 0, "b": 1}

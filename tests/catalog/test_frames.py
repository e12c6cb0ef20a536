"""Laws of tables out of memory: every kind of frame and data set gives the catalog of its rows."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.importers.table import import_huggingface
from tgqformer.errors import CatalogError

ROWS = [
    {"item_id": "1", "title": "Lamp", "category": ["Home", "Lamps"], "price": 3.5},
    {"item_id": "2", "title": None, "category": None, "price": None},
]
PAIRS = [{"query_id": "1", "target_id": "2", "weight": 2.0}]


def pandas_frame(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(rows)


def pandas_index(rows: list[dict[str, Any]]) -> Any:
    frame = pandas_frame(rows)
    return frame.set_index(frame.columns[0])


def dataset(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(rows)


@pytest.mark.parametrize(
    "make",
    [
        list,
        iter,
        lambda rows: (row for row in rows),
        pl.DataFrame,
        pl.LazyFrame,
        pandas_frame,
        pandas_index,
        dataset,
        lambda rows: pl.DataFrame(rows).to_arrow(),
    ],
    ids=["list", "iterator", "generator", "polars", "lazy", "pandas", "index", "dataset", "arrow"],
)
def test_a_frame_is_its_rows(make: Callable[[list[dict[str, Any]]], Any]) -> None:
    wanted = Catalog.from_rows(ROWS, PAIRS)
    found = Catalog.from_rows(make(ROWS), make(PAIRS), strict=True)
    assert found.items == wanted.items
    assert found.pairs == wanted.pairs


def test_what_pandas_makes_of_empty_cells() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "item_id": [1.0, 2.0],
            "title": pandas.array(["Lamp", pandas.NA], dtype="string"),
            "price": pandas.array([pandas.NA, 2.5], dtype="Float64"),
            "brand": pandas.Categorical(["Nord", None]),
            "images": [None, pandas.NaT],
        }
    )
    labels = pandas.DataFrame({"item_id": [1, 2], "noise": ["x", pandas.NA], "n": [1.0, np.nan]})
    catalog = Catalog.from_rows(frame, labels=labels, strict=True)
    assert [(item.item_id, item.title, item.price) for item in catalog] == [
        ("1", "Lamp", None),
        ("2", "", 2.5),
    ]
    assert catalog.labels is not None
    assert catalog.labels["noise"].to_list() == ["x", None]


@pytest.mark.parametrize("rows", [{"item_id": ["1"]}, "shop", Path("shop"), 3, b"x"])
def test_what_is_no_rows_is_one_sentence(rows: Any) -> None:
    with pytest.raises(CatalogError, match="give "):
        Catalog.from_rows(rows)


def photo(kind: str = "JPEG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (9, 8), (1, 200, 3)).save(buffer, kind)
    return buffer.getvalue()


def features(names: list[str]) -> dict[str, Any]:
    return {
        "item_id": {"dtype": "string", "_type": "Value"},
        "category": {"names": names, "_type": "ClassLabel"},
        "image": {"_type": "Image"},
    }


def saved(folder: Path, rows: list[dict[str, Any]], names: list[str]) -> Path:
    """A folder as save_to_disk writes it, for those who do not have `datasets`."""
    folder.mkdir(parents=True)
    frame = pl.DataFrame(rows, schema_overrides={"category": pl.Int64})
    frame.write_ipc_stream(folder / "data-00000-of-00001.arrow")
    (folder / "dataset_info.json").write_text(json.dumps({"features": features(names)}))
    (folder / "state.json").write_text("{}")
    return folder


HF_ROWS = [
    {"item_id": "a", "category": 1, "image": {"bytes": photo(), "path": None}},
    {"item_id": "b", "category": 0, "image": {"bytes": None, "path": None}},
    {"item_id": "c", "category": -1, "image": None},
]


def test_a_class_label_is_its_name(tmp_path: Path) -> None:
    saved(tmp_path / "shop/items", HF_ROWS, ["Lamps", "Rugs"])
    loaded = Catalog.load(tmp_path / "shop", strict=True)
    assert [item.category for item in loaded] == ["Rugs", "Lamps", ""]
    assert [len(item.images) for item in loaded] == [1, 0, 0]
    imported = import_huggingface(tmp_path / "shop/items", tmp_path / "out", strict=True)
    assert imported.items == loaded.items
    pl.DataFrame(HF_ROWS).write_parquet(
        tmp_path / "hub.parquet",
        metadata={"huggingface": json.dumps({"info": {"features": features(["Lamps", "Rugs"])}})},
    )
    columns = {"item_id": "#", "title": "item_id"}
    hub = import_huggingface(tmp_path / "hub.parquet", tmp_path / "hub", columns=columns)
    assert [(item.item_id, item.title) for item in hub] == [("1", "a"), ("2", "b"), ("3", "c")]
    assert [item.category for item in hub] == ["Rugs", "Lamps", ""]


def test_shards_are_counted_and_splits_kept_apart(tmp_path: Path) -> None:
    data = tmp_path / "hub" / "data"
    data.mkdir(parents=True)
    for number in range(2):
        pl.DataFrame({"item_id": [f"a{number}"]}).write_parquet(
            data / f"train-{number:05}-of-00002.parquet"
        )
    pl.DataFrame({"item_id": ["z"]}).write_parquet(data / "test-00000-of-00001-af3c.parquet")
    with pytest.raises(CatalogError, match="of the splits test, train; name one"):
        import_huggingface(tmp_path / "hub", tmp_path / "out")
    one = import_huggingface(tmp_path / "hub", tmp_path / "out", part="train")
    assert [item.item_id for item in one] == ["a0", "a1"]
    (data / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(CatalogError, match="lacks 1 of 2 shards, the first train-00001-of-00002"):
        import_huggingface(tmp_path / "hub", tmp_path / "out", part="train")


def test_a_list_of_class_labels_and_a_transform(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"item_id": datasets.Value("string"),
         "tags": datasets.Sequence(datasets.ClassLabel(names=["x", "y"]))}
    )  # fmt: skip
    told = datasets.Dataset.from_dict({"item_id": ["1", "2"], "tags": [[1, 0], [-1]]}, features)
    told.save_to_disk(str(tmp_path / "saved"))
    catalog = import_huggingface(tmp_path / "saved", tmp_path / "out", attributes=["tags"])
    assert [item.attributes for item in catalog] == [{"tags": "y, x"}, {}]
    made = told.with_transform(lambda rows: {**rows, "title": ["T"] * len(rows["item_id"])})
    assert [item.title for item in Catalog.from_rows(made)] == ["T", "T"]


def test_items_tuples_with_names_and_records_are_rows() -> None:
    items = Catalog.from_rows(ROWS).items
    assert Catalog.from_rows(items).items == items
    pair = namedtuple("pair", ["query_id", "target_id"])
    assert len(Catalog.from_rows(iter(items), [pair("1", "2")]).pairs) == 1
    records = np.array([("1", 2.5)], dtype=[("item_id", "U4"), ("price", "f8")])
    assert Catalog.from_rows(records)[0].price == 2.5


def test_a_dataset_dict_names_its_parts(tmp_path: Path) -> None:
    held = tmp_path / "shop/items"
    for split in ("train", "test"):
        saved(held / split, HF_ROWS, ["Lamps", "Rugs"])
    (held / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(CatalogError, match="items/train, items/test"):
        Catalog.load(tmp_path / "shop")
    with pytest.raises(CatalogError, match="name one, as in --set part=train"):
        import_huggingface(held, tmp_path / "out")
    with pytest.raises(CatalogError, match="'val'; use one of train, test"):
        import_huggingface(held, tmp_path / "out", part="val")
    assert len(import_huggingface(held, tmp_path / "out", part="test")) == 3
    with pytest.raises(CatalogError, match="import huggingface"):
        Catalog.load(held / "train")


def test_datasets_of_the_library_itself(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["Lamps", "Rugs"])
    kinds = datasets.Features(
        {"item_id": datasets.Value("string"), "category": names, "image": datasets.Image()}
    )
    rows = {name: [row[name] for row in HF_ROWS[:2]] for name in ("item_id", "category", "image")}
    rows["image"] = [{"bytes": photo(), "path": None}, None]
    own = datasets.Dataset.from_dict(rows, features=kinds)
    for told in (own, own.select([0, 1]), own.to_iterable_dataset()):
        catalog = Catalog.from_rows(told, strict=True)
        assert [item.category for item in catalog] == ["Rugs", "Lamps"]
        assert decode_image(catalog[0].images[0]).size == (9, 8)
    assert Catalog.from_rows(own)[0].images == (photo(),)  # undecoded
    with pytest.raises(
        CatalogError, match=r"of the splits train; give one of them, as in dataset\["
    ):
        Catalog.from_rows(datasets.DatasetDict(train=own))
    own.save_to_disk(str(tmp_path / "shop/items"))
    assert [item.category for item in Catalog.load(tmp_path / "shop")] == ["Rugs", "Lamps"]


MODES = [
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "I;16B",
    "I;16L",
]


@pytest.mark.parametrize("mode", MODES)
def test_a_pillow_image_of_any_mode_is_read(mode: str) -> None:
    picture = Image.new(mode, (5, 4))
    (item,) = Catalog.from_rows(
        [{"item_id": "a", "image": picture}], strict=True, check_images=True
    )
    assert decode_image(item.images[0]).size == (5, 4)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "JPEG"),
        ("LAB", "TIFF"),
        ("F", "TIFF"),
        ("I;16", "PNG"),
        ("I", "TIFF"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("1", "PNG"),
    ],
)
def test_a_pillow_image_is_read_as_its_file_is(mode: str, kind: str) -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8).reshape(8, 8)
    picture = Image.merge("RGB", [Image.fromarray(ramp + shift) for shift in (0, 60, 120)])
    if mode == "LAB":
        picture = Image.merge("LAB", picture.split())
    elif mode == "F":
        picture = Image.fromarray((ramp / 255).astype(np.float32))
    elif mode.startswith("I"):
        picture = Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.int32) * 200)
    else:
        picture = picture.convert(mode)
    if mode == "P":
        picture.info["transparency"] = 3
    buffer = BytesIO()
    picture.save(buffer, kind, exif=_turned())
    stored = Image.open(BytesIO(buffer.getvalue()))
    (item,) = Catalog.from_rows([{"item_id": "a", "image": stored}], strict=True)
    one, two = decode_image(item.images[0]), decode_image(buffer.getvalue())
    assert np.array_equal(np.asarray(one), np.asarray(two))


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_broken_pillow_image_names_its_item() -> None:
    buffer = BytesIO()
    Image.linear_gradient("L").save(buffer, "JPEG")
    cut = Image.open(BytesIO(buffer.getvalue()[: len(buffer.getvalue()) // 2]))
    catalog = Catalog.from_rows([{"item_id": "a", "image": cut}, {"item_id": "b"}])
    assert [len(item.images) for item in catalog] == [0, 0]
    (entry,) = catalog.quarantine
    assert (entry.item_id, entry.rule) == ("a", "unreadable image")

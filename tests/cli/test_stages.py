"""Laws of stages: what is done is skipped, what changed is done again, and what rests on it too."""

from __future__ import annotations

from pathlib import Path

from tgqformer.cli.demo import Stages, digest


def test_a_stage_is_done_only_after_it_was_finished(tmp_path: Path) -> None:
    stages, out = Stages(tmp_path), tmp_path / "out"
    assert not stages.done("draw", {"seed": 0}, out)
    stages.finish("draw", {"seed": 0}, seconds=1.5)
    assert not stages.done("draw", {"seed": 0}, out), "its output is not there"
    out.touch()
    assert stages.done("draw", {"seed": 0}, out)
    assert not stages.done("draw", {"seed": 1}, out), "its input changed"
    assert not stages.done("train", {"seed": 0}, out)


def test_the_record_outlives_the_process(tmp_path: Path) -> None:
    Stages(tmp_path).finish("draw", {"path": tmp_path}, seconds=1.5)
    again = Stages(tmp_path)
    assert again.done("draw", {"path": tmp_path})
    assert again.facts("draw")["seconds"] == 1.5
    assert again.facts("train") == {}


def test_a_damaged_record_means_that_nothing_is_done(tmp_path: Path) -> None:
    Stages(tmp_path).finish("draw", {})
    (tmp_path / "stages.json").write_text('{"draw": {"dig')
    assert not Stages(tmp_path).done("draw", {})


def test_a_digest_knows_every_input_and_no_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest(i) for i in ({}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"})}) == 5

"""The law of `demo`: a report at its end, nothing done twice, and what is gone made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

Digests = Callable[[Path], dict[str, str]]


def test_demo_leaves_a_report_does_nothing_twice_and_goes_on_where_it_was_stopped(
    tmp_path: Path, tgqformer, digests: Digests
) -> None:
    out = tmp_path / "demo"
    options = ["--items", 60, "--size", 48, "--preset", "tiny", "--set", "training.steps=2", "-q"]
    code, told, err = tgqformer("demo", "--out", out, *options)
    assert code == 0, err
    assert "tgqformer similar" in told
    assert "<svg" in (out / "report.html").read_text()
    before = {name: digest for name, digest in digests(out).items() if name != "report.html"}
    times = {name: (out / name).stat().st_mtime_ns for name in before}
    assert tgqformer("demo", "--out", out, *options)[0] == 0
    assert {name: (out / name).stat().st_mtime_ns for name in before} == times
    code, _, err = tgqformer("demo", "--out", out, *options, "--set", "training.steps=3")
    assert (code, err.count("\n"), "another --out" in err) == (2, 1, True)

    whole = (out / "embeddings.parquet").read_bytes()
    (out / "embeddings.parquet").unlink()
    shutil.rmtree(out / "evaluation" / "frozen")
    assert tgqformer("demo", "--out", out, *options)[0] == 0
    assert (out / "embeddings.parquet").read_bytes() == whole
    assert (out / "evaluation" / "frozen" / "evaluation.json").exists()

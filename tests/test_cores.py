"""Laws of `tgqformer.cores`: no more than the process may use, and no more than it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tgqformer import cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("6400000 100000", 8),
        ("max 100000", 8),
        ("nonsense", 8),
        (None, 8),
    ],
)
def test_a_containers_quota_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cores.cores() == expected


@pytest.mark.parametrize(
    ("told", "expected"), [("1", 1), ("3,2", 3), ("64", 16), ("0", 16), ("many", 16), ("", 16)]
)
def test_threads_for_numbers_are_as_many_as_told(
    monkeypatch: pytest.MonkeyPatch, told: str, expected: int
) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 40)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert (cores.product_threads(), cores.reading_threads()) == (expected, 16)

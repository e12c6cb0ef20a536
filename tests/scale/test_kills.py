"""Whatever is killed and started again ends as if nothing had happened (`benchmarks/kills.py`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def killed(out: Path, kills: int, *options: str) -> dict[str, dict[str, int]]:
    command = [sys.executable, str(SCRIPT), "--kills", str(kills), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    work: dict[str, dict[str, int]] = json.loads(out.read_text())["work"]
    assert all(told["kills"] == kills for told in work.values())
    return work


@pytest.mark.timeout(900)
def test_a_kill_of_an_upsert_an_optimize_and_a_table_of_neighbours_loses_nothing(tmp_path):
    work = killed(tmp_path / "out.json", 1, "--only", "upsert,optimize,neighbors")
    assert len(work) == 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_forty_kills_of_each_lose_nothing(tmp_path):
    assert len(killed(tmp_path / "out.json", 40, "--seed", "1")) == 5

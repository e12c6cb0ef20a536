"""Laws of the Ray engine on a local cluster of two actors: one process's shards, restartable."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the [ray] extra"),
]
ENV = {**os.environ, "RAY_raylet_start_wait_time_s": "300", "OMP_NUM_THREADS": "1"}


def embed(model: Path, catalog: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tgqformer", "embed", str(model), str(catalog), "--out"]
    fixed = ["--shard-size", "6", "--batch-size", "4", "--compute", "float32", "-q", *options]
    return subprocess.Popen([*command, str(out), *fixed], env=ENV, start_new_session=True)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_actors_give_the_shards_of_one_process_and_a_kill_loses_nothing(
    embedder, items, tmp_path
):
    model, catalog, out = tmp_path / "model", tmp_path, tmp_path / "ray"
    embedder.save_pretrained(model)
    columns = {
        "item_id": [item.item_id for item in items],
        "title": [item.title for item in items],
        "brand": [item.brand for item in items],
        "images": [[f"images/{photo.name}" for photo in item.images] for item in items],
    }
    pl.DataFrame(columns).write_parquet(catalog / "items.parquet")
    assert embed(model, catalog, tmp_path / "one").wait(timeout=1500) == 0

    killed = embed(model, catalog, out, "--engine", "ray")
    while killed.poll() is None and len(list(out.glob("shard-*"))) < 2:
        time.sleep(0.05)
    if killed.poll() is None:
        os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(list(out.glob("shard-*"))) >= 2
    assert embed(model, catalog, out, "--engine", "ray").wait(timeout=1500) == 0
    assert digests(out) == digests(tmp_path / "one")

"""How long the command line takes to answer, beside a Python that does nothing.

python benchmarks/startup.py [--rounds 5] [--out startup.json]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import options, put

from tgqformer.retrieval.embeddings import EmbeddingWriter

START = ["-m", "tgqformer"]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vectors, store = Path(folder) / "vectors.parquet", Path(folder) / "store"
        with EmbeddingWriter(vectors, dims=8) as writer:
            rows = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
            writer.write([f"i{n}" for n in range(100)], rows)
        subprocess.run([sys.executable, *START, "index", "build", store, vectors], check=True)
        commands = {
            "python -c pass": ["-c", "pass"],
            "tgqformer --help": [*START, "--help"],
            "tgqformer train --help": [*START, "train", "--help"],
            "tgqformer presets": [*START, "presets"],
            "tgqformer index info": [*START, "index", "info", str(store)],
            "tgqformer index search --id": [*START, "index", "search", str(store), "--id", "i1"],
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(asked.rounds):
            for name, command in commands.items():
                took[name].append(timed(command))
    found = {name: _best(times) for name, times in took.items()}
    put({"rounds": asked.rounds, "commands": found}, asked.out)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and processor seconds of a Python of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _best(times: list[tuple[float, float]]) -> dict[str, Any]:
    wall, cpu = zip(*times)
    return {"seconds": min(wall), "cpu_seconds": min(cpu)}


if __name__ == "__main__":
    main()

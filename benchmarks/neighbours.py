"""The table of all neighbours beside FAISS's flat index asked in one go: time and peak memory.

    python benchmarks/neighbours.py                        134,000 x 256, k = 100: the whole table
    python benchmarks/neighbours.py --items 1000000 --part

Each in a process of its own, one after the other. Ours is `neighbors`, which leaves each item
itself out, scores by float64 and writes the Parquet file.

`--part` measures ours on the first two blocks of the table, with the lists of all rows in memory:
the first takes the sampling in addition; each has as many products as there are blocks after it,
and its own candidates to score again. FAISS is asked for the neighbours of one block, and takes as
many times longer as there are blocks. The writing of the file is left out of both. Vectors are
drawn around random centres, one for each hundred.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import apart, options, put, ratios, timed, told

from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.neighbour_table import write_neighbours
from tgqformer.retrieval.neighbours import NeighbourSearch
from tgqformer.retrieval.scores import Vectors, blocks, unit

BLOCK = 4096
ALIKE = 64  # rows whose lists are compared


def drawn(items: int, dims: int, seed: int = 0) -> Vectors:
    """Unit vectors [items, dims] around one centre for each hundred, made in blocks."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, items // 100), dims), dtype=np.float32)
    vectors = np.empty((items, dims), dtype=np.float32)
    for start, stop in blocks(items, 16_384):
        noise = rng.standard_normal((stop - start, dims), dtype=np.float32)
        vectors[start:stop] = unit(centres[rng.integers(0, len(centres), stop - start)] + noise)
    return vectors


def flat(vectors: Vectors) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


class Timed(NeighbourSearch):
    """Tells what of a block's time falls to scoring its candidates again."""

    settling = (0.0, 0.0)

    def _settled(self, *arguments: Any) -> Any:
        found: list[Any] = []
        self.settling = timed(lambda: found.append(super(Timed, self)._settled(*arguments)))
        return found[0]


def ours_part(items: int, dims: int, k: int) -> dict[str, Any]:
    """The whole table from its first two blocks."""
    search = Timed(drawn(items, dims), k, block=BLOCK)
    steps, total = search.search(), len(search.blocks())
    found: list[Any] = []
    told("the first block")
    first = timed(lambda: found.append(next(steps)))
    told("the second block")
    second = timed(lambda: found.append(next(steps)))
    wall, cpu = (
        one + (total - 1) * settling + (two - settling) * total / 2
        for one, two, settling in zip(first, second, search.settling)
    )
    rows = [row[:k].tolist() for row in found[0][2][:ALIKE]]
    measured = [first[0], second[0], search.settling[0]]
    return {"seconds": wall, "cpu_seconds": cpu, "measured_seconds": measured, "rows": rows}


def faiss_part(items: int, dims: int, k: int) -> dict[str, Any]:
    """The same of FAISS, from the neighbours of one block."""
    vectors = drawn(items, dims)
    index = flat(vectors)
    index.search(vectors[:ALIKE], k + 1)
    found: list[Any] = []
    wall, cpu = timed(lambda: found.append(index.search(vectors[:BLOCK], k + 1)[1]))
    rows = [[row for row in found[0][n].tolist() if row != n][:k] for n in range(ALIKE)]
    times = items / BLOCK
    return {
        "seconds": wall * times,
        "cpu_seconds": cpu * times,
        "measured_seconds": [wall],
        "rows": rows,
    }


def ours_whole(items: int, dims: int, k: int) -> dict[str, Any]:
    """Ours, the table written to disk."""
    embeddings = Embeddings([f"item-{row:09d}" for row in range(items)], drawn(items, dims))
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "table.parquet"
        for done, total in write_neighbours(embeddings, out, k, block=BLOCK):
            if done % 8 == 0:
                told(f"{done} of {total} blocks, {time.process_time() - cpu:.0f} cpu seconds")
        size = out.stat().st_size
    return {**_took(start, cpu), "bytes": size}


def faiss_whole(items: int, dims: int, k: int) -> dict[str, Any]:
    """FAISS in one call."""
    vectors = drawn(items, dims)
    index = flat(vectors)
    start, cpu = time.perf_counter(), time.process_time()
    index.search(vectors, k + 1)
    return _took(start, cpu)


def _took(start: float, cpu: float) -> dict[str, Any]:
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=134_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--part", action="store_true")
    asked = parser.parse_args()
    size = (asked.items, asked.dims, asked.k)
    figures: dict[str, Any] = dict(zip(("items", "dims", "k"), size))
    both = (ours_part, faiss_part) if asked.part else (ours_whole, faiss_whole)
    figures["ways"] = {name: apart(way, *size) for name, way in zip(("tgqformer", "faiss"), both)}
    figures["ratios"] = ratios(figures["ways"], "tgqformer")
    if asked.part:
        mine, theirs = (way.pop("rows") for way in figures["ways"].values())
        figures["shared"] = min(len(set(a) & set(b)) for a, b in zip(mine, theirs)) / asked.k
    put(figures, asked.out)


if __name__ == "__main__":
    main()

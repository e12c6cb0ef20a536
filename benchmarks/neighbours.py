"""The table of all neighbours beside FAISS's flat index asked in one go: time and peak memory.

    python benchmarks/neighbours.py                       134,000 x 256, k = 100: a part, in turns
    python benchmarks/neighbours.py --whole               the whole table, both at the same time
    python benchmarks/neighbours.py --items 1000000 --queries 1024 --rounds 1

The part: the same rows' neighbours, round by round in turns; the whole takes as many times longer
as it has more rows, since each row is compared with all. Ours is `NeighbourSearch`, which leaves
each item itself out and scores by float64; with `--whole` it also writes the Parquet file. Vectors
are drawn around random centres, one for each hundred. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from measuring import apart, in_turns, options, put, ratios, told

from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.neighbour_table import write_neighbours
from tgqformer.retrieval.neighbours import NeighbourSearch
from tgqformer.retrieval.scores import Vectors, blocks, unit

BLOCK = 4096


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


def part(items: int, dims: int, k: int, queries: int, rounds: int) -> dict[str, Any]:
    """Both ways in turns over the same rows."""
    vectors = drawn(items, dims)
    search, index = NeighbourSearch(vectors, k, block=BLOCK), flat(vectors)
    rows = np.arange(queries)

    def ours() -> None:
        for start, stop in blocks(queries, BLOCK):
            search.search(rows[start:stop])

    ways = {"tgqformer": ours, "faiss": lambda: index.search(vectors[:queries], k + 1)}
    search.search(rows[:64])
    index.search(vectors[:64], k + 1)
    figures = in_turns(ways, queries, rounds, warm=False)
    found = search.search(rows[:64])[1]
    theirs = index.search(vectors[:64], k + 1)[1]
    same = [len(set(a) & set(b)) for a, b in zip(found.tolist(), theirs.tolist())]
    return {"ways": figures, "ratios": ratios(figures, "tgqformer"), "shared": min(same) / k}


def ours_part(items: int, dims: int, k: int, queries: int) -> dict[str, Any]:
    """Ours alone on a part, for its memory."""
    search = NeighbourSearch(drawn(items, dims), k, block=BLOCK)
    for start, stop in blocks(queries, BLOCK):
        search.search(np.arange(start, stop))
    return {}


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
    parser.add_argument("--queries", type=int, default=4096, help="of the part")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--whole", action="store_true")
    asked = parser.parse_args()
    size = (asked.items, asked.dims, asked.k)
    figures: dict[str, Any] = dict(zip(("items", "dims", "k"), size))
    if asked.whole:
        # at the same time, so that each has the same share of a machine that others use too
        with ThreadPoolExecutor(2) as both:
            ways = {"tgqformer": ours_whole, "faiss": faiss_whole}
            running = {name: both.submit(apart, way, *size) for name, way in ways.items()}
            figures["ways"] = {name: future.result() for name, future in running.items()}
        figures["ratios"] = ratios(figures["ways"], "tgqformer")
    else:
        figures["queries"] = asked.queries
        figures |= part(*size, asked.queries, asked.rounds)
        figures["peak_megabytes"] = apart(ours_part, *size, asked.queries)["peak_megabytes"]
    put(figures, asked.out)


if __name__ == "__main__":
    main()

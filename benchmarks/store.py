"""Search and store on this machine: time, memory and recall, each beside a peer.

    python benchmarks/store.py --out store.json            the paper's pool, 134,000 x 256
    python benchmarks/store.py --items 1000000 --out big.json
    python benchmarks/store.py --items 4000 --writes 20    a smoke test

Vectors are drawn around random centres, so that neighbours are nearer than chance, as a shop's are.
Peers of the exact top 100, in turns: FAISS `IndexFlatIP` asked in one go, and numpy in blocks.
Memory is the peak of a process of its own for each part.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import apart, in_turns, options, put, told
from neighbours import drawn

from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.flat import FlatIndex
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.retrieval.scores import Vectors, blocks
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Columns, Store

K = 100
BLOCK = 16_384
FLAT = "faiss IndexFlatIP"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=134_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000, help="of the exact searches")
    parser.add_argument("--writes", type=int, default=200, help="small upserts and deletes")
    parser.add_argument("--rounds", type=int, default=3, help="of the exact searches")
    parser.add_argument("--only", choices=("exact", "store"))
    parser.add_argument("--kinds", default="hnsw,ivf", help="sidecars to build")
    given = parser.parse_args()
    figures: dict[str, Any] = {
        "items": given.items,
        "dims": given.dims,
        "k": K,
        "queries": given.queries,
    }
    size = (given.items, given.dims)
    if given.only != "store":
        figures["exact"] = exact(*size, given.queries, given.rounds)
    if given.only != "exact":
        figures |= stored(size, given.writes, given.kinds)
    put(figures, given.out)


def stored(size: tuple[int, int], count: int, kinds: str) -> dict[str, Any]:
    """What is done with a store of that size, each part in a process of its own."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        for name, part in [("build", build), ("writes", writes)]:
            told(f"store: {name}")
            figures[name] = apart(part, root, *size, count)
        for kind in filter(None, kinds.split(",")):
            told(f"sidecar: {kind}")
            figures[f"sidecar {kind}"] = apart(sidecar, root, kind)
    return figures


def names(items: int) -> list[str]:
    return [f"item-{row:09d}" for row in range(items)]


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


# -- exact search --------------------------------------------------------------------------------


def exact(items: int, dims: int, queries: int, rounds: int) -> dict[str, Any]:
    """All peers in turns: many queries at once, and one alone."""
    vectors = drawn(items, dims)
    asked = vectors[:: max(1, items // queries)][:queries].copy()
    asks = {name: search(vectors) for name, search in PEERS.items()}
    figures: dict[str, Any] = {}
    for name, some in (("many at once", asked), ("one alone", asked[:1])):
        ways = {peer: (lambda a=ask, q=some: a(q)) for peer, ask in asks.items()}
        found = in_turns(ways, len(some), rounds)
        figures[name] = {"ways": found}
        figures[name]["ratios"] = {
            peer: {k: found[FLAT][k] / found[peer][k] for k in ("seconds", "cpu_seconds")}
            for peer in PEERS
        }
    return figures


def by_flat(vectors: Vectors) -> Callable[[Vectors], Any]:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, K)


def by_numpy(vectors: Vectors) -> Callable[[Vectors], Any]:
    def ask(queries: Vectors) -> None:
        for start, stop in blocks(len(queries), 64):
            scores = queries[start:stop] @ vectors.T
            best = np.argpartition(-scores, min(K, scores.shape[1] - 1), axis=1)[:, :K]
            np.take_along_axis(scores, best, axis=1).sort(axis=1)

    return ask


def by_exact_index(vectors: Vectors) -> Callable[[Vectors], Any]:
    index = ExactIndex(names(len(vectors)), vectors)
    return lambda queries: index.search(queries, K)


def by_mirror(vectors: Vectors) -> Callable[[Vectors], Any]:
    mirror = filled(vectors, "float32")
    return lambda queries: mirror.search(queries, K)


def by_int8_mirror(vectors: Vectors) -> Callable[[Vectors], Any]:
    mirror = filled(vectors, "int8")
    return lambda queries: mirror.search(queries, K)


def filled(vectors: Vectors, precision: Any) -> FlatIndex:
    mirror = FlatIndex(vectors.shape[1], precision)
    ids = names(len(vectors))
    for start, stop in blocks(len(ids), BLOCK):
        known = [metadata(row) for row in range(start, stop)]
        columns = zip(*((m.brand, m.category, m.price, m.in_stock) for m in known))
        rows = Columns(range(start, stop), ids[start:stop], *columns, vectors[start:stop])
        mirror.put(rows, room=len(ids))
    return mirror


PEERS = {
    FLAT: by_flat,
    "numpy": by_numpy,
    "ExactIndex": by_exact_index,
    "mirror float32": by_mirror,
    "mirror int8": by_int8_mirror,
}


# -- the store -----------------------------------------------------------------------------------


def metadata(row: int) -> Metadata:
    return Metadata(
        "", f"brand {row % 500}", f"Home > Part {row % 40}", row % 97 + 0.5, row % 5 > 0
    )


def build(root: Path, items: int, dims: int, _: int) -> dict[str, Any]:
    vectors, ids = drawn(items, dims), names(items)

    def batches():
        for start, stop in blocks(items, BLOCK):
            known = [metadata(row) for row in range(start, stop)]
            yield ids[start:stop], vectors[start:stop], known

    took = seconds(lambda: Store.build(root, batches(), dims=dims))
    again = seconds(lambda: Store.build(root, batches(), dims=dims, replace=True))
    figures = {"seconds": took, "rebuild_seconds": again, "bytes": Store(root).info().bytes}
    for precision in ("float32", "int8"):
        start = time.perf_counter()
        index = LocalIndex(root, precision=precision, sidecar=False)
        figures[f"open_{precision}_seconds"] = time.perf_counter() - start
        figures[f"mirror_{precision}_bytes"] = index.flat.bytes
        index.close()
    return figures


def writes(root: Path, items: int, dims: int, count: int) -> dict[str, Any]:
    index = LocalIndex(root, sidecar=False)
    fresh = drawn(max(count, 1000), dims, seed=1)
    rng = np.random.default_rng(2)
    took: dict[str, list[float]] = {name: [] for name in ("upsert", "delete", "search", "filtered")}
    largest = 0
    where = Filter(categories=("Home > Part 7",), in_stock=True)
    for step in range(count):
        item = f"item-{rng.integers(items):09d}"
        vector = fresh[step % len(fresh)][None]
        took["upsert"].append(seconds(index.upsert, [item], vector, [metadata(step)]))
        took["search"].append(seconds(index.search, vector, K))
        took["filtered"].append(seconds(index.search, vector, K, where))
        gone = f"item-{rng.integers(items):09d}"
        took["delete"].append(seconds(index.delete, [gone]))
        largest = max(largest, index.info().bytes)
    many = [f"new-{row}" for row in range(1000)]
    tidy = seconds(index.optimize)
    compacted = index.info().bytes
    thousand = seconds(index.upsert, many, fresh[:1000], [metadata(0)] * 1000)
    return {
        **{f"{name}_milliseconds": 1000 * statistics.median(t) for name, t in took.items()},
        **{f"{name}_p99_milliseconds": 1000 * np.quantile(t, 0.99) for name, t in took.items()},
        "upsert_of_1000_seconds": thousand,
        "optimize_seconds": tidy,
        "largest_bytes": largest,
        "compacted_bytes": compacted,
        "growth": largest / compacted,
    }


def sidecar(root: Path, kind: Any) -> dict[str, Any]:
    index = LocalIndex(root, sidecar=False)
    made = index.build_sidecar(kind, queries=200).manifest
    return {
        "recall": dict(made.recall),
        "milliseconds": made.milliseconds,
        "exact_milliseconds": made.exact_milliseconds,
        "build_seconds": made.build_seconds,
        "bytes": made.bytes,
        "effort": made.effort,
    }


if __name__ == "__main__":
    main()

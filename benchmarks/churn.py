"""10,000 small upserts and deletes mixed with queries: every answer right, the folder small.

    python benchmarks/churn.py [--writes 10000] [--out churn.json]

A write changes one to eight items. After every fifth one a query, filtered or not, is asked of the
index that writes or of a second one that follows it, and compared with an exact index built at that
moment from what was written: ids, scores and order. A thread looks at the folder's size all the
time, also while the store tidies itself up; what the size would be at its least is found by
optimizing a copy, at every tenth of the way.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from measuring import options, put, told

from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.retrieval.scores import unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store

DIMS, ITEMS, K = 64, 2000, 10
CATEGORIES = tuple(f"Home > Part {n}" for n in range(8))

State = dict[str, tuple[np.ndarray, Metadata]]


def folder_size(folder: Path) -> int:
    """Bytes of a folder's files."""
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


class Watch(threading.Thread):
    """The largest size of a folder since `take` was last called."""

    def __init__(self, folder: Path, every: float) -> None:
        super().__init__(daemon=True)
        self.folder, self.every, self.most, self.stopped = folder, every, 0, False

    def run(self) -> None:
        while not self.stopped:
            self.most = max(self.most, folder_size(self.folder))
            time.sleep(self.every)

    def take(self) -> int:
        most, self.most = self.most, folder_size(self.folder)
        return max(most, self.most)


def made(rng: random.Random) -> tuple[np.ndarray, Metadata]:
    """A vector, from few enough that scores tie at times, and metadata."""
    row = unit(np.random.default_rng(rng.randrange(2000)).standard_normal((1, DIMS)))[0]
    return row, Metadata(category=rng.choice(CATEGORIES), price=rng.randrange(100))


def expected(
    state: State, query: np.ndarray, where: Filter | None, own: str | None
) -> list[tuple[str, float]]:
    """The answer of an exact index built now."""
    ids = [i for i in sorted(state) if i != own and (where is None or where.matches(state[i][1]))]
    if not ids:
        return []
    index = ExactIndex(ids, np.stack([state[i][0] for i in ids]))
    scores, rows = index.search(query[None], K)
    return [(ids[r], s) for r, s in zip(rows[0].tolist(), scores[0].tolist()) if r >= 0]


def compacted(root: Path) -> int:
    """Bytes of the store once it is tidied up, by way of a copy."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root, Path(folder) / "copy")
        Store(Path(folder) / "copy").optimize()
        return folder_size(Path(folder) / "copy")


def churn(root: Path, writes: int, seed: int, save: Callable[[dict[str, Any]], None]) -> None:
    """Write and ask; hand the figures to `save` at every tenth of the way."""
    rng = random.Random(seed)
    state: State = {f"i{n}": made(rng) for n in range(0, 2 * ITEMS, 2)}
    vectors, known = zip(*state.values())
    Store.build(root, [(list(state), np.stack(vectors), known)], dims=DIMS)
    index, follower = LocalIndex(root), LocalIndex(root, sidecar=False)
    watch = Watch(root, 0.2)
    watch.start()
    took: dict[str, list[float]] = {"upsert": [], "delete": [], "query": []}
    windows: list[dict[str, int]] = []
    wrong = queries = 0
    for write in range(writes):
        ids = [f"i{n}" for n in rng.sample(range(2 * ITEMS), rng.randint(1, 8))]
        kind = "upsert" if rng.random() < 0.5 else "delete"
        start = time.perf_counter()
        if kind == "upsert":
            fresh = {item: made(rng) for item in ids}
            vectors, known = zip(*fresh.values())
            index.upsert(ids, np.stack(vectors), known)
            state |= fresh
        else:
            index.delete(ids)
            state = {i: entry for i, entry in state.items() if i not in ids}
        took[kind].append(time.perf_counter() - start)
        if write % 5 == 0:
            query = made(rng)[0]
            where = Filter(categories=CATEGORIES[:3], max_price=60) if queries % 3 == 2 else None
            own = rng.choice(ids)
            asked = (index, follower)[queries % 2]
            start = time.perf_counter()
            found = asked.search(query[None], K, where, exclude=[own])[0]
            took["query"].append(time.perf_counter() - start)
            queries += 1
            wrong += [tuple(n) for n in found] != expected(state, query, where, own)
        if (write + 1) % max(1, writes // 10) == 0:
            windows.append({"largest": watch.take(), "compacted": compacted(root)})
            told(f"{write + 1} writes, {wrong} of {queries} answers wrong, {windows[-1]}")
            growth = max(w["largest"] / w["compacted"] for w in windows)
            middles = {name: 1000 * statistics.median(times) for name, times in took.items()}
            figures = {"writes": write + 1, "items": len(state), "dims": DIMS, "queries": queries}
            figures |= {"wrong_answers": wrong, "largest_by_compacted": growth}
            save(figures | {"milliseconds": middles, "windows": windows})
    watch.stopped = True
    reopened = LocalIndex(root)
    for _ in range(queries):
        query = made(rng)[0]
        found = reopened.search(query[None], K)[0]
        wrong += [tuple(n) for n in found] != expected(state, query, None, None)
    told(f"reopened: {wrong} of {2 * queries} answers wrong")
    save({**figures, "wrong_answers": wrong, "queries": 2 * queries})


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    seed = {"seed": asked.seed}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        churn(root, asked.writes, asked.seed, lambda figures: put(seed | figures, asked.out))


if __name__ == "__main__":
    main()

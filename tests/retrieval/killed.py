"""Write to a store, be killed at a random moment, and look whether all that was told is there.

    python killed.py STORE KILLS SEED

Each writer is a fork, so that lancedb, which this process only imports, is loaded once. A writer
appends a line to a journal before each write and another after it. The last line of the output is
JSON; what is wrong ends the script with a message.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # lancedb tells every fork that it is one

import lancedb  # noqa: E402, F401
import numpy as np  # noqa: E402

from tgqformer.retrieval.filters import Metadata  # noqa: E402
from tgqformer.retrieval.local import LocalIndex  # noqa: E402
from tgqformer.retrieval.store import LanceStore  # noqa: E402

DIMS, POOL = 4, 40


def vector(item: int, step: int) -> np.ndarray:
    return np.array([item, step, 1, -1], dtype=np.float32)


def writes(root: Path, journal: Path, seed: int, first: int) -> None:
    rng = random.Random(seed)
    store = LanceStore(root)
    with journal.open("a") as file:
        for step in range(first, first + 10_000):
            kind = rng.choices(["upsert", "delete", "optimize", "sidecar"], [6, 3, 2, 1])[0]
            items = rng.sample(range(POOL), rng.randint(1, 6))
            print(json.dumps(["start", step, kind, items]), file=file, flush=True)
            ids = [str(item) for item in items]
            if kind == "upsert":
                rows = np.stack([vector(item, step) for item in items])
                store.upsert(ids, rows, [Metadata(price=step)] * len(ids))
            elif kind == "delete":
                store.delete(ids)
            elif kind == "optimize":
                store.optimize()
            elif len(store):
                LocalIndex(root, sidecar=False).build_sidecar(queries=2)
            print(json.dumps(["done", step]), file=file, flush=True)


def expected(journal: Path) -> tuple[dict[str, int], dict[str, int] | None, int, int]:
    """The state after all that was told, the one with the last write too, counts of both."""
    state: dict[str, int] = {}
    begun: dict[str, int] | None = None
    started = done = 0
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        if entry[0] == "checked":
            state, begun = entry[1], None
        elif entry[0] == "start":
            _, step, kind, items = entry
            begun, started = dict(state), step
            for item in map(str, items):
                if kind == "upsert":
                    begun[item] = step
                elif kind == "delete":
                    begun.pop(item, None)
        elif begun is not None:
            state, begun, done = begun, None, done + 1
    return state, begun, started, done


def look(root: Path, journal: Path) -> None:
    """Compare the store with the journal, and note what a write cut short has come to."""
    index = LocalIndex(root)
    ids = index.mirror.ids()
    found = {i: int(v[1]) for i, v in zip(ids, index.mirror.vectors(ids))}
    for item, step in found.items():
        assert (index.mirror.vectors([item])[0] == vector(int(item), step)).all(), "a mixed row"
        assert index.store.metadata([item])[item].price == step, "metadata of another write"
    state, begun, _, _ = expected(journal)
    if found not in (state, begun):
        sys.exit(f"lost or invented: {found}, not {state} nor {begun}")
    with journal.open("a") as file:
        print(json.dumps(["checked", found]), file=file, flush=True)


def forked(work) -> int:
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def main() -> None:
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    journal = root.with_name("journal.jsonl")
    journal.touch()
    rng = random.Random(seed)

    def make() -> None:
        LanceStore.build(root, [], dims=DIMS)

    assert os.waitpid(forked(make), 0)[1] == 0, "the store could not be built"
    for kill in range(kills):
        first = expected(journal)[2] + 1
        done = expected(journal)[3]
        wanted = done + rng.randint(0, 4)
        child = forked(lambda f=first, k=kill: writes(root, journal, 1000 * seed + k, f))
        began = time.monotonic()
        while expected(journal)[2] < first or expected(journal)[3] < wanted:
            time.sleep(0.005)
        # Then at some moment of about one more write, however slow this machine is.
        written = expected(journal)[3] - done
        time.sleep(rng.uniform(0, 1.5) * (time.monotonic() - began) / (written + 3))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        assert os.waitpid(forked(lambda: look(root, journal)), 0)[1] == 0, f"after kill {kill}"
    print(json.dumps({"kills": kills, "acknowledged": expected(journal)[3]}))


main()

"""Run the benchmarks one after another and write docs/benchmarks.md: `make bench`.

    python benchmarks/run.py [--long] [--only training,startup]

Some twenty minutes on two idle cores; `--long` adds what takes hours: 200 kills, 10,000 small
writes, sidecars and a part of the table of 1 M items. One that fails is told of and does not stop
the rest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from page import PAGE, RESULTS, page

from tgqformer.files import write_text

HERE = Path(__file__).parent
QUICK = {
    "embedding": "embedding.py",
    "embedding-memory": "embedding.py --memory --items 96",
    "training": "training.py",
    "connector": "connector.py",
    "neighbours-134k": "neighbours.py",
    "search-134k": "store.py --only exact --queries 256",
    "store": "store.py --only store --items 20000 --writes 50",
    "growth": "growth.py",
    "startup": "startup.py",
    "gpu": "gpu.py",
}
LONG = {
    "neighbours-1m": "neighbours.py --items 1000000 --part",
    "store": "store.py --only store",
    "search-1m": "store.py --only exact --items 1000000 --queries 64 --rounds 2",
    "store-1m": "store.py --only store --items 1000000 --writes 50 --kinds ivf",
    "kills": "kills.py",
    "churn": "churn.py",
    "service": "service_load.py",
}
"""Name of the figures to script and options."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", default="", help="names of figures, with commas between")
    asked = parser.parse_args()
    known = QUICK | LONG if asked.long else LONG | QUICK
    names = asked.only.split(",") if asked.only else list(known if asked.long else QUICK)
    failed = []
    for name in names:
        script, *given = known[name].split()
        print(f"-- {name}: {script} {' '.join(given)}", flush=True)
        command = [sys.executable, str(HERE / script), *given]
        done = subprocess.run([*command, "--out", str(RESULTS / f"{name}.json")], check=False)
        failed += [name] * (done.returncode != 0)
    write_text(PAGE, page())
    print(f"Wrote {PAGE}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())

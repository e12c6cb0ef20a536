"""What the benchmarks share: taking turns, a process of its own, peak memory, the machine, JSON."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from tgqformer.cli.doctor import machine_facts
from tgqformer.cores import cores
from tgqformer.files import write_text

ROUNDS = 3

Way = Callable[[], object]


def options(summary: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark: `--out FILE`."""
    parser = argparse.ArgumentParser(description=(summary or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write JSON here instead of on stdout")
    return parser


def in_turns(
    ways: Mapping[str, Way], units: int, rounds: int = ROUNDS, *, warm: bool = True
) -> dict[str, Any]:
    """Time ways of doing the same: after a warm-up, rounds in which every way has its turn.

    What else the machine does falls on all of them alike. Processor time counts all threads and
    not the waiting for a core that somebody else has.

    Returns:
        For each way the median "seconds" and "cpu_seconds" of a round, "per_second" (units of
        work) and "spread" (slowest by fastest round).
    """
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values() if warm else ():
        way()
    for number in range(rounds):
        for name, way in ways.items():
            told(f"round {number + 1} of {rounds}: {name}")
            took[name].append(timed(way))
    return {name: _figures(times, units) for name, times in took.items()}


def _figures(times: list[tuple[float, float]], units: int) -> dict[str, float]:
    wall, cpu = (sorted(column) for column in zip(*times))
    middle = statistics.median(wall)
    return {
        "seconds": middle,
        "cpu_seconds": statistics.median(cpu),
        "per_second": units / middle,
        "spread": wall[-1] / wall[0],
    }


def timed(way: Way) -> tuple[float, float]:
    """Seconds and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - wall, time.process_time() - cpu


def ratios(figures: Mapping[str, Any], name: str) -> dict[str, dict[str, float]]:
    """How much faster `name` was than each other way, by the clock and by processor time."""
    own = figures[name]
    return {
        f"{name} / {other}": {
            "speed": found["seconds"] / own["seconds"],
            "cpu": found["cpu_seconds"] / own["cpu_seconds"],
        }
        for other, found in figures.items()
        if other != name
    }


def apart(part: Callable[..., Any], *arguments: Any) -> Any:
    """What `part` returns, a dict, from a process of its own, with "peak_megabytes" and time."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (part, arguments))


def _measured(part: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    return {**part(*arguments), "peak_megabytes": peak_megabytes()}


def peak_megabytes() -> int:
    """The most memory that this program held at once.

    Not `ru_maxrss`: that of a child begins with what its parent held when it was started.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    raise OSError("/proc/self/status tells no VmHWM; run this on Linux.")


def slope(sizes: list[int], values: list[float]) -> float:
    """The exponent e of values ~ sizes^e, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def told(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr, flush=True)


def surroundings() -> dict[str, Any]:
    """The machine, and how busy it was."""
    facts = {k: v for k, v in machine_facts().items() if k not in ("executable", "disk")}
    facts["system"] = platform.system()  # the release of a kernel names the machine, not its speed
    facts["memory"] = {"total": facts["memory"]["total"]}
    return {
        **facts,
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or cores(),
        "load_average": round(os.getloadavg()[0], 1),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


def put(figures: Mapping[str, Any], out: Path | None) -> None:
    """Write figures with the machine and the command that made them, to `out` or to stdout."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_plain(sys.argv[1:])])
    text = json.dumps({"command": command, "machine": surroundings(), **figures}, indent=1) + "\n"
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)


def _plain(arguments: list[str]) -> list[str]:
    """The arguments without `--out FILE`."""
    if "--out" not in arguments:
        return arguments
    place = arguments.index("--out")
    return arguments[:place] + arguments[place + 2 :]

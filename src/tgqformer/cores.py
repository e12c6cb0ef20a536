"""The processor: what it is, and how many of its cores this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of a core in each period
_MOST = 16  # threads: more of them wait for memory
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # that decide speed here


def cores() -> int:
    """The cores that this process may run on, or those that its container's quota is worth."""
    here = getattr(os, "sched_getaffinity", None)
    count = len(here(0)) if here else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        worth = -(-int(quota) // int(period))
    except (OSError, ValueError):  # no container, or one without a quota, which says "max"
        return count
    return max(1, min(count, worth))


def product_threads() -> int:
    """Threads for work on numbers: a core each, as many as OMP_NUM_THREADS allows, 16 at most."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(_MOST, cores(), int(told) if told.isdecimal() and int(told) else _MOST)


def reading_threads() -> int:
    """Threads for files and photos: one for each core, 16 at most."""
    return min(_MOST, cores())


def cpu() -> dict[str, Any]:
    """Return the CPU's name, the cores that this process may use, and the flags that matter."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    return {"name": name, "cores": cores(), "flags": [flag for flag in _FLAGS if flag in flags]}

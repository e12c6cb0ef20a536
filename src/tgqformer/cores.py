"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of a core in each period
_MOST = 16  # threads: more of them wait for memory


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

"""What this machine has, as plain facts for ``tgqformer doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tgqformer.cores import cores
from tgqformer.packaged import cache_root

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "faiss-cpu",
    "numpy",
    "polars",
    "pyarrow",
    "pillow",
)
# What CPUs say of themselves in /proc/cpuinfo and what of it decides speed here.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def facts() -> dict[str, Any]:
    """Return the machine's facts: system, CPU, memory, disk, GPUs, versions. Sizes in bytes."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpu": cpu(),
        "memory": memory(),
        "disk": disk(),
        "gpus": gpus(),
        "versions": {name: version(name) for name in ("tgqformer", *PACKAGES)},
    }


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
    return {"name": name, "cores": cores(), "flags": [flag for flag in FLAGS if flag in flags]}


def memory() -> dict[str, int]:
    """Return total and available memory in bytes; a container's limit counts as the total."""
    total = available = 0
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            key, value = line.split(":")
            if key == "MemTotal":
                total = int(value.split()[0]) * 1024
            elif key == "MemAvailable":
                available = int(value.split()[0]) * 1024
    except (OSError, ValueError):
        total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int(Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):
            continue
        total, available = min(total, limit), min(available, limit)
    return {"total": total, "available": available}


def disk() -> dict[str, int]:
    """Return the free bytes of the working folder and of the token cache's disk."""
    return {"here": _free(Path.cwd()), "cache": _free(cache_root())}


def gpus() -> list[dict[str, Any]]:
    """Return name and memory of each GPU that torch can use; empty where there is none."""
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": device.name, "memory": device.total_memory} for device in found]


def version(package: str) -> str | None:
    """Return an installed package's version, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free

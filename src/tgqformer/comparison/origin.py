"""Where a run comes from: the code's version and commit, and the machine, each as short text."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import tgqformer
from tgqformer.cores import cores


def origin() -> dict[str, str]:
    """ "version", "commit" ("" outside a checkout, "+" behind one with changes), "machine"."""
    return {"version": tgqformer.__version__, "commit": commit(), "machine": machine()}


def commit() -> str:
    """Of the checkout that the package is in."""
    folder = Path(__file__).parent
    known = _git(folder, "ls-files", Path(__file__).name)  # or the checkout is somebody else's
    head = _git(folder, "rev-parse", "--short=7", "HEAD") if known else ""
    return head + "+" * bool(head and _git(folder, "status", "--porcelain", "--", "."))


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> str:
    """ "NVIDIA H200", or "2 cores, Intel(R) Xeon(R) Processor"."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    count = cores()
    return f"{count} core{'s' * (count > 1)}, {' '.join((named or [name])[0].split())}"

"""Make the virtual environment of this checkout and install the package with its extras, once.

    python3 tools/setup_venv.py offline dev

Standard library only, since it runs before anything is installed. What was installed is written
into a stamp that carries the hash of pyproject.toml; while the hash stands, nothing is done. A lock
(on pyproject.toml) keeps two of these from working at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / os.environ.get("VENV", ".venv")
STAMP = VENV / "tgqformer-installed.json"
LOG = VENV / "install.log"
OLDEST = (3, 10)


def main(extras: list[str]) -> int:
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"Python {found} is too old; run make PYTHON=python3.11", file=sys.stderr)
        return 1
    with open(ROOT / "pyproject.toml") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = read_stamp()
        if installed.issuperset(extras):
            return 0
        return install(sorted(installed.union(extras)))


def read_stamp() -> set[str]:
    """Return the extras that stand for today's pyproject.toml; empty where none do."""
    try:
        stamp = json.loads(STAMP.read_text())
        if stamp["pyproject"] == pyproject_hash() and (VENV / "bin" / "python").exists():
            return set(stamp["extras"])
    except (OSError, ValueError, KeyError):
        pass
    return set()


def pyproject_hash() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def install(extras: list[str]) -> int:
    start = time.monotonic()
    print(f"Setting up {VENV.name} with [{','.join(extras)}], once; log in {LOG}", flush=True)
    python = VENV / "bin" / "python"
    if not python.exists():
        # --clear: a folder without a working interpreter is what an older setup left behind
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
        if made.returncode != 0:
            print(
                f"{sys.executable} cannot make a virtual environment; on Debian and Ubuntu "
                "install python3-venv, then run make again",
                file=sys.stderr,
            )
            return 1
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    # --no-compile: most of the bytecode would never be used; the first import makes what is
    command += ["--no-compile", "--progress-bar", "off", "-e", f".[{','.join(extras)}]"]
    if run_with_progress(command) != 0:
        tail = LOG.read_text(errors="replace").splitlines()[-20:]
        print("\n".join(tail), file=sys.stderr)
        print(f"The installation failed; the whole log is in {LOG}", file=sys.stderr)
        return 1
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps({"pyproject": pyproject_hash(), "extras": extras}))
    part.replace(STAMP)
    print(f"Set up in {time.monotonic() - start:.0f} s", flush=True)
    return 0


def run_with_progress(command: list[str]) -> int:
    """Run pip; its output goes to the log, and what it is at to the terminal, now and then."""
    pause = 0.2 if sys.stdout.isatty() else 10.0
    shown = 0.0
    with open(LOG, "w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            log.flush()
            text = line.strip()
            step = text.startswith(("Collecting", "Downloading", "Building", "Installing"))
            last = text.startswith("Installing collected packages")  # nothing is told after it
            if last or (step and time.monotonic() - shown >= pause):
                shown = time.monotonic()
                show(text[:76])
        code = process.wait()
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
    return code


def show(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K  {text}", end="", flush=True)
    else:
        print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Train in forked children that get killed, and go on; run by test_resume.py, once for all of it.

    python forks.py CATALOG OUT < configs.json

Forking after the imports makes a start cost nothing, so a run can be killed many times. The parent
starts no thread and runs no library code of its own. Prints one JSON object: scenario to facts.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

import tgqformer.training.trainer  # noqa: F401  (imported here, so that every fork has it)
from tgqformer.catalog.catalog import Catalog
from tgqformer.config import from_dict
from tgqformer.training import RunConfig, run, train

torch.set_num_threads(1)
CATALOG, OUT = Path(sys.argv[1]), Path(sys.argv[2])


def fork(work: Callable[[], object]) -> int:
    """Start `work` in a child; its exit code is 0 where it came to its end."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(child: int) -> int:
    """The signal that ended a child, or minus its exit code."""
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def training(config: dict, name: str) -> Callable[[], object]:
    def work() -> None:
        train(
            Catalog.load(CATALOG),
            from_dict(RunConfig, config),
            OUT / name,
            resume=True,
            cache_dir=OUT / "cache",
            device="cpu",
        )

    return work


def dying(work: Callable[[], object], at: int) -> Callable[[], object]:
    """Die at the n-th fsync: in the midst of a checkpoint, a best, or the model."""

    def patched() -> None:
        real, count = os.fsync, 0

        def fsync(descriptor: int) -> None:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        os.fsync = fsync
        work()

    return patched


def dying_before_the_summary(work: Callable[[], object]) -> Callable[[], object]:
    def patched() -> None:
        run._summary = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        work()

    return patched


def out_of_space(work: Callable[[], object], limit: int) -> Callable[[], object]:
    """No file may pass `limit` bytes, as on a disk that is nearly full."""

    def patched() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            work()
        except Exception as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            (OUT / "complaint").write_text(f"{type(error).__name__}: {error}")
            os._exit(3)

    return patched


def whole(config: dict, name: str) -> float:
    """An unbroken run, in seconds of CPU."""
    child = fork(training(config, name))
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime


def used_by(child: int) -> float:
    """Seconds of CPU that a child has had; more than it can have once it is gone."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def killed_at_random(config: dict, name: str, seconds: float, kills: int) -> int:
    """Kill a run at moments of its life; returns how many kills met it alive.

    Moments are told by the child's own CPU time, so that a busy machine changes nothing.
    """
    chance, met = random.Random(name), 0
    for _ in range(kills):
        moment = chance.uniform(0.15, 0.45) * seconds
        child = fork(training(config, name))
        while used_by(child) < moment:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        met += wait(child) == signal.SIGKILL
    assert wait(fork(training(config, name))) == 0
    return met


def killed_while_saving(config: dict, name: str, moments: list[int]) -> int:
    met = sum(wait(fork(dying(training(config, name), at))) == signal.SIGKILL for at in moments)
    assert wait(fork(training(config, name))) == 0
    return met


def main() -> None:
    configs = json.load(sys.stdin)
    gc.freeze()  # or each child's first collection walks, and copies, all that was imported
    told: dict[str, object] = {}
    for name in ("plain", "rich"):
        seconds = whole(configs[name], name)
        kills = killed_at_random(configs[name], f"{name} killed", seconds, 2)
        told[name] = {"kills": kills, "seconds": seconds}
    told["saving"] = {"kills": killed_while_saving(configs["plain"], "saving", [3, 8, 15, 13])}
    died = wait(fork(dying_before_the_summary(training(configs["rich"], "summary"))))
    assert wait(fork(training(configs["rich"], "summary"))) == 0
    told["summary"] = {"kills": int(died == signal.SIGKILL)}
    code = wait(fork(out_of_space(training(configs["plain"], "full"), 400_000)))
    told["full"] = {
        "code": code,
        "complaint": (OUT / "complaint").read_text(),
        "left": sorted(str(p.relative_to(OUT / "full")) for p in (OUT / "full").rglob("*")),
    }
    assert wait(fork(training(configs["plain"], "full"))) == 0
    print(json.dumps(told))


if __name__ == "__main__":
    main()

"""The cells in processes of their own, several at a time, until nothing is left to do."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tgqformer.comparison.plan import Cell, Plan
from tgqformer.comparison.state import ERROR, Job, jobs, missing
from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import write_text

LOG = "log.txt"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = 10.0  # seconds that a stopped worker may take to end

Report = Callable[[str, Cell | None], None]
"""Told of "start", "done", "failed" (with the cell) and, twice a second, "wait"."""


@dataclass
class _Worker:
    job: Job
    process: subprocess.Popen[bytes]
    log: Path


def run_prepare(plan: Plan) -> None:
    """Do what all cells share, in a process of its own that has all threads.

    Raises:
        ConfigError: it failed, with its reason.
    """
    log = plan.out / "prepare.log"
    process = _start(plan, ["prepare"], log, plan.threads * plan.jobs)
    try:
        code = process.wait()
    except BaseException:
        _stop([process])
        raise
    if code:
        raise ConfigError(f"the comparison cannot begin: {_reason(code, log)}")


def run_cells(plan: Plan, report: Report) -> list[Cell]:
    """Do all jobs; returns the cells that failed. Ctrl-C stops every process and is passed on."""
    running: list[_Worker] = []
    failed: list[Cell] = []
    try:
        while True:
            at_work = {worker.job.cell for worker in running}
            waiting = (job for job in jobs(plan) if job.cell not in at_work)
            while len(running) < plan.jobs and (job := next(waiting, None)) is not None:
                running.append(_work(plan, job))
                report("start", job.cell)
            if not running:
                return failed
            ended = _ended(running)
            report("wait", None)
            for worker in ended:
                running.remove(worker)
                told = _settle(plan, worker)
                failed += [worker.job.cell] if told == "failed" else []
                report(told, worker.job.cell)
    finally:
        _stop([worker.process for worker in running])


def _work(plan: Plan, job: Job) -> _Worker:
    cell = job.cell
    words = [cell.method, repr(cell.rate), str(cell.seed), *(["judge"] if job.judge else [])]
    log = plan.path(cell) / LOG
    return _Worker(job, _start(plan, words, log, plan.threads), log)


def _start(plan: Plan, words: list[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    with _append(log) as told:
        return subprocess.Popen(
            [sys.executable, "-m", "tgqformer.comparison.worker", str(plan.out), *words],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
        )


def _append(log: Path) -> IO[bytes]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError as error:
        raise StorageError(
            f"{log} cannot be written ({error.strerror}); free some space or choose another --out."
        ) from error


def _ended(running: list[_Worker]) -> list[_Worker]:
    for _ in range(50):
        ended = [worker for worker in running if worker.process.poll() is not None]
        if ended:
            return ended
        time.sleep(0.01)
    return []


def _settle(plan: Plan, worker: _Worker) -> str:
    """ "done", or "failed" with the reason kept in the cell's folder."""
    code = worker.process.returncode
    if code == 0 and not missing(plan, worker.job):
        return "done"
    write_text(plan.path(worker.job.cell) / ERROR, _reason(code, worker.log) + "\n")
    return "failed"


def _reason(code: int, log: Path) -> str:
    """Why a worker ended with this code."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}; is there enough memory?"
    return last_line(log) or f"ended with code {code}"


def last_line(log: Path) -> str:
    """The last line that is not empty; "" where there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask, wait, and end what is left."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second comparison out of the folder.

    Raises:
        ConfigError: one is at work there.
        StorageError: the folder cannot be made.
    """
    with _append(out / ".lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another comparison is at work in {out}; wait for it, or choose another --out."
            ) from None
        yield

"""A whole comparison: prepare, train and judge every cell, gather.

The cells run in processes of their own (`worker.py`), several at a time, until nothing is left to
do.
"""

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
from types import TracebackType
from typing import IO, Any

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Vectors
from tgqformer.comparison.gather import gather
from tgqformer.comparison.methods import OURS
from tgqformer.comparison.plan import (
    COSTS,
    ERROR,
    RUN,
    VECTORS,
    Cell,
    Job,
    Plan,
    cells,
    chosen_rate,
    error,
    forget_errors,
    is_judged,
    jobs,
    missing,
    read_json,
    steps,
    steps_done,
    validation,
)
from tgqformer.comparison.report import write_comparison_report
from tgqformer.comparison.results import Results
from tgqformer.comparison.standing import headline, strongest
from tgqformer.errors import ConfigError, StorageError
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.report import Disagreements, disagreements
from tgqformer.files import write_text
from tgqformer.training.run import changed_option

REPORT = "report.html"
QUICK_METHODS = (
    "tgqformer",
    "qformer_text",
    "qformer_text_full",
    "perceiver",
    "clip_sum",
    "frozen_both",
)
QUICK_ITEMS = 600
QUICK_STEPS = ("training.steps=60", "training.eval_every=15")
QUICK_QUERIES = 60
PATIENCE = 10.0  # seconds that a stopped worker may take to end
_EVERY = 2.0  # seconds between two looks at the folder
_LOG = "log.txt"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Report = Callable[[str, Cell | None], None]
"""Told of "start", "done", "failed" (with the cell) and, twice a second, "wait"."""


def compare(plan: Plan, *, progress: bool = False) -> Results:
    """Do what is left of a comparison, and write results.json and report.html.

    A comparison that was stopped goes on where it was; one with nothing left to do only gathers.
    Cells that failed before are tried again; those that fail now are told in the results, and do
    not stop the others.

    Raises:
        CatalogError: a catalog cannot be read, or has no pairs.
        ConfigError: an option breaks its rule, the folder holds another comparison or a run of
            another configuration, one is at work in it, or the preparation failed.
        StorageError: the disk refuses.
    """
    with alone(plan.out):
        for path in plan.catalogs.values():
            if not path.is_dir():
                Catalog.load(path)  # let its own error tell
        configured = plan.chosen.keys()
        plan.save()
        _require_same_runs(plan)
        forget_errors(plan)
        if any(True for _ in jobs(plan)) or not configured <= read_json(plan.out / COSTS).keys():
            run_prepare(plan)
        with Progress(plan, show=progress) as report:
            run_cells(plan, report)
        results = gather(plan)
        results.save(plan.out)
        write_comparison_report(results, plan.out / REPORT, gallery=_galleries(plan, results))
    return results


def _require_same_runs(plan: Plan) -> None:
    """A preset may have changed under its name: old runs and new ones are not for one table."""
    trained = [name for name, method in plan.chosen.items() if not method.untrained]
    for cell in [cell for name in trained for cell in cells(plan, name)]:
        if changed := changed_option(plan.path(cell) / RUN, plan.config(cell)):
            name, before, now = changed
            raise ConfigError(
                f"{cell.folder} in {plan.out} was trained with another configuration ({name}: "
                f"{before}, now {now}); remove that folder to train it again, or choose another "
                "--out."
            )


def _galleries(plan: Plan, results: Results) -> list[Disagreements]:
    """Where ours and the strongest other part, on each catalog that both are judged on."""
    found, labels = [], {name: method.label for name, method in results.methods.items()}
    for name, path in plan.catalogs.items():
        rival = strongest(results, name, headline(results))
        if rival is None or OURS not in plan.chosen or rival not in plan.chosen:
            continue
        vectors = [_vectors(plan, method, name) for method in (OURS, rival)]
        if vectors[0] is not None and vectors[1] is not None:
            models = (labels[OURS], labels[rival])
            catalog = Catalog.load(path)
            found.append(disagreements(catalog, vectors[0], vectors[1], name=name, models=models))
    return found


def _vectors(plan: Plan, method: str, catalog: str) -> Vectors | None:
    """Those of the first seed, or of the frozen towers."""
    rate = chosen_rate(plan, method)
    seed = 0 if plan.chosen[method].untrained else plan.seeds[0]
    if rate is None:
        return None
    path = plan.path(Cell(method, rate, seed)) / "test" / catalog / VECTORS
    return np.load(path) if path.is_file() else None


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
    log = plan.path(cell) / _LOG
    return _Worker(job, _start(plan, words, log, plan.threads), log)


def _start(plan: Plan, words: list[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
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


class Progress:
    """Steps of all cells together: a bar on a terminal, a line for each cell elsewhere."""

    def __init__(self, plan: Plan, *, show: bool) -> None:
        from rich.console import Console

        self.plan, self.show = plan, show
        self.console = Console(stderr=True)
        self.bar: Any = None
        self.at_work: list[Cell] = []
        self.looked = 0.0

    def __enter__(self) -> Progress:
        if self.show and self.console.is_terminal:
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self.task = self.bar.add_task("", total=self._total(), completed=self._done())
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, what: str, cell: Cell | None) -> None:
        """Take a report of `run_cells`."""
        if cell is not None:
            self._follow(what, cell)
        now = time.monotonic()
        if self.bar is not None and (cell is not None or now - self.looked > _EVERY):
            self.looked = now
            text = " · ".join(str(each) for each in self.at_work)
            self.bar.update(
                self.task, completed=self._done(), total=self._total(), description=text
            )

    def _follow(self, what: str, cell: Cell) -> None:
        if what == "start":
            self.at_work.append(cell)
            return
        self.at_work.remove(cell)
        if what == "failed":
            self._say(f"failed: {cell}: {error(self.plan, cell)}")
            return
        if not self.show:
            return
        figure, metric = validation(self.plan, cell), metric_label(self.plan.base.training.metric)
        told = "" if figure < 0 else f": {metric} {100 * figure:.1f} % on validation pairs"
        judged = ", judged" if is_judged(self.plan, cell) else ""
        self._say(f"done: {cell}{told}{judged}; again by: {self.plan.command(cell)}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _trained(self) -> list[Cell]:
        methods = [name for name, method in self.plan.chosen.items() if not method.untrained]
        return [cell for name in methods for cell in cells(self.plan, name)]

    def _total(self) -> int:
        runs = len(self.plan.sweep) + len(self.plan.seeds) - 1
        methods = sum(not method.untrained for method in self.plan.chosen.values())
        return methods * runs * steps(self.plan)

    def _done(self) -> int:
        return sum(steps_done(self.plan, cell) for cell in self._trained())

"""One thread for one kind of work: what several requests ask of it at once is done together.

A model on two cores gains nothing from two threads of requests, and loses the batch. So requests
queue, within a bound; the worker takes all that is there and asks the same, up to a batch. Where a
batch fails, its parts are tried alone, so that one request cannot spoil another's answer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tgqformer.service.failures import ApiError, OverloadedError

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class Observer(Protocol):
    """Is told what a worker does."""

    def __call__(self, worker: str, units: int, seconds: float) -> None: ...


@dataclass(eq=False)
class _Job:
    run: Callable[[list[Any]], Sequence[Any]]
    questions: Sequence[Any]
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    abandoned: bool = False


class Worker:
    """A thread and its queue.

    Args:
        name: for metrics and thread lists.
        max_queued: units (questions) that may wait; what would exceed it is refused, except that
            an idle worker takes any one request.
        batch: units done together; a request is never cut.
        wait: seconds that the first of a batch waits for others.
        observe: called after each batch.
    """

    def __init__(
        self,
        name: str,
        *,
        max_queued: int,
        batch: int,
        wait: float = 0.0,
        observe: Observer | None = None,
    ) -> None:
        self.name = name
        self.max_queued = max_queued
        self._batch, self._wait, self._observe = batch, wait, observe
        self._jobs: deque[_Job] = deque()
        self._queued = 0
        self._closed = False
        self._changed = threading.Condition()
        self._unit_seconds = 0.01  # of late, for Retry-After
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Units that wait."""
        return self._queued

    async def ask(
        self,
        run: Callable[[list[_Question]], Sequence[_Answer]],
        questions: Sequence[_Question],
        *,
        timeout: float,
    ) -> list[_Answer]:
        """Have `run` answer `questions`, perhaps together with those of others.

        Raises:
            OverloadedError: the queue is full.
            ApiError: no answer within `timeout` seconds (504), or the worker was closed (503).
        """
        if not questions:
            return []
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        job = _Job(run, questions, future, loop)
        with self._changed:
            if self._closed:
                raise ApiError(503, "The service is stopping; ask again later.")
            if self._queued and self._queued + len(questions) > self.max_queued:
                raise OverloadedError(
                    f"{self._queued} items wait for the {self.name} worker, whose limit is "
                    f"{self.max_queued}; come again later, with fewer.",
                    self._queued * self._unit_seconds,
                )
            self._jobs.append(job)
            self._queued += len(questions)
            self._changed.notify()
        try:
            return await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            raise ApiError(
                504, f"The {self.name} worker gave no answer within {timeout:g} s; ask again later."
            ) from None
        finally:
            job.abandoned = True

    def close(self, timeout: float | None = None) -> None:
        """Take nothing more, finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _work(self) -> None:
        while jobs := self._next():
            start = time.perf_counter()
            self._answer(jobs)
            seconds = time.perf_counter() - start
            units = sum(len(job.questions) for job in jobs)
            self._unit_seconds += 0.1 * (seconds / units - self._unit_seconds)
            if self._observe is not None:
                self._observe(self.name, units, seconds)

    def _next(self) -> list[_Job]:
        """The jobs of the next batch; none once the worker is closed and has done all."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return []
                if self._wait and not self._closed:
                    # An idle worker's first request need not wait for others.
                    self._changed.wait_for(
                        lambda: self._queued >= self._batch or self._closed, self._wait
                    )
                if taken := self._take():
                    return taken

    def _take(self) -> list[_Job]:
        taken: list[_Job] = []
        left: deque[_Job] = deque()
        units = 0
        for job in self._jobs:
            if job.abandoned:
                self._queued -= len(job.questions)
            elif taken and (job.run != taken[0].run or units + len(job.questions) > self._batch):
                left.append(job)
            else:
                taken.append(job)
                units += len(job.questions)
        self._jobs = left
        self._queued -= units
        return taken

    def _answer(self, jobs: list[_Job]) -> None:
        try:
            answers = list(jobs[0].run([q for job in jobs for q in job.questions]))
        except Exception as error:
            if len(jobs) == 1:
                _settle(jobs[0], error)
                return
            for job in jobs:
                self._answer([job])
            return
        start = 0
        for job in jobs:
            stop = start + len(job.questions)
            _settle(job, answers[start:stop])
            start = stop


def _settle(job: _Job, outcome: list[Any] | Exception) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop has ended; nobody waits any more
        return

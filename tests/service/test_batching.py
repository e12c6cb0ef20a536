"""Laws of a worker: asked at once is done together, in order, and one cannot spoil another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tgqformer.service.batching import Worker
from tgqformer.service.failures import ApiError, OverloadedError


class Doubling:
    """Doubles numbers; waits at the first batch until told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        assert self.go_on.wait(10)
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


def held(ask: Callable[[Worker, Doubling], Any], **options: Any) -> tuple[Any, Doubling, Worker]:
    """What `ask` gives while the worker is held at a first batch of [0]."""
    double = Doubling()
    worker = Worker("test", **({"max_queued": 100, "batch": 4} | options))

    async def main() -> Any:
        first = asyncio.create_task(worker.ask(double, [0], timeout=10))
        while not double.batches:
            await asyncio.sleep(0.001)
        asked = asyncio.create_task(ask(worker, double))
        await asyncio.sleep(0.02)
        double.go_on.set()
        answer = await asked
        assert await first == [0]
        return answer

    answer = asyncio.run(main())
    return answer, double, worker


def test_what_waits_is_done_together_up_to_a_batch() -> None:
    async def ask(worker: Worker, double: Doubling) -> Any:
        asked = [worker.ask(double, part, timeout=10) for part in ([1, 2], [3], [4, 5], [6] * 9)]
        return await asyncio.gather(*asked)

    answer, double, worker = held(ask)
    assert answer == [[2, 4], [6], [8, 10], [12] * 9]
    # a request is never cut, even one that is larger than a batch
    assert double.batches == [[0], [1, 2, 3], [4, 5], [6] * 9]
    worker.close(5)


def test_one_that_fails_fails_alone() -> None:
    async def ask(worker: Worker, double: Doubling) -> Any:
        asked = [worker.ask(double, [n], timeout=10) for n in (1, 13, 2)]
        return await asyncio.gather(*asked, return_exceptions=True)

    (one, failed, two), _, worker = held(ask)
    assert (one, two) == ([2], [4])
    assert isinstance(failed, ValueError)
    worker.close(5)


def test_different_work_is_not_mixed_and_given_up_work_is_not_done() -> None:
    async def ask(worker: Worker, double: Doubling) -> Any:
        with pytest.raises(ApiError) as caught:
            await worker.ask(double, [7], timeout=0.001)
        assert caught.value.status_code == 504
        asked = [worker.ask(run, [1], timeout=10) for run in (double, str_of, double)]
        return await asyncio.gather(*asked)

    answer, double, worker = held(ask)
    assert answer == [[2], ["1"], [2]]
    assert double.batches == [[0], [1, 1]]
    assert worker.queued == 0
    worker.close(5)


def str_of(numbers: list[int]) -> list[str]:
    return [str(number) for number in numbers]


def test_a_full_queue_refuses_and_a_closed_worker_finishes_what_waits() -> None:
    async def ask(worker: Worker, double: Doubling) -> Any:
        waiting = asyncio.create_task(worker.ask(double, [1, 2, 3], timeout=10))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await worker.ask(double, [4], timeout=10)
        closing = threading.Thread(target=worker.close)
        closing.start()
        while not worker._closed:
            await asyncio.sleep(0.001)
        with pytest.raises(ApiError) as caught:
            await worker.ask(double, [5], timeout=10)
        assert caught.value.status_code == 503
        double.go_on.set()
        answer = await waiting
        closing.join(5)
        return answer, closing.is_alive()

    (answer, alive), _, _ = held(ask, max_queued=3)
    assert (answer, alive) == ([2, 4, 6], False)

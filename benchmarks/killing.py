"""Work that is killed within a step, started again, and looked at each time by another process.

A worker tells of a step before it begins and once it has ended; it is killed within a step, after
as many as chance says. Workers are forks of this process, which has imported everything and started
no thread, so that a kill costs a fraction of a second.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import told

OPEN_ENDED = 10**9

Steps = Iterator[int]
"""The work itself: yields a step's number before it begins, and again once it is acknowledged."""


class Work:
    """One kind of work in a folder.

    Attributes:
        total: how many steps there are before the last one, which ends the work; OPEN_ENDED where
            it goes on for as long as it is killed.
    """

    name = ""
    total = OPEN_ENDED

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed

    def prepare(self) -> None:
        """Make what the work starts from."""

    def steps(self, first: int) -> Steps:
        """Do the steps from `first` on."""
        raise NotImplementedError

    def meant(self, step: int) -> bool:
        """Whether the worker may be killed in this step."""
        return True

    def check(self, done: int, begun: int) -> None:
        """Raise AssertionError where not all of the first `done` steps is there, or more than
        the first `begun`."""
        raise NotImplementedError

    def result(self) -> Any:
        """What the work came to, to be compared."""
        raise NotImplementedError


_pipe = -1


def tell(event: str, step: int) -> None:
    """Tell the process that kills of a step."""
    if _pipe >= 0:
        os.write(_pipe, f"{event} {step}\n".encode())


def run(work: Work, first: int, until: int = OPEN_ENDED) -> None:
    """Do the steps from `first` to `until`, telling of each."""
    for step in work.steps(first):
        if step >= until:
            return
        tell("start", step)


def forked(what: Callable[[], Any]) -> tuple[int, int]:
    """Run `what` in a fork; return its process id, and what it tells."""
    global _pipe
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _pipe = write
        try:
            what()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(write)
    return child, read


def in_fork(what: Callable[[], Any]) -> Any:
    """What a fork returns, by way of JSON."""

    def answer() -> None:
        data = json.dumps(what()).encode()
        while data:
            data = data[os.write(_pipe, data) :]

    child, read = forked(answer)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    if os.waitpid(child, 0)[1]:
        sys.exit("a check failed; see above")
    return json.loads(data)


class Killer:
    """Kills one kind of work again and again, and looks after each time."""

    def __init__(self, work: Work, rng: random.Random) -> None:
        self.work, self.rng = work, rng
        self.done = 0  # steps acknowledged
        self.begun = 0  # steps begun by the worker that was killed last
        self.ended = False
        self.step_seconds = [0.05]

    def kill(self) -> bool:
        """Start the work and kill it; False where it came to its end before that."""
        first, wanted = self.done, self.done + self.rng.randint(0, 4)
        child, read = forked(lambda: run(self.work, first))
        began = time.monotonic()
        with os.fdopen(read) as lines:
            for line in lines:
                event, step = line.split()
                now = time.monotonic()
                if event == "done":
                    self.done = max(self.done, int(step) + 1)
                    self.step_seconds += [now - began] * self.work.meant(int(step))
                    continue
                began, self.begun = now, int(step) + 1
                if int(step) >= wanted and self.work.meant(int(step)):
                    # then at some moment of about one more step, however slow this machine is
                    usual = statistics.median(self.step_seconds[-15:])
                    time.sleep(self.rng.uniform(0, 1.5) * usual)
                    os.kill(child, signal.SIGKILL)
                    break
            for line in lines:  # what it could tell before it died
                event, _, step = line.strip().partition(" ")
                if event == "done" and line.endswith("\n"):
                    self.done = max(self.done, int(step) + 1)
                elif event == "start" and line.endswith("\n"):
                    self.begun = max(self.begun, int(step) + 1)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            return True
        assert status == 0, "the worker failed by itself"
        self.ended = True
        return False

    def look(self) -> None:
        done, begun = self.done, max(self.begun, self.done)
        in_fork(lambda: self.work.check(min(done, self.work.total), begun))


def killed(kind: type[Work], kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill one kind of work so many times; its figures."""
    rng = random.Random(f"{kind.name} {seed}")
    counted = acknowledged = runs = 0
    start = time.monotonic()
    while counted < kills:
        work = kind(folder / f"{kind.name}-{runs}", seed + runs)
        work.root.mkdir()
        in_fork(work.prepare)
        killer = Killer(work, rng)
        while counted < kills and not killer.ended:
            counted += killer.kill()
            killer.look()
        finish(killer)
        acknowledged += killer.done
        compare(killer, folder / f"{kind.name}-{runs}-unbroken")
        runs += 1
    seconds = round(time.monotonic() - start, 1)
    told(f"{kind.name}: {counted} kills over {acknowledged} steps in {seconds:.0f} s")
    return {"kills": counted, "acknowledged_steps": acknowledged, "runs": runs, "seconds": seconds}


def finish(killer: Killer) -> None:
    """Let the work come to its end, or stop it where it has none."""
    if killer.work.total < OPEN_ENDED:
        to_the_end(killer.work, killer.done)
        killer.done = killer.work.total
    else:
        to_the_end(killer.work, killer.done, killer.done + 1)
        killer.done += 1


def to_the_end(work: Work, first: int, until: int = OPEN_ENDED) -> None:
    """Do the steps from `first` on with nobody who disturbs."""
    child, read = forked(lambda: run(work, first, until))
    with os.fdopen(read) as lines:
        lines.read()
    assert os.waitpid(child, 0)[1] == 0, "work that nobody disturbed failed"


def compare(killer: Killer, folder: Path) -> None:
    """The result beside that of an unbroken run."""
    work = killer.work
    unbroken = type(work)(folder, work.seed)
    folder.mkdir()
    in_fork(unbroken.prepare)
    to_the_end(unbroken, 0, killer.done if work.total == OPEN_ENDED else OPEN_ENDED)
    own, other = in_fork(work.result), in_fork(unbroken.result)
    assert own == other, f"{work.name}: {own} is not what an unbroken run gives, {other}"

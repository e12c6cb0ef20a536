"""A progress bar for long loops, on stderr, and nothing where none is asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")

LINE_SECONDS = 15.0
"""Between two lines of progress where there is no terminal."""


def track(things: Iterable[T], *, total: int | None, text: str, show: bool) -> Iterator[T]:
    """Yield the things; with `show`, tell how many of `total` are done.

    On a terminal a bar with the time left; elsewhere, in a log say, a line now and then.
    """
    if not show:
        yield from things
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _with_lines(things, total, text)
        return
    with Progress(console=console, transient=True) as bar:
        yield from bar.track(things, total=total, description=text)


def _with_lines(things: Iterable[T], total: int | None, text: str) -> Iterator[T]:
    told = time.monotonic()
    for number, thing in enumerate(things, start=1):
        yield thing
        if time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            print(f"{text}: {number:,}{of}", file=sys.stderr, flush=True)


def track_bytes(
    lines: Iterable[bytes], raw: BinaryIO, path: Path, *, show: bool
) -> Iterator[bytes]:
    """Yield the lines of a file; with `show`, tell how much of it, as it lies on disk, is read."""
    if not show:
        yield from lines
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(path.name, total=path.stat().st_size)
        for number, line in enumerate(lines):
            yield line
            if number % 1_000 == 0:
                bar.update(task, completed=raw.tell())

"""A progress bar for long loops, on stderr, and nothing where none is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(things: Iterable[T], *, total: int | None, text: str, show: bool) -> Iterator[T]:
    """Yield the things; with `show`, draw how many of `total` are done and the time left."""
    if not show:
        yield from things
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(things, total=total, description=text)

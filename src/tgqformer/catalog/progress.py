"""A progress bar for long loops, on stderr, and nothing where none is asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

from tgqformer.errors import CatalogError

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


def byte_lines(path: Path, *, progress: bool = False) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked where its name ends in ``.gz``.

    Raises:
        CatalogError: the file cannot be read or unpacked.
    """
    try:
        with path.open("rb") as raw:
            packed = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else nullcontext(raw)
            with packed as file:
                if progress:
                    yield from _with_bar(file, raw, path)
                else:
                    yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"{path} cannot be read ({error}); fetch it anew.") from error


def _with_bar(lines: Iterable[bytes], raw: BinaryIO, path: Path) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(path.name, total=path.stat().st_size)
        for number, line in enumerate(lines):
            yield line
            if number % 1_000 == 0:
                bar.update(task, completed=raw.tell())

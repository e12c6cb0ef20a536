"""Two locks: one writer at a time across processes, and many readers within one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tgqformer.errors import StorageError


@contextmanager
def only_writer(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold the lock of file `path` against all threads and processes of this machine.

    The system lets go of it when the process ends, however that happens. Not reentrant.

    Args:
        busy: say this where another holds it, instead of waiting; who holds it may then remove the
            file.

    Raises:
        StorageError: the file cannot be made or locked, or is locked and `busy` says so.
    """
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot lock {path}: {error.strerror}; choose a folder you may write to."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            if busy and not _is(path, descriptor):
                raise BlockingIOError
        except BlockingIOError as error:
            raise StorageError(busy) from error
        except OSError as error:  # some network file systems know no locks
            raise StorageError(
                f"cannot lock {path}: {error.strerror}; keep the store on a local disk."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file is still there, and no other in its place."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class SharedLock:
    """Held by any number of readers or by one writer; a waiting writer goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
            finally:
                self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

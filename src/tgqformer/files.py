"""Files written whole or not at all, after a kill or a power cut too, and one writer at a time."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tgqformer.errors import StorageError

_REMEDIES = {
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose another folder",
    errno.EEXIST: "choose another folder",
    errno.ENOTDIR: "choose another folder",
    errno.EFBIG: "raise the size limit of this process or choose another folder",
}


@contextmanager
def atomic_path(
    path: str | os.PathLike[str],
    *,
    refusals: tuple[type[Exception], ...] = (),
    sync: bool = True,
) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to, which takes its name once the block has ended.

    Whatever goes wrong in the block, the temporary file is removed and an older `path` stays as it
    was. Missing parent folders are made.

    Args:
        refusals: what the library that writes raises where the disk refuses, beside OSError.
        sync: wait until file and folder are on the disk. Without it the file is still whole or
            absent after a kill, though not after a power cut; for thousands of small ones.

    Raises:
        StorageError: the file cannot be written (no permission, disk full, ...).
    """
    final = Path(path)
    refused: tuple[type[Exception], ...] = (OSError, *refusals)
    # A name of its own for each writer: two that write one file both end with a whole one.
    temporary = final.with_name(f".{final.name}.{os.urandom(4).hex()}.tmp")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sync:
            sync_file(temporary)
        temporary.replace(final)
        if sync:
            sync_folder(final.parent)
    except refused as error:
        raise _not_written(final, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes(path: str | os.PathLike[str], data: bytes, *, sync: bool = True) -> None:
    """Write a file whole or not at all; StorageError where it cannot be."""
    with atomic_path(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; StorageError where it cannot be."""
    write_bytes(path, text.encode("utf-8"))


def link_or_copy(source: Path, target: Path) -> None:
    """Give a photo a second name, or copy it where the file system cannot; keep one that is there.

    Raises:
        StorageError: the target cannot be written, or the source not be read.
    """
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the file system can."""
    with suppress(OSError):
        sync_file(folder)


def sync_file(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
                f"cannot lock {path}: {error.strerror}; choose a folder on a local disk."
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


def _not_written(path: Path, error: Exception) -> StorageError:
    number = getattr(error, "errno", None)
    # pyarrow's OSErrors carry the number too, but a long message of their own.
    reason = os.strerror(number) if number else " ".join(str(error).split())[:120]
    remedy = _REMEDIES.get(number or 0, "free some space or choose another folder")
    return StorageError(f"{path} cannot be written ({reason}); {remedy}.")

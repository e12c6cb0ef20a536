"""A folder of shards: on this machine, or anywhere that fsspec reaches (s3://, gs://, ...)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tgqformer.errors import MissingDependencyError, StorageError
from tgqformer.files import atomic_path

_STALE_SECONDS = 3600.0  # no shard takes this long to write


class Folder:
    """Whole files by name; each appears by rename (or, in an object store, by one upload).

    Args:
        address: a path, or a URL with a scheme.

    Raises:
        MissingDependencyError: the scheme needs a package that is absent.
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        self.address = os.fspath(address)
        self.local = None if "://" in self.address else Path(self.address)
        self._remote: Any = None
        self._root = ""
        if self.local is None:
            import fsspec

            try:
                self._remote, self._root = fsspec.core.url_to_fs(self.address)
            except (ImportError, ValueError) as error:
                raise MissingDependencyError(
                    f"{self.address} cannot be reached ({error}); install the fsspec package of "
                    "that scheme, or give a local folder."
                ) from error

    def __str__(self) -> str:
        return self.address

    def names(self) -> set[str]:
        """Names of the files that are whole."""
        if self.local is not None:
            found = (path.name for path in self.local.glob("*"))
        else:
            with self._refusals():
                there = self._remote.exists(self._root)
                listed = self._remote.ls(self._root, detail=False) if there else []
            found = (str(name).rstrip("/").rpartition("/")[2] for name in listed)
        return {name for name in found if not name.startswith(".")}

    def read_text(self, name: str) -> str:
        """The text of a file; FileNotFoundError where it is absent."""
        if self.local is not None:
            return (self.local / name).read_text(encoding="utf-8")
        self._remote.invalidate_cache()
        return bytes(self._remote.cat_file(f"{self._root}/{name}")).decode("utf-8")

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let `write` make a file, which then appears as `name`.

        Raises:
            StorageError: it cannot be written.
        """
        if self.local is not None:
            with atomic_path(self.local / name) as temporary:
                write(temporary)
            return
        with tempfile.TemporaryDirectory() as scratch, self._refusals():
            made = Path(scratch) / name
            write(made)
            self._remote.makedirs(self._root, exist_ok=True)
            # an object store shows an upload when it is whole, other systems need the rename
            hidden = f"{self._root}/.{name}.{os.urandom(4).hex()}.tmp"
            self._remote.put_file(str(made), hidden)
            self._remote.mv(hidden, f"{self._root}/{name}")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def open_shard(self, name: str) -> Any:
        """A binary file to read from."""
        if self.local is not None:
            return (self.local / name).open("rb")
        return self._remote.open(f"{self._root}/{name}", "rb")

    def remove_stale(self) -> None:
        """Delete what killed writers left behind an hour ago or more."""
        if self.local is None:
            return
        for path in self.local.glob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
            except OSError:
                continue

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # every remote system has errors of its own
            told = " ".join(str(error).split())[:160]
            raise StorageError(
                f"{self.address} cannot be used ({type(error).__name__}: {told}); check the "
                "address and the credentials."
            ) from error

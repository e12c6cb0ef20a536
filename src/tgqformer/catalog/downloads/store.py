"""What was fetched, and what could not be: files by the sha256 of their URLs.

::

    3f/3f9c...e1.jpg     a photo
    failures.jsonl       what failed, one object a line, the latest of a URL holding

A photo is there whole or not at all. Several catalogs may share a store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.faults import NO_ANSWER
from tgqformer.catalog.images import image_suffix
from tgqformer.errors import StorageError
from tgqformer.files import write_bytes

FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """A photo that could not be had.

    Attributes:
        url: its URL.
        rule: the kind of fault in a few words.
        reason: the fault.
        under: the options that the rule goes by, as they were: another try makes sense as soon as
            one of them is another.
    """

    url: str
    rule: str
    reason: str
    under: dict[str, float | bool] = field(default_factory=dict)

    def holds(self, config: DownloadConfig) -> bool:
        """Tell whether the options that it failed under are those of `config`."""
        # Lines of earlier versions tell no options, and had the defaults in all likelihood.
        return (self.under or options_of(self.rule, DownloadConfig())) == options_of(
            self.rule, config
        )


_OPTIONS = {
    "private address": ("allow_private",),
    "too many bytes": ("max_bytes",),
    "no readable photo": ("max_pixels",),
    "too slow": ("timeout",),
    NO_ANSWER: ("timeout",),
}


def options_of(rule: str, config: DownloadConfig) -> dict[str, float | bool]:
    """Return the options by which a rule refuses a photo."""
    return {name: getattr(config, name) for name in _OPTIONS.get(rule, ())}


def url_key(url: str) -> str:
    """Return the sha256 of a URL, in hexadecimal."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class PhotoStore:
    """The photos and failures of a folder.

    Args:
        folder: made where it is not there.

    Raises:
        StorageError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.failures = _read(folder / FAILURES)
            self._log: TextIO = (folder / FAILURES).open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be used ({error.strerror}); choose another folder."
            ) from error
        if self._log.tell() and not _ends_a_line(folder / FAILURES):
            self._log.write("\n")  # a kill may have cut the last one

    def find(self, url: str) -> Path | None:
        """Return the photo of a URL, None where it was not fetched."""
        key = url_key(url)
        head = key[:2]
        if head not in self._listed:
            # Each folder is listed once: one system call for many files.
            try:
                names = os.listdir(self.folder / head)
            except FileNotFoundError:
                names = []
            self._listed[head] = {
                name.partition(".")[0]: name for name in names if not name.startswith(".")
            }
        name = self._listed[head].get(key)
        return None if name is None else self.folder / head / name

    def put(self, url: str, data: bytes) -> Path:
        """Keep a photo.

        Raises:
            StorageError: it cannot be written.
        """
        key = url_key(url)
        path = self.folder / key[:2] / f"{key}{image_suffix(data)}"
        write_bytes(path, data, sync=False)
        return path

    def fail(self, failure: Failure) -> None:
        """Record a failure."""
        self.failures[failure.url] = failure
        self._log.write(json.dumps(asdict(failure)) + "\n")
        self._log.flush()

    def close(self, fetched: Container[str]) -> None:
        """Write the failures anew, without the URLs that have been fetched since."""
        self._log.close()
        kept = [failure for url, failure in self.failures.items() if url not in fetched]
        lines = "".join(json.dumps(asdict(failure)) + "\n" for failure in kept)
        write_bytes(self.folder / FAILURES, lines.encode(), sync=False)


def _read(path: Path) -> dict[str, Failure]:
    failures: dict[str, Failure] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                failure = Failure(**json.loads(line))
            except (ValueError, TypeError):
                continue
            failures[failure.url] = failure
    return failures


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

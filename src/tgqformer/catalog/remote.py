"""Photos by address: in stores (s3, gs, ...) by fsspec, on the web by the downloads' own fetcher.

They are read anew each time that they are needed, by the rules of `download-images`: so many
bytes, so many seconds, and no host of an inner network. Fetching them once is the better way
wherever they are read more than once or twice.
"""

from __future__ import annotations

import os
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from tgqformer.catalog.quarantine import shown
from tgqformer.errors import ImageError

if TYPE_CHECKING:
    from tgqformer.catalog.downloads.fetch import Fetcher

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes of fsspec that may be read: none that leads to files of this machine or to logins."""

ALLOW_PRIVATE = "TGQFORMER_ALLOW_PRIVATE"
"""Where this environment variable is 1, photos on the web may be on private and local addresses."""

_ADDRESS = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


def scheme_of(name: str) -> str | None:
    """Return the scheme of an address, None for a path."""
    found = _ADDRESS.match(name)
    return None if found is None else found[1].lower()


def address_fault(address: str) -> tuple[str, str] | None:
    """Return (rule, reason) where an address cannot be read from here, None where it can."""
    scheme = scheme_of(address) or ""
    if scheme not in (*WEB, *STORES) or "::" in address:
        known = ", ".join((*WEB, *STORES[:-1]))
        return (
            "image is a URL",
            f"{shown(address)} is a URL that is not read (read are {known}); copy the photo into "
            "the catalog's folder and name the file",
        )
    if not _installed(scheme):
        fetch = ""
        if scheme in WEB:
            fetch = (
                "import the table (`tgqformer import table`), which keeps links for `tgqformer "
                "download-images`, or "
            )
        return (
            "image is a URL",
            f"{shown(address)} is a URL; {fetch}install the extra tgqformer[remote] to read it "
            "where it is",
        )
    return None


@cache
def _installed(scheme: str) -> bool:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        return False
    return True


def read_remote(address: str) -> bytes:
    """Return the bytes of a photo by its address.

    Raises:
        ImageError: it is not there, or breaks a rule.
    """
    from tgqformer.catalog.downloads.config import DownloadConfig

    if (fault := address_fault(address)) is not None:
        raise ImageError(f"{fault[1]}.")
    private = os.environ.get(ALLOW_PRIVATE, "") in ("1", "true", "yes")
    if scheme_of(address) in WEB:
        return _fetcher(private).fetch(address)
    config = DownloadConfig()
    return _stored(address, config.max_bytes, config.timeout)


@cache
def _fetcher(allow_private: bool) -> Fetcher:
    from tgqformer.catalog.downloads.config import DownloadConfig
    from tgqformer.catalog.downloads.fetch import Fetcher
    from tgqformer.catalog.downloads.pace import Pace

    config = DownloadConfig(allow_private=allow_private)
    return Fetcher(config, Pace(config.rate))


def _stored(address: str, limit: int, seconds: float) -> bytes:
    """Read an object of a store within a time: its clients have timeouts of their own, or none."""
    result: list[Any] = []

    def read() -> None:
        import fsspec

        try:
            system = fsspec.filesystem(scheme_of(address))
            path = system._strip_protocol(address)
            size = system.size(path)
            told = size if size is not None and size > limit else system.cat_file(path)
            result.append(told)
        except Exception as error:  # each store's client has errors of its own
            result.append(error)

    thread = threading.Thread(target=read, daemon=True, name="remote photo")
    thread.start()
    thread.join(seconds)
    if not result:
        raise ImageError(f"{address} did not come in {seconds:g} s; try again, or fetch it once.")
    (told,) = result
    if isinstance(told, (FileNotFoundError, IsADirectoryError)):
        raise ImageError(f"{address} does not exist; put it there or take it out of the images.")
    if isinstance(told, Exception):
        reason = " ".join(str(told).split())[:200] or type(told).__name__
        raise ImageError(
            f"{address} cannot be read ({reason}); see that this machine may read that store."
        )
    size = told if isinstance(told, int) else len(told)
    if size > limit:
        raise ImageError(f"{address} has {size:,} bytes, more than the limit of {limit:,}.")
    return bytes(told)

"""Which photos of a table may be used: inside the folder, there, and (if asked) decodable."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tgqformer.catalog.columns import ImageSource
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import ImageRef, Item, RemotePhoto
from tgqformer.catalog.progress import track
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.catalog.remote import address_fault, scheme_of
from tgqformer.cores import cores
from tgqformer.errors import ImageError

_DRIVE = re.compile(r"^[a-zA-Z]:[\\/]")


class PhotoFolder:
    """The files below a catalog's folder, each folder of them listed once.

    Listing is what makes a million photos cheap: one system call for many files. Without a root
    (rows that a program hands over) any path of the file system may be named.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = None if root is None else Path(os.path.realpath(root))
        self._listed: dict[str, frozenset[str] | None] = {}
        self._prefix: dict[str, str] = {}

    def find(self, name: str) -> Path | RemotePhoto | tuple[str, str]:
        """Return a photo's absolute path or address, (rule, reason) where it may not be used."""
        # A folder that was listed is sound, and so is every name in the list.
        head, _, base = name.rpartition("/")
        names = self._listed.get(head)
        if names is not None and base in names:
            return Path(self._prefix[head] + base)
        if "\0" in name:
            return (
                "bad image path",
                f"the path {shown(name)} holds a NUL character; rename the file",
            )
        if scheme_of(name) is not None:
            return address_fault(name) or RemotePhoto(name)
        if self._root is not None:
            if os.path.isabs(name) or _DRIVE.match(name) or ".." in name.split("/"):
                return self._outside(name)
            folder = os.path.join(self._root, head)
        else:
            folder = os.path.abspath(head or os.sep * name.startswith(os.sep))
        if head not in self._listed:
            self._listed[head] = self._list(folder)
            self._prefix[head] = os.path.join(folder, "")
        names = self._listed[head]
        if names is None:
            return self._outside(name)
        if base not in names:
            return self._absent(name, os.path.join(folder, base))
        return Path(self._prefix[head] + base)

    def _list(self, folder: str) -> frozenset[str] | None:
        """Return the names of the regular files in a folder; None where it lies outside."""
        if not self._inside(folder):
            return None
        try:
            with os.scandir(folder) as entries:
                return frozenset(
                    entry.name
                    for entry in entries
                    if entry.is_file() and (not entry.is_symlink() or self._inside(entry.path))
                )
        except (OSError, ValueError):
            return frozenset()

    def _inside(self, path: str) -> bool:
        return self._root is None or Path(os.path.realpath(path)).is_relative_to(self._root)

    def _outside(self, name: str) -> tuple[str, str]:
        return (
            "image outside the folder",
            f"the path {shown(name)} leads out of the catalog's folder; copy the photo into "
            "images/ and name it from there",
        )

    def _absent(self, name: str, path: str) -> tuple[str, str]:
        if os.path.islink(path) and os.path.exists(path):
            return self._outside(name)
        return (
            "image missing",
            f"there is no file {shown(name)}; put it there or take it out of the images",
        )


def usable_photos(
    sources: Sequence[tuple[ImageSource, ...]],
    rows: Sequence[int],
    ids: Sequence[str],
    root: Path | None,
    quarantine: Quarantine,
) -> list[tuple[ImageRef, ...]]:
    """Return the photos of each row that are there; the others are reported and left out."""
    folder = PhotoFolder(root)
    result: list[tuple[ImageRef, ...]] = []
    for row, item_id, told in zip(rows, ids, sources):
        kept: list[ImageRef] = []
        for source in told:
            found = source if isinstance(source, bytes) else folder.find(source)
            if isinstance(found, tuple):
                rule, reason = found
                quarantine.add("items", row, item_id, "images", rule, reason, CLEARED)
            else:
                kept.append(found)
        result.append(tuple(kept))
    return result


def decodable_photos(
    items: Sequence[Item],
    rows: Sequence[int],
    quarantine: Quarantine,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> list[Item]:
    """Decode every photo once, in threads; those that fail are reported and taken from the items.

    Args:
        items: N items.
        rows: the number of each item's row.
        quarantine: takes a rejection for each photo that fails.
        workers: threads; the number of cores where None.
        progress: show a bar on stderr.
    """
    distinct = list(dict.fromkeys(ref for item in items for ref in item.images))
    # Pillow lets other threads run while it decodes.
    with ThreadPoolExecutor(workers or cores()) as pool:
        verdicts = track(
            pool.map(_verdict, distinct), total=len(distinct), text="photos", show=progress
        )
        failed = {ref: verdict for ref, verdict in zip(distinct, verdicts) if verdict is not None}
    result: list[Item] = []
    for row, item in zip(rows, items):
        bad = [ref for ref in item.images if ref in failed]
        for ref in bad:
            quarantine.add(
                "items", row, item.item_id, "images", "unreadable image", failed[ref], CLEARED
            )
        if bad:
            kept = tuple(ref for ref in item.images if ref not in failed)
            item = replace(item, images=kept)
        result.append(item)
    return result


def _verdict(ref: ImageRef) -> str | None:
    try:
        decode_image(ref, size_hint=32)
    except ImageError as error:
        return str(error).rstrip(".")
    return None

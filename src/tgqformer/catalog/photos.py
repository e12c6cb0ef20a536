"""Which photos of a table may be used: inside the folder, there, and (if asked) decodable."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.columns import ImageSource
from tgqformer.catalog.images import address_fault, decode_image, image_key, scheme_of
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.cores import cores
from tgqformer.errors import ImageError
from tgqformer.progress import track

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

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
        self._folded: dict[str, dict[str, str]] = {}

    def find(self, name: str) -> Path | RemotePhoto | tuple[str, str]:
        """Return a photo's absolute path or address, (rule, reason) where it may not be used.

        A path as Windows writes it, ``images\\a.jpg``, is found as well, and a name whose accents
        are written in the other form of Unicode.
        """
        found = self._find(name)
        if isinstance(found, tuple) and "\\" in name and not _DRIVE.match(name):
            other = self._find(name.replace("\\", "/"))
            found = found if isinstance(other, tuple) else other
        return found

    def _find(self, name: str) -> Path | RemotePhoto | tuple[str, str]:
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
            like = self._alike(head, base)
            if like and unicodedata.normalize("NFC", like) == unicodedata.normalize("NFC", base):
                return Path(self._prefix[head] + like)
            return self._absent(name, os.path.join(folder, base), like)
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

    def _alike(self, head: str, base: str) -> str:
        """Return the one file named so but for case, the form of accents or suffix, "" if none."""
        known = self._folded.get(head)
        if known is None:
            known = self._folded[head] = {}
            for name in sorted(self._listed[head] or ()):
                whole = _folded(name)
                for key in {whole, os.path.splitext(whole)[0] + "."}:
                    known[key] = "" if known.get(key, name) != name else name
        whole = _folded(base)
        return known.get(whole) or known.get(os.path.splitext(whole)[0] + ".", "")

    def _absent(self, name: str, path: str, like: str = "") -> tuple[str, str]:
        if os.path.islink(path) and os.path.exists(path):
            return self._outside(name)
        return (
            "image missing",
            f"there is no file {shown(name)}{f' (but {shown(like)})' if like else ''}; put it "
            "there or take it out of the images",
        )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


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


def photos_read(items: Sequence[Item], most: int) -> dict[str, int]:
    """Count how many photos of how many items a model reads that looks at `most` of each.

    Returns:
        "photos" in all, "read" of them, "items" that have any, "several" that have more than one,
        "cut" that have more than `most`, and "max_images", which is `most`.
    """
    counts = [len(item.images) for item in items]
    return {
        "photos": sum(counts),
        "read": sum(min(count, most) for count in counts),
        "items": sum(count > 0 for count in counts),
        "several": sum(count > 1 for count in counts),
        "cut": sum(count > most for count in counts),
        "max_images": most,
    }


def tell_photos(told: dict[str, int]) -> str:
    """Return what `photos_read` counted in one sentence; "" where no item has several photos."""
    if not told["several"]:
        return ""
    most = told["max_images"]
    sentence = (
        f"{told['read']:,} of {told['photos']:,} photos of {told['items']:,} items are read, at "
        f"most {most} of an item"
    )
    if told["cut"]:
        sentence += f"; {told['cut']:,} items have more, whose first {most} count"
    return f"{sentence} (embedder.max_images)."


# -- photo groups ----------------------------------------------------------------------------------
# Which items show byte-identical photos: for all that a model can see, one product told twice.

PLACEHOLDER_AFTER = 100
"""A photo that more items than this carry ("no image yet", a brand's logo) says nothing of any one
of them, and does not bind them together. In a catalog below 2,000 items a share of it counts."""

PLACEHOLDER_SHARE = 0.05
PLACEHOLDER_LEAST = 20
"""So many items may always be one product: its sizes and colours often show one photo."""


def placeholder_limit(size: int) -> int:
    """Return how many of `size` items may carry a photo before it counts as a placeholder."""
    return min(PLACEHOLDER_AFTER, max(PLACEHOLDER_LEAST, int(PLACEHOLDER_SHARE * size)))


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A photo that binds no items together, as too many carry it."""

    photo: str
    items: int

    def __str__(self) -> str:
        return f"{self.photo} is the photo of {self.items:,} items"


def find_placeholders(items: Sequence[Item], *, workers: int | None = None) -> list[Placeholder]:
    """Return the photos that more items carry than `placeholder_limit` allows, most first.

    Only photos whose size occurs so often are read.
    """
    limit = placeholder_limit(len(items))
    found = [
        Placeholder(_name(next(ref for ref in items[group[0]].images if _digest(ref) == key)),
                    len(group))
        for key, group in _carriers(items, limit, workers, False).items()
        if len(group) > limit
    ]  # fmt: skip
    return sorted(found, key=lambda entry: (-entry.items, entry.photo))


def _name(ref: ImageRef) -> str:
    if isinstance(ref, DrawnPhoto):
        return _name(ref.source)
    if isinstance(ref, RemotePhoto):
        return ref.address
    return f"a photo of {len(ref):,} bytes" if isinstance(ref, bytes) else Path(ref).name


def photo_groups(
    items: Sequence[Item],
    *,
    placeholder_after: int | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> npt.NDArray[np.int64]:
    """Return a group number for each of N items, [N]: equal where shared photos join them.

    Photos are compared by their bytes. Only files whose size occurs twice are read, so a catalog
    without copies costs one look at each file's size. A photo that cannot be read joins nothing.

    Args:
        items: N items.
        placeholder_after: ignore a photo that more items than this carry; `placeholder_limit` where
            None.
        workers: threads that read files, the number of cores where None.
        progress: show a bar on stderr.
    """
    limit = placeholder_limit(len(items)) if placeholder_after is None else placeholder_after
    groups = _carriers(items, 1, workers, progress).values()
    return _components(len(items), [sorted(group) for group in groups if 1 < len(group) <= limit])


def _carriers(
    items: Sequence[Item], often: int, workers: int | None, progress: bool
) -> dict[bytes, list[int]]:
    """Return the items that carry each photo, by its key, of sizes found over `often` times."""
    refs = [(position, ref) for position, item in enumerate(items) for ref in item.images]
    sizes = [_size(ref) for _, ref in refs]
    seen = Counter(sizes)
    candidates = [entry for entry, size in zip(refs, sizes) if size and seen[size] > often]
    with ThreadPoolExecutor(workers or cores()) as pool:
        digests = track(
            pool.map(_digest, (ref for _, ref in candidates)),
            total=len(candidates),
            text="photos",
            show=progress,
        )
        carriers: dict[bytes, dict[int, None]] = {}
        for (position, _), digest in zip(candidates, digests):
            if digest is not None:
                carriers.setdefault(digest, {})[position] = None
    return {key: list(group) for key, group in carriers.items()}


def product_groups(catalog: Catalog, *, progress: bool = False) -> npt.NDArray[np.int64]:
    """Return [N] equal for items of one product: the same photos, or variants of one group."""
    return with_variants(photo_groups(catalog.items, progress=progress), catalog.groups)


def with_variants(
    groups: npt.NDArray[np.int64], variants: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return [N] groups joined wherever items share a variant group; -1 there joins nothing."""
    if not (variants >= 0).any():
        return groups
    members: dict[tuple[str, int], list[int]] = {}
    for row, (group, variant) in enumerate(zip(groups.tolist(), variants.tolist())):
        members.setdefault(("photo", group), []).append(row)
        if variant >= 0:
            members.setdefault(("variant", variant), []).append(row)
    return _components(len(groups), [rows for rows in members.values() if len(rows) > 1])


def _components(size: int, groups: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Number 0..size-1 by the lowest member of the component that the groups put each into."""
    parent = list(range(size))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for group in groups:
        for other in group[1:]:
            one, two = sorted((root(group[0]), root(other)))
            parent[two] = one
    return np.fromiter((root(node) for node in range(size)), dtype=np.int64, count=size)


def _size(ref: ImageRef) -> int:
    if isinstance(ref, DrawnPhoto):
        return _size(ref.source)
    if isinstance(ref, bytes):
        return len(ref)
    if isinstance(ref, RemotePhoto):
        return -1
    try:
        return os.stat(ref).st_size
    except (OSError, ValueError):
        return 0


def _digest(ref: ImageRef) -> bytes | None:
    if isinstance(ref, RemotePhoto):  # by its address: nothing is fetched to compare
        return hashlib.sha256(ref.address.encode("utf-8", "surrogatepass")).digest()
    try:
        return bytes.fromhex(image_key(ref))
    except ImageError:
        return None

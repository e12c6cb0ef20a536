"""Which items show byte-identical photos: for all that a model can see, one product told twice."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.catalog.progress import track
from tgqformer.cores import cores
from tgqformer.errors import ImageError

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

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

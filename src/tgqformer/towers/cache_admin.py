"""Looking after the token cache: where it lies, how large it is, clearing it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tgqformer.errors import CacheError
from tgqformer.packaged import cache_root


@dataclass(frozen=True)
class CacheInfo:
    """One tower's part of the cache.

    Attributes:
        key: the tower's key, the folder's name.
        size: bytes on disk.
        shards: how many files.
        used: when a shard was last written, in seconds since 1970; 0 where none is.
    """

    key: str
    size: int
    shards: int
    used: float


def default_cache_dir() -> Path:
    """$TGQFORMER_CACHE if set, else ~/.cache/tgqformer; the towers' part of it."""
    return cache_root() / "towers"


def cache_info(root: Path | None = None) -> list[CacheInfo]:
    """What the cache holds, one entry for each tower, the largest first."""
    entries = []
    for folder in _tower_folders(root or default_cache_dir()):
        statuses = [path.stat() for path in folder.glob("*.safetensors")]
        entries.append(
            CacheInfo(
                folder.name,
                sum(status.st_size for status in statuses),
                len(statuses),
                max((status.st_mtime for status in statuses), default=0.0),
            )
        )
    return sorted(entries, key=lambda entry: -entry.size)


def clear_cache(root: Path | None = None, *, key: str | None = None) -> int:
    """Delete the cache, or one tower's part of it. Only folders that a tower wrote are touched.

    Returns:
        Bytes freed.

    Raises:
        CacheError: there is no part named `key`, or it cannot be deleted.
    """
    root = root or default_cache_dir()
    entries = [entry for entry in cache_info(root) if key is None or entry.key == key]
    if key is not None and not entries:
        raise CacheError(
            f"The token cache {str(root)!r} has no part {key!r}; list its parts first."
        )
    for entry in entries:
        try:
            shutil.rmtree(root / entry.key)
        except OSError as error:
            raise CacheError(
                f"{str(root / entry.key)!r} cannot be deleted ({error.strerror}); check its rights."
            ) from error
    return sum(entry.size for entry in entries)


def _tower_folders(root: Path) -> list[Path]:
    """Folders below `root` with a `tower.json` that names them."""
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        try:
            about = json.loads((folder / "tower.json").read_text())
        except (OSError, ValueError):
            continue
        if isinstance(about, dict) and about.get("key") == folder.name and not folder.is_symlink():
            found.append(folder)
    return found

"""A store's folder: its manifest, its size, and what puts its files on the disk."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tgqformer.errors import StorageError
from tgqformer.files import sync_folder, write_text

MANIFEST = "store.json"
LOCK = ".lock"
_FORMAT = 1


@dataclass(frozen=True)
class StoreManifest:
    """What `store.json` says: where the table is and what its vectors are.

    Attributes:
        table: name of the current table; a rebuilt store has another.
        dims: width of the vectors.
        model: digest of the model that made them, "" where unknown.
        compacted_bytes: size of the table when it was last tidied up.
        compacted_rows: its rows then; 0 where unknown.
    """

    table: str
    dims: int
    model: str = ""
    compacted_bytes: int = 0
    compacted_rows: int = 0
    format: int = _FORMAT


def read_manifest(root: Path) -> StoreManifest:
    """What a store's folder says of it; StorageError where it is no store."""
    try:
        said = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        manifest = StoreManifest(**said)
    except FileNotFoundError:
        raise StorageError(f"{root} is no store; make one with `tgqformer index build`.") from None
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{root / MANIFEST} cannot be read ({error}); build the store again."
        ) from error
    if manifest.format != _FORMAT:
        raise StorageError(
            f"{root} has format {manifest.format}, but this version reads {_FORMAT}; build the "
            "store again."
        )
    return manifest


def write_manifest(root: Path, manifest: StoreManifest) -> None:
    """Put a manifest in the old one's place."""
    write_text(root / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")


def stamp(path: Path) -> tuple[int, int] | None:
    """Something that differs once a file was replaced or a folder changed; None if absent."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


class TableFiles:
    """A table's files as its writer knows them; none of them is ever written twice.

    So a second look need not ask the system about what the first one saw, and a write stays cheap
    where many small ones have left thousands of files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[str, int] = {}

    def sync(self) -> tuple[int, int]:
        """Put on the disk what is new here, whoever wrote it: the table may build on a file of a
        writer that was killed before it could. Nobody may write meanwhile.

        Returns:
            Bytes of all files, and the versions among them.
        """
        sizes: dict[str, int] = {}
        for parent, _, names in os.walk(self.folder):
            paths = [os.path.join(parent, name) for name in names]
            fresh = [path for path in paths if path not in self._sizes]
            for path in fresh:
                sizes[path] = _sync(path)
            if fresh:
                sync_folder(Path(parent))
            sizes.update((path, self._sizes[path]) for path in paths if path in self._sizes)
        self._sizes = sizes
        return sum(sizes.values()), sum(path.endswith(".manifest") for path in sizes)


def _sync(path: str) -> int:
    """Put a file on the disk; its size."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def folder_size(folder: Path) -> tuple[int, int]:
    """Bytes of all files below a folder, and the versions among them."""
    total = versions = 0
    for parent, _, names in os.walk(folder):
        versions += sum(name.endswith(".manifest") for name in names)
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # tidied up meanwhile
                continue
    return total, versions


def remove_tables(root: Path, keep: str) -> None:
    """Remove tables that were replaced, or whose making was cut short."""
    for folder in root.glob("items-*.lance"):
        if folder.name != f"{keep}.lance":
            shutil.rmtree(folder, ignore_errors=True)

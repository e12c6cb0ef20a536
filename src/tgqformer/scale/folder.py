"""A folder of shards: its files, its manifest, and what changed in the catalog since it was made.

A stamp tells that an item has changed, without opening its photos. It covers the text that the
model reads and, of each photo, the file's name, size and time of modification (as rsync and make
judge), or a digest of its bytes where it is held in memory. A catalog that moves to another folder
with its times kept has the same stamps.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgqformer.catalog.items import DrawnPhoto, RemotePhoto
from tgqformer.errors import MissingDependencyError, StorageError
from tgqformer.files import atomic_path
from tgqformer.retrieval.embeddings import MANIFEST, STAMP_BYTES

if TYPE_CHECKING:
    from tgqformer.catalog.items import ImageRef, Item

FORMAT = 1

PLANNED = (
    "model",
    "catalog",
    "items",
    "dims",
    "precision",
    "compute",
    "batch_size",
    "shard_size",
    "since",
    "since_catalog",
)
"""What must be the same for a run to go on where another stopped."""

_STALE_SECONDS = 3600.0  # no shard takes this long to write


class Folder:
    """Whole files by name, on this machine or anywhere that fsspec reaches (s3://, gs://, ...).

    Each appears by rename, or, in an object store, by one upload.

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


@dataclass
class Manifest:
    """What lies in a folder of shards.

    Attributes:
        model: digest of the trained weights and configuration.
        run: the run's name, for people.
        catalog: digest of the whole catalog that was embedded, in its order.
        catalog_items: items of that catalog.
        items: items in this folder; fewer than the catalog's where `since` is given.
        dims: width of the vectors. precision: of the stored values.
        compute: dtype of connector and backbone.
        batch_size, shard_size: items in a forward pass, and in a shard.
        since: the folder that this one continues: it holds only what is new or changed. "" for a
            whole catalog. since_catalog: that folder's catalog digest.
        removed: ids that are in `since` and no longer in the catalog.
        quarantine: rows and values that the catalog left out, each with its reason.
        broken_photos: photos that could not be decoded: item_id, position, reason. Their items are
            embedded without them.
        shards: the files, in order, with their items.
        complete: whether all of them are there.
    """

    model: str
    run: str
    catalog: str
    catalog_items: int
    items: int
    dims: int
    precision: str
    compute: str
    batch_size: int
    shard_size: int
    since: str = ""
    since_catalog: str = ""
    removed: list[str] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    broken_photos: list[dict[str, Any]] = field(default_factory=list)
    shards: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False

    @property
    def count(self) -> int:
        """How many shards there are to be."""
        return -(-self.items // self.shard_size)

    def name(self, number: int) -> str:
        """File name of a shard."""
        return f"shard-{number:06d}.parquet"

    def plan(self) -> dict[str, Any]:
        """What decides the shards."""
        return {name: getattr(self, name) for name in PLANNED}

    def write(self, folder: Folder) -> None:
        """Write `manifest.json`, whole."""
        folder.write_text(MANIFEST, json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")


def read_manifest(folder: Folder) -> Manifest | None:
    """The manifest of a folder, None where it has none.

    Raises:
        StorageError: it is damaged, or of another version.
    """
    if MANIFEST not in folder.names():
        return None
    try:
        told = json.loads(folder.read_text(MANIFEST))
        version = told.pop("format")
        known = {f.name for f in fields(Manifest)}
        manifest = Manifest(**{name: value for name, value in told.items() if name in known})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"the manifest in {folder} is damaged; remove the folder and embed again."
        ) from error
    if version != FORMAT:
        raise StorageError(
            f"the manifest in {folder} has format {version}, and this version reads {FORMAT}; "
            "upgrade tgqformer."
        )
    return manifest


def require_same_plan(old: Manifest, new: Manifest, folder: Folder) -> None:
    """Raise StorageError where a folder was begun with something else."""
    for name, value in new.plan().items():
        before = old.plan()[name]
        if before != value:
            raise StorageError(
                f"{folder} was begun with {name} {before!r}, and this run has {value!r}; choose "
                "another --out, or remove the folder. To embed only what changed in the catalog, "
                f"give --changed-since {folder} and a new --out."
            )


def stamp(item: Item, text: str) -> bytes:
    """16 bytes, equal as long as `text` and the item's photos are."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=STAMP_BYTES)
    for ref in item.images:
        digest.update(b"\0\0" + _state(ref).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _state(ref: ImageRef) -> str:
    if isinstance(ref, DrawnPhoto):
        return f"{_state(ref.source)}\0{ref.recipe}"
    if isinstance(ref, bytes):
        return hashlib.sha256(ref).hexdigest()
    if isinstance(ref, RemotePhoto):
        return ref.address
    try:
        status = ref.stat()
        return f"{ref.name}\0{status.st_size}\0{status.st_mtime_ns}"
    except (OSError, ValueError):
        return f"{ref.name}\0absent"


def catalog_digest(ids: Iterable[str], stamps: Iterable[bytes]) -> str:
    """32 hex digits that name items, their order and their state."""
    digest = hashlib.blake2b(digest_size=16)
    for item_id, own in zip(ids, stamps, strict=True):
        digest.update(item_id.encode("utf-8", "surrogatepass") + b"\0" + own)
    return digest.hexdigest()


def since_folder(manifest_path: str) -> tuple[Folder, Manifest]:
    """The folder of a manifest (or the folder itself), which must be whole.

    Raises:
        StorageError: there is no manifest, or shards are still to come.
    """
    address = manifest_path.removesuffix(MANIFEST).rstrip("/") or "."
    folder = Folder(address)
    manifest = read_manifest(folder)
    if manifest is None:
        raise StorageError(
            f"{address} holds no {MANIFEST}; name one that `tgqformer embed --out FOLDER` wrote."
        )
    if not manifest.complete:
        raise StorageError(f"{address} is not finished; let its `tgqformer embed` end first.")
    return folder, manifest


def known_stamps(folder: Folder, manifest: Manifest) -> dict[str, bytes]:
    """Id to stamp of every item that a folder and those it continues know."""
    known: dict[str, bytes] = {}
    if manifest.since:
        address = manifest.since
        if folder.local is not None and not os.path.isabs(address) and "://" not in address:
            address = str(folder.local / address)
        known = known_stamps(*since_folder(address))
        for item_id in manifest.removed:
            known.pop(item_id, None)
    for shard in manifest.shards:
        known.update(_read_stamps(folder, shard["name"]))
    return known


def _read_stamps(folder: Folder, name: str) -> dict[str, bytes]:
    """Id to stamp of one shard; StorageError where it cannot be read."""
    table = _parquet(folder, name, lambda file: file.read(columns=["item_id", "stamp"]))
    ids, stamps = (table.column(column).to_pylist() for column in ("item_id", "stamp"))
    return dict(zip(ids, stamps, strict=True))


def read_broken(folder: Folder, name: str) -> tuple[int, list[dict[str, Any]]]:
    """How many items a shard has, and the photos that could not be read when it was made."""
    metadata = _parquet(folder, name, lambda file: file.metadata)
    broken = (metadata.metadata or {}).get(b"tgqformer.broken_photos", b"[]")
    return metadata.num_rows, json.loads(broken)


def changed(
    items: Sequence[Item], stamps: Sequence[bytes], known: Mapping[str, bytes]
) -> tuple[list[int], list[str]]:
    """Positions of the items that are new or changed, and the ids that are gone, in order."""
    todo = [
        place
        for place, (item, own) in enumerate(zip(items, stamps, strict=True))
        if known.get(item.item_id) != own
    ]
    here = {item.item_id for item in items}
    return todo, [item_id for item_id in known if item_id not in here]


def address_from(out: Folder, base: Folder) -> str:
    """The address of `base` as `out` shall remember it: relative where both are local."""
    if out.local is None or base.local is None:
        return base.address
    return Path(os.path.relpath(base.local, out.local)).as_posix()


def _parquet(folder: Folder, name: str, read: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with folder.open_shard(name) as raw, pq.ParquetFile(raw) as file:
            return read(file)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise StorageError(
            f"{name} in {folder} cannot be read ({str(error).splitlines()[0].rstrip('.')}); remove "
            "that file and run the same `tgqformer embed` again."
        ) from error

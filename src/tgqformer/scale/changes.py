"""Which items are new, changed or gone since another folder of shards was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgqformer.errors import StorageError
from tgqformer.retrieval.embeddings import MANIFEST
from tgqformer.scale.folder import Folder
from tgqformer.scale.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item


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
        known.update(read_stamps(folder, shard["name"]))
    return known


def read_stamps(folder: Folder, name: str) -> dict[str, bytes]:
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

"""The manifest of a folder of shards: what it was made from, and whether it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tgqformer.errors import StorageError
from tgqformer.retrieval.embeddings import MANIFEST
from tgqformer.scale.folder import Folder

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

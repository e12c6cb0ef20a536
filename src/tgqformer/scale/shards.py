"""Embedding a catalog into a folder of Parquet shards that any kill leaves sound.

A shard is a fixed stretch of the catalog and depends on nothing outside it, so the shards of a run
that was stopped and gone on with are those of an unbroken one. A shard that stands is whole: it
came by rename. The manifest is written first, with `complete` false, and last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tgqformer.config import whole_number
from tgqformer.errors import ConfigError
from tgqformer.retrieval.embeddings import EmbeddingWriter
from tgqformer.retrieval.scores import Precision, quantize
from tgqformer.scale.folder import (
    Folder,
    Manifest,
    address_from,
    catalog_digest,
    changed,
    known_stamps,
    read_broken,
    read_manifest,
    require_same_plan,
    since_folder,
    stamp,
)
from tgqformer.scale.pipeline import Compute, Pipeline, ShardVectors, resolve_compute

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder

SHARD_SIZE = 2048
"""Items in a shard: some minutes on two cores, which is what a kill can cost."""


@dataclass(frozen=True)
class ShardOptions:
    """What decides the shards, beside model and catalog.

    Attributes:
        dims: keep the first so many dimensions; None keeps all.
        precision: of the stored values.
        compute: dtype of connector and backbone.
        batch_size: items in one forward pass.
        shard_size: items in a shard.
        changed_since: a manifest, or its folder: embed only what is new or changed since.
    """

    dims: int | None = None
    precision: Precision = "float32"
    compute: Compute = "auto"
    batch_size: int = 64
    shard_size: int = SHARD_SIZE
    changed_since: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "shard_size"):
            whole_number(getattr(self, name), name)


class ShardJob:
    """One catalog on its way into one folder: what is to do, and the writing of it.

    Args:
        embedder: the model.
        items: the catalog's items, in order.
        out: the folder, on this machine or a URL.
        model, run: digest and name of the model, for the manifest.
        quarantine: what the catalog left out, as plain records.

    Raises:
        ConfigError: more dimensions are asked for than there are.
        StorageError: the folder was begun with something else, or cannot be used; or
            `changed_since` names no finished folder, or one of another model.
    """

    def __init__(
        self,
        embedder: ItemEmbedder,
        items: Sequence[Item],
        out: str,
        *,
        model: str,
        run: str = "",
        options: ShardOptions | None = None,
        quarantine: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.embedder, self.options = embedder, options or ShardOptions()
        self.folder = Folder(out)
        width = embedder.config.dims
        if self.options.dims is not None and self.options.dims > width:
            raise ConfigError(
                f"--dims {self.options.dims} must not exceed {width}, the width of the embedding."
            )
        stamps = [stamp(item, embedder.text(item)) for item in items]
        self.manifest = Manifest(
            model=model,
            run=run,
            catalog=catalog_digest((item.item_id for item in items), stamps),
            catalog_items=len(items),
            items=len(items),
            dims=self.options.dims or width,
            precision=self.options.precision,
            compute=str(resolve_compute(self.options.compute, embedder.device))[6:],
            batch_size=self.options.batch_size,
            shard_size=self.options.shard_size,
            quarantine=list(quarantine),
        )
        self._items, self._stamps = items, stamps
        self._places: Sequence[int] = range(len(items))
        if self.options.changed_since is not None:
            self._narrow(self.options.changed_since)

    def _narrow(self, since: str) -> None:
        """Leave only what is new or changed since another folder was made."""
        base, old = since_folder(since)
        for name in ("model", "dims", "precision"):
            if getattr(old, name) != getattr(self.manifest, name):
                raise ConfigError(
                    f"{base} has {name} {getattr(old, name)!r} and this run has "
                    f"{getattr(self.manifest, name)!r}, so every vector changes; embed the whole "
                    "catalog, without --changed-since."
                )
        self._places, gone = changed(self._items, self._stamps, known_stamps(base, old))
        self.manifest.items = len(self._places)
        self.manifest.since = address_from(self.folder, base)
        self.manifest.since_catalog = old.catalog
        self.manifest.removed = gone

    def begin(self) -> list[int]:
        """Write or check the manifest; return the numbers of the shards that are to be made."""
        old = read_manifest(self.folder)
        if old is None:
            self.manifest.write(self.folder)
        else:
            require_same_plan(old, self.manifest, self.folder)
        self.folder.remove_stale()
        there = self.folder.names()
        numbers = range(self.manifest.count)
        return [number for number in numbers if self.manifest.name(number) not in there]

    def size(self, number: int) -> int:
        """How many items a shard has."""
        return len(self._stretch(number))

    def shard(self, number: int) -> list[Item]:
        """The items of a shard."""
        return [self._items[place] for place in self._stretch(number)]

    def write(self, made: ShardVectors) -> None:
        """Write a shard, whole."""
        about = {
            "model": self.manifest.model,
            "run": self.manifest.run,
            "broken_photos": json.dumps([photo._asdict() for photo in made.broken]),
        }
        places = self._stretch(made.number)
        ids = [self._items[place].item_id for place in places]
        stored = quantize(made.vectors, self.options.precision, self.options.dims)

        def fill(path: Any) -> None:
            with EmbeddingWriter(
                path,
                dims=self.manifest.dims,
                precision=self.options.precision,
                metadata=about,
                stamps=True,
            ) as writer:
                writer.write(ids, stored, [self._stamps[place] for place in places])

        self.folder.write(self.manifest.name(made.number), fill)

    def finish(self) -> Manifest:
        """Take the shards into the manifest and call it complete."""
        self.manifest.shards, self.manifest.broken_photos = [], []
        for number in range(self.manifest.count):
            name = self.manifest.name(number)
            items, broken = read_broken(self.folder, name)
            self.manifest.shards.append({"name": name, "items": items})
            self.manifest.broken_photos += broken
        self.manifest.complete = True
        self.manifest.write(self.folder)
        return self.manifest

    def _stretch(self, number: int) -> Sequence[int]:
        size = self.options.shard_size
        return self._places[number * size : (number + 1) * size]


def embed_shards(job: ShardJob, pipeline: Pipeline) -> Iterator[int]:
    """Do what is left of a job in this process, and finish it.

    Yields:
        Items done, batch by batch; first those that an earlier start has done.
    """
    todo = job.begin()
    shards = ((number, job.shard(number)) for number in todo)
    left = sum(job.size(number) for number in todo)
    yield job.manifest.items - left
    for made in pipeline.run(shards, left):
        if isinstance(made, int):
            yield made
        else:
            job.write(made)
    job.finish()

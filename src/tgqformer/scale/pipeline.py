"""The way of a catalog through the model: shard by shard, the next batches decoded meanwhile.

What is held at one time are the pixels of a few batches, the tower states of photos that may come
again, and the vectors of one shard: none of it grows with the catalog.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from tgqformer.config_values import whole_number
from tgqformer.cores import reading_threads
from tgqformer.scale.forward import BatchEncoder, Compute, Staged, check_finite
from tgqformer.scale.photos import MANY, ItemPhotos, PhotoReader

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.retrieval.scores import Vectors

_AHEAD = 3  # batches whose photos are read before their turn


@dataclass(frozen=True)
class BrokenPhoto:
    """A photo that was passed over: whose, which of its photos (from 0), and why."""

    item_id: str
    position: int
    reason: str


@dataclass
class ShardVectors:
    """One shard: `vectors` float32 [n, D] in the order of its items, and what could not be read."""

    number: int
    vectors: Vectors
    broken: list[BrokenPhoto] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    number: int
    size: int
    places: list[int]
    items: list[Item]
    texts: list[str]
    first: bool
    last: bool


class Pipeline:
    """Embeds shards of items at the speed of the model.

    Args:
        embedder: where it has a token cache, that is filled and read, shard by shard.
        batch_size: items in one forward pass; those of similar prompt length go together.
        workers: processes that decode; 0 uses threads; None chooses by the number of items.
        compute, compile: see `BatchEncoder`.
    """

    def __init__(
        self,
        embedder: ItemEmbedder,
        *,
        batch_size: int = 64,
        workers: int | None = None,
        compute: Compute = "auto",
        compile: bool = False,
    ) -> None:
        self.embedder, self.workers = embedder, workers
        self.batch_size = whole_number(batch_size, "batch_size")
        self.encoder = BatchEncoder(embedder, compute=compute, compile=compile)

    def run(
        self, shards: Iterable[tuple[int, Sequence[Item]]], total: int
    ) -> Iterator[int | ShardVectors]:
        """Embed shards in order.

        Args:
            shards: number and items of each; read as they are needed.
            total: items in all, by which the number of workers is chosen.

        Yields:
            After every batch how many items it had; after the last of a shard, the shard.
        """
        if self.embedder.features.image_cache is not None:
            yield from self._from_cache(shards)
            return
        features = self.embedder.features
        with PhotoReader(
            features.image_tower, self.embedder.config.max_images, self._processes(total)
        ) as reader:
            yield from self._collect(self._decoded(shards, reader))

    def _processes(self, total: int) -> int:
        if self.workers is not None:
            return self.workers
        return reading_threads() if total >= MANY else 0

    def _batches(self, shards: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[_Batch]:
        for number, items in shards:
            texts = [self.embedder.text(item) for item in items]
            order = sorted(range(len(items)), key=self._lengths(items, texts).__getitem__)
            starts = range(0, len(items), self.batch_size)
            for start in starts:
                places = order[start : start + self.batch_size]
                yield _Batch(
                    number,
                    len(items),
                    places,
                    [items[place] for place in places],
                    [texts[place] for place in places],
                    first=start == 0,
                    last=start == starts[-1],
                )

    def _lengths(self, items: Sequence[Item], texts: Sequence[str]) -> list[tuple[int, int]]:
        """Sort keys: the tokens of an item's prompt."""
        lengths = self.embedder.prompts.lengths(texts, [bool(item.images) for item in items])
        return [(length, place) for place, length in enumerate(lengths)]

    def _decoded(
        self, shards: Iterable[tuple[int, Sequence[Item]]], reader: PhotoReader
    ) -> Iterator[tuple[_Batch, list[ItemPhotos]]]:
        ahead: deque[tuple[_Batch, list[Future[list[ItemPhotos]]]]] = deque()
        for batch in self._batches(shards):
            ahead.append((batch, reader.submit(batch.items)))
            if len(ahead) > _AHEAD:
                ready, waiting = ahead.popleft()
                yield ready, reader.collect(waiting)
        for ready, waiting in ahead:
            yield ready, reader.collect(waiting)

    def _collect(
        self, decoded: Iterable[tuple[_Batch, list[ItemPhotos]]]
    ) -> Iterator[int | ShardVectors]:
        before: tuple[_Batch, Staged] | None = None
        parts: list[tuple[list[int], torch.Tensor]] = []
        told: dict[int, list[BrokenPhoto]] = {}

        def run(batch: _Batch, staged: Staged) -> Iterator[int | ShardVectors]:
            parts.append((batch.places, self.encoder.run(staged)))
            yield len(batch.items)
            if batch.last:
                found = sorted(told.pop(batch.number), key=lambda b: (b.item_id, b.position))
                yield ShardVectors(batch.number, _in_order(parts, batch.size), found)
                parts.clear()

        for batch, photos in decoded:
            if batch.first:
                self.encoder.forget()
            noted = told.setdefault(batch.number, [])
            for item, one in zip(batch.items, photos, strict=True):
                noted += [BrokenPhoto(item.item_id, place, why) for place, why in one.broken]
            staged = self.encoder.stage(batch.texts, photos)  # copied while the last one runs
            if before is not None:
                yield from run(*before)
            before = batch, staged
        if before is not None:
            yield from run(*before)

    def _from_cache(
        self, shards: Iterable[tuple[int, Sequence[Item]]]
    ) -> Iterator[int | ShardVectors]:
        for number, items in shards:
            report = self.embedder.features.fill(items)
            vectors = self.embedder.encode(items, batch_size=self.batch_size, errors="ignore")
            broken = [BrokenPhoto(*problem) for problem in report.broken]
            yield len(items)
            yield ShardVectors(number, vectors, broken)


def _in_order(parts: Sequence[tuple[list[int], torch.Tensor]], size: int) -> Vectors:
    vectors = torch.cat([part for _, part in parts])
    check_finite(vectors)
    out: Vectors = np.empty((size, vectors.shape[1]), dtype=np.float32)
    out[[place for places, _ in parts for place in places]] = vectors.cpu().numpy()
    return out

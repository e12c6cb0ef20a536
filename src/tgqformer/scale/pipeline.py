"""The way of a catalog through the model: shard by shard, the next batches decoded meanwhile.

What is held at one time are the pixels of a few batches, the tower states of photos that may come
again, and the vectors of one shard: none of it grows with the catalog.
"""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tgqformer.catalog.images import decode_image, read_image_bytes
from tgqformer.config import whole_number
from tgqformer.cores import reading_threads
from tgqformer.errors import ImageError, StorageError
from tgqformer.scale.forward import BatchEncoder, Compute, Staged, check_finite

if TYPE_CHECKING:
    from tgqformer.catalog.items import ImageRef, Item
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.retrieval.scores import Vectors
    from tgqformer.towers.base import ImageTower

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


# -- photos ----------------------------------------------------------------------------------------
# Reading, decoding and resizing photos beside the towers: in order, and never far ahead.
#
# Worker processes get the tower without its network, which is all that preprocessing needs, and
# come from a fork server, which has no threads that a fork could leave in the middle of something.

Pixels = Mapping[str, npt.NDArray[np.generic]]

MANY = 4096  # items from which on starting processes pays
_TASK = 8  # items in one task of a worker process

_worker_tower: ImageTower | None = None


@dataclass(frozen=True)
class ItemPhotos:
    """An item's photos, ready for the tower.

    Attributes:
        keys: the SHA-256 of each photo's bytes.
        pixels: what the tower's `preprocess` made of each, as arrays.
        broken: position among the item's photos, and reason, of those that were passed over.
    """

    keys: list[bytes] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)


class PhotoReader:
    """Reads the photos of batches of items in worker processes or threads; a context manager.

    Args:
        tower: whose `preprocess` is applied.
        max_images: photos of an item to look at, the first that can be read.
        workers: processes; 0 decodes in threads of this process.
    """

    def __init__(self, tower: ImageTower, max_images: int, workers: int) -> None:
        self._tower, self._max_images, self.workers = tower, max_images, workers
        self._pool: Executor | None = None

    def __enter__(self) -> PhotoReader:
        if self.workers:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self._pool = ProcessPoolExecutor(
                self.workers, context, initializer=_start, initargs=(without_network(self._tower),)
            )
        else:
            self._pool = ThreadPoolExecutor(reading_threads(), "decode")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._pool is not None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, items: Sequence[Item]) -> list[Future[list[ItemPhotos]]]:
        """Begin to read the photos of a batch."""
        assert self._pool is not None
        size = _TASK if self.workers else 1
        read = _read_in_worker if self.workers else partial(read_photos, self._tower)
        refs = [item.images for item in items]
        cuts = [refs[start : start + size] for start in range(0, len(refs), size)]
        return [self._pool.submit(read, cut, self._max_images) for cut in cuts]

    @staticmethod
    def collect(waiting: Sequence[Future[list[ItemPhotos]]]) -> list[ItemPhotos]:
        """The photos of a batch, one entry for each item.

        Raises:
            StorageError: a worker process was killed.
        """
        try:
            return [photos for future in waiting for photos in future.result()]
        except BrokenProcessPool as error:
            raise StorageError(
                "a worker process that decodes photos was killed, for want of memory perhaps; "
                "start again with fewer --workers, and the work goes on where it stopped."
            ) from error


def read_photos(
    tower: ImageTower, refs: Sequence[Sequence[ImageRef]], max_images: int
) -> list[ItemPhotos]:
    """Read and preprocess the first `max_images` readable photos of each item."""
    return [_read_item(tower, images, max_images) for images in refs]


def without_network(tower: ImageTower) -> ImageTower:
    """A copy of a tower that preprocesses and cannot encode: small enough to send to a worker."""
    shell = copy.copy(tower)
    for name, value in list(vars(shell).items()):
        if isinstance(value, nn.Module):
            delattr(shell, name)
    return shell


def _read_item(tower: ImageTower, images: Sequence[ImageRef], max_images: int) -> ItemPhotos:
    found = ItemPhotos()
    for position, ref in enumerate(images):
        if len(found.keys) == max_images:
            break
        try:
            data = read_image_bytes(ref)
            key = hashlib.sha256(data).digest()
            if key in found.keys:
                continue
            inputs = tower.preprocess(decode_image(data, size_hint=tower.image_size))
        except ImageError as error:
            found.broken.append((position, _named(error, ref)))
        else:
            found.keys.append(key)
            found.pixels.append({name: tensor.numpy() for name, tensor in inputs.items()})
    if len(found.keys) > 1:  # as `towers.photos.PhotoBook` has them
        order = sorted(range(len(found.keys)), key=found.keys.__getitem__)
        found.keys[:] = [found.keys[place] for place in order]
        found.pixels[:] = [found.pixels[place] for place in order]
    return found


def _named(error: ImageError, ref: ImageRef) -> str:
    text = str(error)
    return text if isinstance(ref, bytes) or str(ref) in text else f"{ref}: {text}"


def _start(tower: ImageTower) -> None:
    global _worker_tower
    import torch

    torch.set_num_threads(1)
    _worker_tower = tower


def _read_in_worker(refs: Sequence[Sequence[ImageRef]], max_images: int) -> list[ItemPhotos]:
    assert _worker_tower is not None
    return read_photos(_worker_tower, refs, max_images)

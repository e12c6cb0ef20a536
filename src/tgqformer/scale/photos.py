"""Reading, decoding and resizing photos beside the towers: in order, and never far ahead.

Worker processes get the tower without its network, which is all that preprocessing needs, and come
from a fork server, which has no threads that a fork could leave in the middle of something.
"""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from tgqformer.catalog.images import decode_image, read_image_bytes
from tgqformer.cores import reading_threads
from tgqformer.errors import ImageError, StorageError

if TYPE_CHECKING:
    from tgqformer.catalog.items import ImageRef, Item
    from tgqformer.towers.base import ImageTower

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

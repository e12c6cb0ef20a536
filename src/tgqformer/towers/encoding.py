"""From photos and texts to what a tower says of them: known by their bytes, read ahead, in order.

What many photos wait for is decoding, so it runs in threads, or in processes, beside the tower; and
never far ahead of it, so that what is held does not grow with the catalog. A photo that cannot be
read is passed over and told of.
"""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tgqformer.catalog.images import decode_image, drawn_key, image_key, read_image_bytes
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.cores import reading_threads
from tgqformer.errors import ImageError, StorageError
from tgqformer.towers.base import ImageTower, PixelInputs, TextTower, TowerOutput
from tgqformer.towers.cache import Row, to_half

Decoding: TypeAlias = "Future[PixelInputs]"

Pixels: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
"""What `ImageTower.preprocess` made of a photo, as arrays."""

_TASK = 8  # items in one task of a worker process

T = TypeVar("T")
H = TypeVar("H")


class BrokenPhoto(NamedTuple):
    """A photo that was passed over: whose, which of its photos (from 0), and why."""

    item_id: str
    position: int
    reason: str


def ahead(inputs: Iterable[T], begin: Callable[[T], H], count: int) -> Iterator[tuple[T, H]]:
    """Every input with what `begin` made of it, begun so many inputs before its turn."""
    begun: deque[tuple[T, H]] = deque()
    for one in inputs:
        begun.append((one, begin(one)))
        if len(begun) > count:
            yield begun.popleft()
    while begun:
        yield begun.popleft()


def one_ahead(make: Callable[[T], H], inputs: Iterable[T]) -> Iterator[H]:
    """`make` of each input in order, the next one made in a thread while one is used."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        for _, coming in ahead(inputs, lambda one: pool.submit(make, one), 1):
            yield coming.result()


def decode(tower: ImageTower, ref: ImageRef) -> PixelInputs:
    """Read one photo and make the tower's input of it; ImageError where it cannot be read."""
    return tower.preprocess(decode_image(ref, size_hint=tower.image_size))


class PhotoBook:
    """Remembers the keys of files and which photos could not be decoded.

    Attributes:
        broken: key of a photo that cannot be decoded, to the reason.
    """

    def __init__(self, max_images: int) -> None:
        self.max_images = max_images
        self.broken: dict[bytes, str] = {}
        self._keys: dict[tuple[Path | RemotePhoto, int, int], bytes] = {}

    def photos(
        self, item: Item, problems: list[BrokenPhoto] | None = None
    ) -> dict[bytes, ImageRef]:
        """The item's first `max_images` photos that are not known to be broken, by key.

        They come in the order of their keys, so that the shop's order changes no bit of what is
        made of them; it only decides which are read where there are more.

        Args:
            problems: broken photos that were passed over are appended here.
        """
        found: dict[bytes, ImageRef] = {}
        for position, ref in enumerate(item.images):
            if len(found) == self.max_images:
                break
            try:
                key = self.key(ref)
            except ImageError as error:  # unreadable now, perhaps not the next time
                reason: str | None = str(error)
            else:
                reason = self.broken.get(key)
                if reason is None:
                    found.setdefault(key, ref)
            if reason is not None and problems is not None:
                problems.append(BrokenPhoto(item.item_id, position, reason))
        return found if len(found) < 2 else dict(sorted(found.items()))

    def key(self, ref: ImageRef) -> bytes:
        """SHA-256 of the photo's bytes; a file that has not changed is not read again.

        Raises:
            ImageError: the file cannot be read.
        """
        if isinstance(ref, DrawnPhoto):
            return bytes.fromhex(drawn_key(self.key(ref.source).hex(), ref.recipe))
        if isinstance(ref, bytes):
            return bytes.fromhex(image_key(ref))
        if isinstance(ref, RemotePhoto):
            known: tuple[Path | RemotePhoto, int, int] = (ref, 0, 0)
        else:
            try:
                status = ref.stat()
            except (OSError, ValueError):
                return bytes.fromhex(image_key(ref))  # says in a sentence what is wrong
            known = (ref, status.st_mtime_ns, status.st_size)
        key = self._keys.get(known)
        if key is None:
            key = self._keys[known] = bytes.fromhex(image_key(ref))
        return key


@dataclass(frozen=True)
class Encoded:
    """One batch of a tower: a row for each key that could be read, a reason for each that not."""

    keys: list[bytes]
    rows: list[Row]
    broken: list[tuple[bytes, str]]


class PhotoEncoder:
    """Decodes photos in a thread pool, one batch ahead of the tower."""

    def __init__(self, tower: ImageTower, workers: int | None = None) -> None:
        self.tower = tower
        self.workers = workers or reading_threads()
        self.calls = 0

    def encode(
        self, photos: Iterable[tuple[bytes, ImageRef]], batch_size: int
    ) -> Iterator[Encoded]:
        """Yield batches of rows in the order of `photos`; an unreadable photo is never a stop."""
        source = iter(photos)
        chunks = iter(lambda: list(islice(source, batch_size)), [])
        with ThreadPoolExecutor(self.workers, "decode") as pool:

            def begin(chunk: list[tuple[bytes, ImageRef]]) -> list[tuple[bytes, Decoding]]:
                return [(key, pool.submit(decode, self.tower, ref)) for key, ref in chunk]

            try:
                for _, waiting in ahead(chunks, begin, 1):
                    yield self._run(waiting)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, waiting: list[tuple[bytes, Decoding]]) -> Encoded:
        keys, inputs, broken = [], [], []
        for key, future in waiting:
            try:
                inputs.append(future.result())
                keys.append(key)
            except ImageError as error:
                broken.append((key, str(error)))
        if not inputs:
            return Encoded([], [], broken)
        self.calls += 1
        return Encoded(keys, to_rows(self.tower.encode(inputs), "The image tower"), broken)


class TextEncoder:
    """Runs a text tower over texts, the similarly long ones together."""

    def __init__(self, tower: TextTower) -> None:
        self.tower = tower
        self.calls = 0

    def encode(self, texts: Sequence[tuple[bytes, str]], batch_size: int) -> Iterator[Encoded]:
        """Yield batches of rows, shortest texts first."""
        by_length = sorted(texts, key=lambda pair: len(pair[1]))
        for start in range(0, len(by_length), batch_size):
            chunk = by_length[start : start + batch_size]
            self.calls += 1
            out = self.tower.encode([text for _, text in chunk])
            yield Encoded([key for key, _ in chunk], to_rows(out, "The text tower"), [])


def to_rows(out: TowerOutput, owner: str) -> list[Row]:
    """Cut a tower's output into rows on the CPU, without padding."""
    tokens = to_half(out.tokens.float().cpu().numpy(), owner)
    pooled = out.pooled.to("cpu", torch.float32).numpy()
    lengths = out.mask.sum(1).tolist()
    return [
        Row(tokens[i, :length], pooled[i])  # masks are padded on the right
        for i, length in enumerate(lengths)
    ]


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

    Worker processes get the tower without its network, which is all that preprocessing needs, and
    come from a fork server, which has no threads that a fork could leave in the middle of
    something.

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
            inputs = decode(tower, data)
        except ImageError as error:
            found.broken.append((position, _named(error, ref)))
        else:
            found.keys.append(key)
            found.pixels.append({name: tensor.numpy() for name, tensor in inputs.items()})
    if len(found.keys) > 1:  # as `PhotoBook` has them
        order = sorted(range(len(found.keys)), key=found.keys.__getitem__)
        found.keys[:] = [found.keys[place] for place in order]
        found.pixels[:] = [found.pixels[place] for place in order]
    return found


def _named(error: ImageError, ref: ImageRef) -> str:
    text = str(error)
    return text if isinstance(ref, bytes) or str(ref) in text else f"{ref}: {text}"


_worker_tower: ImageTower | None = None
"""Of a worker process, set when it starts."""


def _start(tower: ImageTower) -> None:
    global _worker_tower
    torch.set_num_threads(1)
    _worker_tower = tower


def _read_in_worker(refs: Sequence[Sequence[ImageRef]], max_images: int) -> list[ItemPhotos]:
    assert _worker_tower is not None
    return read_photos(_worker_tower, refs, max_images)

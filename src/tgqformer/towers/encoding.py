"""Running a tower over many inputs: decoding in threads, the tower in batches, float16 out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from tgqformer.catalog.images import decode_image, drawn_key, image_key
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.cores import reading_threads
from tgqformer.errors import ImageError
from tgqformer.towers.base import ImageTower, PixelInputs, TextTower, TowerOutput
from tgqformer.towers.cache import Row, to_half


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
        ahead: deque[list[tuple[bytes, Future[PixelInputs]]]] = deque()
        with ThreadPoolExecutor(self.workers, "decode") as pool:
            try:
                while True:
                    while len(ahead) < 2 and (chunk := list(islice(source, batch_size))):
                        ahead.append([(key, pool.submit(self._read, ref)) for key, ref in chunk])
                    if not ahead:
                        return
                    yield self._run(ahead.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, ref: ImageRef) -> PixelInputs:
        return self.tower.preprocess(decode_image(ref, size_hint=self.tower.image_size))

    def _run(self, waiting: list[tuple[bytes, Future[PixelInputs]]]) -> Encoded:
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


# -- photos ----------------------------------------------------------------------------------------
# Which photos of an item count: known by their bytes, the broken ones left out.


class BrokenImage(NamedTuple):
    """A photo that was skipped: whose, which of its photos (from 0), and why."""

    item_id: str
    position: int
    reason: str


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
        self, item: Item, problems: list[BrokenImage] | None = None
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
                problems.append(BrokenImage(item.item_id, position, reason))
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

"""From items to the tensors that connectors read, by way of the token cache."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import ImageRef, Item
from tgqformer.catalog.progress import track
from tgqformer.catalog.text import TEXT_FIELDS, item_text
from tgqformer.errors import ImageError
from tgqformer.towers.base import ImageTower, TextTower, TowerBatch
from tgqformer.towers.cache import Row, Single, TokenCache
from tgqformer.towers.encoding import Encoded, PhotoEncoder, TextEncoder

SHARD_BYTES = 64 << 20  # a shard is written when it has this many bytes,
SHARD_SECONDS = 60.0  # or when this long has passed: what a kill can cost


class BrokenImage(NamedTuple):
    """A photo that was skipped: whose, which of its photos (from 0), and why."""

    item_id: str
    position: int
    reason: str


@dataclass(frozen=True)
class FillReport:
    """What `ItemFeatures.fill` did.

    Attributes:
        photos: photos encoded now. texts: texts encoded now. size: bytes these take, estimated.
        broken: photos that could not be read; their items count as without them.
    """

    photos: int
    texts: int
    size: int
    broken: list[BrokenImage] = field(default_factory=list)


class Globals(NamedTuple):
    """Pooled vectors of N items: image [N, Dg], text [N, Dtg] (float32) and presence [N, 2]."""

    image: Single
    text: Single
    presence: np.ndarray[tuple[int, int], np.dtype[np.bool_]]


class ItemFeatures:
    """The frozen towers' view of items.

    An item's photo is the first of its photos that can be read (the first `max_images`; their
    tokens stand one after another and their global vectors are averaged). Its text is
    `catalog.text.item_text` over `text_fields`.

    Args:
        image_tower, text_tower: see `towers.load`.
        cache_dir: folder of the token cache (`cache_admin.default_cache_dir()`); None runs the
            towers at every call, which suits one pass over a catalog too large to keep.
        max_images: photos of an item to look at.
        workers: threads that decode; None is one for each core, at most 16.
    """

    def __init__(
        self,
        image_tower: ImageTower,
        text_tower: TextTower,
        cache_dir: Path | None,
        *,
        max_images: int = 1,
        text_fields: Sequence[str] = TEXT_FIELDS,
        workers: int | None = None,
    ) -> None:
        self.image_tower, self.text_tower = image_tower, text_tower
        self.max_images, self.text_fields = max_images, tuple(text_fields)
        self._photos = PhotoEncoder(image_tower, workers)
        self._texts = TextEncoder(text_tower)
        self.image_cache = _open_cache(cache_dir, image_tower)
        self.text_cache = _open_cache(cache_dir, text_tower)
        self._path_keys: dict[tuple[Path, int, int], bytes] = {}
        self._broken: dict[bytes, str] = {}

    @property
    def tower_calls(self) -> int:
        """How many batches the two towers have encoded so far."""
        return self._photos.calls + self._texts.calls

    @property
    def shared_space(self) -> bool:
        """Whether the cosine of image and text globals is their agreement."""
        return self.image_tower.space is not None and (
            self.image_tower.space == self.text_tower.space
        )

    def text_of(self, item: Item) -> str:
        """The text that the text tower reads of an item, "" where nothing is known."""
        return item_text(item, fields=self.text_fields)

    # -- filling ---------------------------------------------------------------------------------

    def fill(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        batch_size: int = 32,
        progress: bool = False,
        on_error: Callable[[BrokenImage], None] | None = None,
    ) -> FillReport:
        """Encode what is not cached yet; afterwards `batch` calls no tower for these items.

        A photo that cannot be read is reported and skipped. Stopping loses at most the last minute.

        Args:
            texts: the texts to fill instead of the items' own.
            on_error: told of every broken photo.

        Raises:
            CacheError: the disk has no room for it (before anything is encoded), or fails.
        """
        broken: list[BrokenImage] = []
        if self.image_cache is None or self.text_cache is None:
            return FillReport(0, 0, 0, broken)
        self.image_cache.refresh()
        self.text_cache.refresh()
        photos = self._missing_photos(items, progress=progress)
        own = [self.text_of(item) for item in items] if texts is None else texts
        wanted = {text_key(text): text for text in own if text}
        sentences = [(key, wanted[key]) for key in self.text_cache.missing(wanted)]
        size = self.image_cache.estimate(len(photos), self.image_tower.max_tokens)
        size += self.text_cache.estimate(len(sentences), self.text_tower.max_tokens)
        if size:
            self.image_cache.check_room(size)
            if progress:
                print(
                    f"token cache: {len(photos):,} photos and {len(sentences):,} texts to encode, "
                    f"at most {size / 1e9:.2f} GB in {self.image_cache.folder.parent}",
                    file=sys.stderr,
                )
        count = 0
        while photos:
            count += len(photos)
            encoded = self._photos.encode(photos.items(), batch_size)
            before = len(self._broken)
            self._store(self.image_cache, encoded, len(photos), "photos", progress)
            # an item whose photo turned out broken falls back on its next one
            photos = self._missing_photos(items) if len(self._broken) > before else {}
        encoded = self._texts.encode(sentences, batch_size)
        self._store(self.text_cache, encoded, len(sentences), "texts", progress)
        for item in items:
            self._photo_keys(item, broken)
        for problem in broken:
            if on_error is not None:
                on_error(problem)
        return FillReport(count, len(sentences), size, broken)

    def _missing_photos(
        self, items: Sequence[Item], *, progress: bool = False
    ) -> dict[bytes, ImageRef]:
        assert self.image_cache is not None
        wanted: dict[bytes, ImageRef] = {}
        with ThreadPoolExecutor(self._photos.workers, "hash") as pool:
            found = pool.map(self._photo_keys, items)
            for pairs in track(found, total=len(items), text="hashing photos", show=progress):
                wanted.update(pairs)
        return {key: wanted[key] for key in self.image_cache.missing(wanted)}

    def _store(
        self,
        cache: TokenCache,
        batches: Iterator[Encoded],
        total: int,
        noun: str,
        progress: bool,
    ) -> None:
        """Write batches to the cache as they come, many to a shard."""
        keys: list[bytes] = []
        rows: list[Row] = []
        held, since = 0, time.monotonic()

        def one_by_one() -> Iterator[tuple[bytes, Row | None]]:
            for batch in batches:
                self._broken.update(batch.broken)
                yield from ((key, None) for key, _ in batch.broken)
                yield from zip(batch.keys, batch.rows, strict=True)

        def flush() -> None:
            nonlocal held, since
            if keys:
                cache.put(
                    keys, [row.tokens for row in rows], np.stack([row.pooled for row in rows])
                )
            keys.clear()
            rows.clear()
            held, since = 0, time.monotonic()

        try:
            for key, row in track(
                one_by_one(), total=total, text=f"encoding {noun}", show=progress
            ):
                if row is None:
                    continue
                keys.append(key)
                rows.append(row)
                held += row.tokens.nbytes + row.pooled.nbytes
                if held >= SHARD_BYTES or time.monotonic() - since >= SHARD_SECONDS:
                    flush()
        finally:  # a stop by the user keeps what is encoded
            flush()

    # -- reading ---------------------------------------------------------------------------------

    def batch(self, items: Sequence[Item], *, texts: Sequence[str] | None = None) -> TowerBatch:
        """The towers' float32 output for `items`, on the CPU.

        What is not cached is encoded here and now, and not kept: call `fill` first.

        Args:
            texts: read these instead of the items' own texts ("" for none), one for each item.
        """
        photo_rows, text_rows = self._rows(items, texts)
        visual, visual_mask = pad(
            photo_rows, self.image_tower.dim, self.image_tower.num_tokens or 1
        )
        text, text_mask = pad(text_rows, self.text_tower.dim, 1)
        image_global = pool(photo_rows, self.image_tower.global_dim)
        text_global = pool(text_rows, self.text_tower.global_dim)
        presence = torch.tensor([[bool(p), bool(t)] for p, t in zip(photo_rows, text_rows)])
        return TowerBatch(
            visual,
            visual_mask,
            torch.from_numpy(image_global),
            text,
            text_mask,
            torch.from_numpy(text_global),
            presence.reshape(-1, 2).bool(),
        )

    def batches(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 64,
        texts: Sequence[str] | None = None,
    ) -> Iterator[TowerBatch]:
        """`batch` over slices of `items` in order, the next one made while one is used."""

        def make(start: int) -> TowerBatch:
            stop = start + batch_size
            return self.batch(items[start:stop], texts=None if texts is None else texts[start:stop])

        with ThreadPoolExecutor(1, "features") as pool:
            starts = range(0, len(items), batch_size)
            ahead = pool.submit(make, 0) if items else None
            for start in starts:
                assert ahead is not None
                ready = ahead.result()
                if start + batch_size < len(items):
                    ahead = pool.submit(make, start + batch_size)
                yield ready

    def globals(self, items: Sequence[Item], *, texts: Sequence[str] | None = None) -> Globals:
        """Only the pooled vectors: the frozen towers' embedding of each item, zero where absent."""
        photo_rows, text_rows = self._rows(items, texts, pooled_only=True)
        presence = np.array([[bool(p), bool(t)] for p, t in zip(photo_rows, text_rows)], dtype=bool)
        return Globals(
            pool(photo_rows, self.image_tower.global_dim),
            pool(text_rows, self.text_tower.global_dim),
            presence.reshape(-1, 2),
        )

    def _rows(
        self, items: Sequence[Item], texts: Sequence[str] | None, *, pooled_only: bool = False
    ) -> tuple[list[list[Row]], list[list[Row]]]:
        """The cached or fresh rows of each item: its photos', and its text's."""
        if texts is not None and len(texts) != len(items):
            raise ValueError(f"{len(texts)} texts were given for {len(items)} items")
        own = [self.text_of(item) for item in items] if texts is None else texts
        text_keys = [text_key(text) if text else None for text in own]
        text_rows = _look_up(self.text_cache, [k for k in text_keys if k], pooled_only)
        absent = {k: t for k, t in zip(text_keys, own) if k and k not in text_rows}
        for batch in self._texts.encode(list(absent.items()), max(1, len(absent))):
            text_rows.update(zip(batch.keys, batch.rows, strict=True))

        photo_rows: dict[bytes, Row] = {}
        while True:
            photos = [self._photo_keys(item) for item in items]
            new = {k: ref for pairs in photos for k, ref in pairs.items() if k not in photo_rows}
            photo_rows.update(_look_up(self.image_cache, new, pooled_only))
            unread = [(key, ref) for key, ref in new.items() if key not in photo_rows]
            if not unread:
                break
            for batch in self._photos.encode(unread, len(unread)):
                self._broken.update(batch.broken)
                photo_rows.update(zip(batch.keys, batch.rows, strict=True))
        return (
            [[photo_rows[key] for key in pairs] for pairs in photos],
            [[text_rows[key]] if key else [] for key in text_keys],
        )

    def _photo_keys(
        self, item: Item, problems: list[BrokenImage] | None = None
    ) -> dict[bytes, ImageRef]:
        """The item's first `max_images` photos that are not known to be broken."""
        found: dict[bytes, ImageRef] = {}
        for position, ref in enumerate(item.images):
            if len(found) == self.max_images:
                break
            try:
                key = self._key(ref)
                reason = self._broken.get(key)
            except ImageError as error:
                key, reason = b"", str(error)
            if reason is None:
                found[key] = ref
            elif problems is not None:
                problems.append(BrokenImage(item.item_id, position, reason))
        return found

    def _key(self, ref: ImageRef) -> bytes:
        """SHA-256 of the photo's bytes; a file that has not changed is not read again."""
        if isinstance(ref, bytes):
            return bytes.fromhex(image_key(ref))
        try:
            status = ref.stat()
        except (OSError, ValueError):
            return bytes.fromhex(image_key(ref))  # says in a sentence what is wrong
        known = (ref, status.st_mtime_ns, status.st_size)
        key = self._path_keys.get(known)
        if key is None:
            key = self._path_keys[known] = bytes.fromhex(image_key(ref))
        return key


def text_key(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def pad(rows: Sequence[Sequence[Row]], dim: int, at_least: int) -> tuple[Tensor, Tensor]:
    """Stack the token arrays of B items to float32 [B, P, D] with a mask [B, P]."""
    lengths = [sum(len(row.tokens) for row in several) for several in rows]
    longest = max([at_least, *lengths])
    out = torch.empty(len(rows), longest, dim, dtype=torch.float16)
    view = out.numpy()
    for i, several in enumerate(rows):
        stop = 0
        for row in several:
            start, stop = stop, stop + len(row.tokens)
            view[i, start:stop] = row.tokens
        view[i, stop:] = 0
    mask = torch.arange(longest) < torch.tensor(lengths, dtype=torch.long).unsqueeze(1)
    return out.float(), mask


def pool(rows: Sequence[Sequence[Row]], dim: int) -> Single:
    """The mean of each item's pooled vectors, [B, Dg]; zero for an item without any."""
    out = np.zeros((len(rows), dim), dtype=np.float32)
    for i, several in enumerate(rows):
        if several:
            out[i] = np.mean([row.pooled for row in several], axis=0)
    return out


def _look_up(
    cache: TokenCache | None, keys: Sequence[bytes] | dict[bytes, ImageRef], pooled_only: bool
) -> dict[bytes, Row]:
    if cache is None:
        return {}
    rows = ((key, cache.get(key, pooled_only=pooled_only)) for key in dict.fromkeys(keys))
    return {key: row for key, row in rows if row is not None}


def _open_cache(cache_dir: Path | None, tower: ImageTower | TextTower) -> TokenCache | None:
    if cache_dir is None:
        return None
    return TokenCache(cache_dir, tower.key, tower.dim, tower.global_dim, about=tower.spec())

"""From items to the tensors that connectors read, by way of the token cache."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tgqformer.catalog.items import ImageRef, Item
from tgqformer.catalog.text import TEXT_FIELDS, item_text, only_fields
from tgqformer.config import whole_number
from tgqformer.errors import ConfigError
from tgqformer.files import only_writer
from tgqformer.progress import track
from tgqformer.towers.base import ImageTower, TextTower, TowerBatch
from tgqformer.towers.cache import FillReport, Row, Single, TokenCache, write_encoded
from tgqformer.towers.encoding import (
    BrokenPhoto,
    PhotoBook,
    PhotoEncoder,
    TextEncoder,
    one_ahead,
)
from tgqformer.towers.hashing import hashed_words

LOCK = ".filling.lock"
TITLE = ("title",)


class Globals(NamedTuple):
    """Pooled vectors of N items: image [N, Dg], text [N, Dtg], words [N, W], presence [N, 2]."""

    image: Single
    text: Single
    words: Single
    presence: npt.NDArray[np.bool_]


class ItemFeatures:
    """The frozen towers' view of items.

    Of an item's photos the first `max_images` that can be read are looked at, each by itself: their
    tokens stand one after another, in the order of their keys, and their global vectors are joined
    (`pool`); so the order in which a shop names them changes nothing. Its text is
    `catalog.text.item_text` over `text_fields`, shortened to what the text tower reads; of a
    text that is given in its place these fields are read as well.

    Args:
        image_tower, text_tower: see `towers.load`; move them to their device before.
        cache_dir: folder of the token cache, which may be deleted at any time; None runs the
            towers at every call, which suits one pass over a catalog too large to keep.
        max_images: photos of an item to look at.
        text_fields: of which fields the text is made.
        words: W, the width of the hashed words; 0 makes none.
        title_apart: tell the global vector of the title alone too (`TowerBatch.title_global`).
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
        words: int = 0,
        title_apart: bool = False,
        workers: int | None = None,
    ) -> None:
        max_images = whole_number(max_images, "max_images")
        self.image_tower, self.text_tower = image_tower, text_tower
        self.text_fields, self.words = tuple(text_fields), words
        self.title_apart = title_apart
        self.image_cache = _open_cache(cache_dir, image_tower)
        self.text_cache = _open_cache(cache_dir, text_tower)
        self._book = PhotoBook(max_images)
        self._photos = PhotoEncoder(image_tower, workers)
        self._texts = TextEncoder(text_tower)

    @property
    def tower_calls(self) -> int:
        """How many batches the two towers have encoded so far."""
        return self._photos.calls + self._texts.calls

    @property
    def shared_space(self) -> bool:
        """Whether the cosine of image and text globals is their agreement."""
        space = self.image_tower.space
        return space is not None and space == self.text_tower.space

    def text_of(self, item: Item) -> str:
        """The text that the text tower reads of an item, "" where nothing is known."""
        return self.read(item_text(item))

    def read(self, text: str, fields: Sequence[str] | None = None) -> str:
        """What the text tower reads of an item's text: some of its fields, shortened."""
        return self.text_tower.limit.fit(only_fields(text, fields or self.text_fields))

    def fill(
        self,
        items: Sequence[Item],
        *,
        texts: Iterable[str] | None = None,
        batch_size: int = 32,
        progress: bool = False,
        alone: bool = False,
        on_error: Callable[[BrokenPhoto], None] | None = None,
    ) -> FillReport:
        """Encode what is not cached yet; afterwards `batch` calls no tower for these items.

        A photo that cannot be read is reported and passed over. A kill loses at most a minute's
        work. Call it once for many items: every call writes shards of its own. Several processes
        may fill one cache at a time; each sees what the others wrote when its own call begins.
        With `alone` they take turns: for processes that want the same items, as those of one run
        do, so that the first encodes them and the others find them.

        Args:
            texts: any texts to fill, instead of the items' own; shortened as those are.
            on_error: told of every broken photo.

        Raises:
            CacheError: the disk has no room (found before anything is encoded), or fails.
        """
        batch_size = whole_number(batch_size, "batch_size")
        if self.image_cache is None or self.text_cache is None:
            return FillReport(0, 0, 0, [])
        photos = self._wanted_photos(items, progress)
        given = [item_text(item) for item in items] if texts is None else list(texts)
        own = [self.read(text) for text in given]
        if self.title_apart:
            own += [self.read(text, TITLE) for text in given]
        wanted = {text_key(text): text for text in own if text}
        turn = only_writer(self.image_cache.folder.parent / LOCK) if alone else nullcontext()
        with turn:
            report = self._fill(items, photos, wanted, batch_size, progress)
        for problem in report.broken:
            if on_error is not None:
                on_error(problem)
        return report

    def _fill(
        self,
        items: Sequence[Item],
        wanted_photos: dict[bytes, ImageRef],
        wanted: dict[bytes, str],
        batch_size: int,
        progress: bool,
    ) -> FillReport:
        assert self.image_cache is not None
        assert self.text_cache is not None
        broken: list[BrokenPhoto] = []
        self.image_cache.refresh()
        self.text_cache.refresh()
        photos = self._missing(wanted_photos)
        sentences = [(key, wanted[key]) for key in self.text_cache.missing(wanted)]
        size = self.image_cache.estimate(len(photos), self.image_tower.max_tokens)
        size += self.text_cache.estimate(len(sentences), self.text_tower.max_tokens)
        if size:
            self.image_cache.check_room(size)
        if size and progress:
            print(
                f"token cache: {len(photos):,} photos and {len(sentences):,} texts to encode, "
                f"at most {size / 1e9:.2f} GB in {self.image_cache.folder.parent}",
                file=sys.stderr,
            )
        count = 0
        while photos:
            encoded = self._photos.encode(photos.items(), batch_size)
            bad = write_encoded(self.image_cache, encoded, len(photos), "photos", progress=progress)
            count += len(photos)
            self._book.broken.update(bad)
            # an item whose photo turned out broken falls back on its next one
            photos = self._missing(self._wanted_photos(items, False)) if bad else {}
        encoded = self._texts.encode(sentences, batch_size)
        write_encoded(self.text_cache, encoded, len(sentences), "texts", progress=progress)
        for item in items:
            self._book.photos(item, broken)
        return FillReport(count, len(sentences), size, broken)

    def unread(self, items: Sequence[Item]) -> list[tuple[int, int, str]]:
        """Photos of N items that were passed over since they cannot be read.

        Call it after `fill` or `batch`, which find what cannot be decoded.

        Returns:
            Row of the item, which of its photos (from 0), and why.
        """
        found: list[tuple[int, int, str]] = []
        for row, item in enumerate(items):
            problems: list[BrokenPhoto] = []
            self._book.photos(item, problems)
            found += [(row, problem.position, problem.reason) for problem in problems]
        return found

    def photo_spans(self, item: Item) -> list[tuple[ImageRef, int, int]]:
        """The photos of an item that are read, in the order of their tokens in a batch.

        Returns:
            Each photo with the places of its first token and of the one after its last.
        """
        [rows] = self._photo_rows([item], pooled_only=False)
        spans: list[tuple[ImageRef, int, int]] = []
        for ref, row in zip(self._book.photos(item).values(), rows, strict=True):
            start = spans[-1][2] if spans else 0
            spans.append((ref, start, start + len(row.tokens)))
        return spans

    def _wanted_photos(self, items: Sequence[Item], progress: bool) -> dict[bytes, ImageRef]:
        wanted: dict[bytes, ImageRef] = {}
        with ThreadPoolExecutor(self._photos.workers, "hash") as pool:
            found = pool.map(self._book.photos, items)
            for photos in track(found, total=len(items), text="hashing photos", show=progress):
                wanted.update(photos)
        return wanted

    def _missing(self, wanted: dict[bytes, ImageRef]) -> dict[bytes, ImageRef]:
        assert self.image_cache is not None
        return {key: wanted[key] for key in self.image_cache.missing(wanted)}

    def batch(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> TowerBatch:
        """The towers' output for `items`, on the CPU.

        What is not cached is encoded here and now, and not kept: call `fill` first.

        Args:
            texts: read these instead of the items' own texts ("" for none), one for each item;
                shortened as those are.
            dtype: of the tokens; they are kept as float16, so that dtype costs least on the way to
                a GPU. Global vectors are float32.
        """
        read = self._read(items, texts)
        photo_rows, text_rows = self._photo_rows(items, False), self._text_rows(read, False)
        title = self._titles(items, texts) if self.title_apart else None
        visual, visual_mask = pad(
            photo_rows, self.image_tower.dim, self.image_tower.num_tokens or 1
        )
        text, text_mask = pad(text_rows, self.text_tower.dim)
        return TowerBatch(
            visual=visual.to(dtype),
            visual_mask=visual_mask,
            image_global=torch.from_numpy(pool(photo_rows, self.image_tower.global_dim)),
            text=text.to(dtype),
            text_mask=text_mask,
            text_global=torch.from_numpy(pool(text_rows, self.text_tower.global_dim)),
            presence=presence(photo_rows, text_rows),
            words=torch.from_numpy(hashed_words(read, self.words)),
            title_global=None if title is None else torch.from_numpy(title),
        )

    def batches(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 64,
        texts: Sequence[str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[TowerBatch]:
        """`batch` over slices of `items` in order, the next one made while one is used."""

        batch_size = whole_number(batch_size, "batch_size")

        def make(start: int) -> TowerBatch:
            part = slice(start, start + batch_size)
            own = None if texts is None else texts[part]
            return self.batch(items[part], texts=own, dtype=dtype)

        yield from one_ahead(make, range(0, len(items), batch_size))

    def globals(self, items: Sequence[Item], *, texts: Sequence[str] | None = None) -> Globals:
        """Only the pooled vectors: the frozen towers' embedding of each item, zero where absent."""
        read = self._read(items, texts)
        photo_rows, text_rows = self._photo_rows(items, True), self._text_rows(read, True)
        return Globals(
            pool(photo_rows, self.image_tower.global_dim),
            pool(text_rows, self.text_tower.global_dim),
            hashed_words(read, self.words),
            presence(photo_rows, text_rows).numpy(),
        )

    def _read(self, items: Sequence[Item], texts: Sequence[str] | None) -> list[str]:
        """What the text tower reads of each item."""
        if texts is not None and len(texts) != len(items):
            raise ConfigError(
                f"{len(texts)} texts were given for {len(items)} items; give one for each."
            )
        given = [item_text(item) for item in items] if texts is None else texts
        return [self.read(text) for text in given]

    def _titles(self, items: Sequence[Item], texts: Sequence[str] | None) -> Single:
        """[B, Dtg] global vectors of the titles alone, zero where there is none."""
        given = [item_text(item) for item in items] if texts is None else texts
        rows = self._text_rows([self.read(text, TITLE) for text in given], True)
        return pool(rows, self.text_tower.global_dim)

    def _text_rows(self, texts: Sequence[str], pooled_only: bool) -> list[list[Row]]:
        keys = [text_key(text) if text else b"" for text in texts]
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key}
        rows = _look_up(self.text_cache, wanted, pooled_only)
        absent = [(key, text) for key, text in wanted.items() if key not in rows]
        for batch in self._texts.encode(absent, max(1, len(absent))):
            rows.update(zip(batch.keys, batch.rows, strict=True))
        return [[rows[key]] if key else [] for key in keys]

    def _photo_rows(self, items: Sequence[Item], pooled_only: bool) -> list[list[Row]]:
        rows: dict[bytes, Row] = {}
        while True:
            photos = [self._book.photos(item) for item in items]
            new = {k: ref for some in photos for k, ref in some.items() if k not in rows}
            rows.update(_look_up(self.image_cache, new, pooled_only))
            unread = [(key, ref) for key, ref in new.items() if key not in rows]
            if not unread:
                return [[rows[key] for key in some] for some in photos]
            for batch in self._photos.encode(unread, len(unread)):
                self._book.broken.update(batch.broken)
                rows.update(zip(batch.keys, batch.rows, strict=True))


def _look_up(
    cache: TokenCache | None, keys: Iterable[bytes], pooled_only: bool
) -> dict[bytes, Row]:
    if cache is None:
        return {}
    rows = ((key, cache.get(key, pooled_only=pooled_only)) for key in keys)
    return {key: row for key, row in rows if row is not None}


def _open_cache(cache_dir: Path | None, tower: ImageTower | TextTower) -> TokenCache | None:
    if cache_dir is None:
        return None
    return TokenCache(cache_dir, tower.key, tower.dim, tower.global_dim, about=tower.spec())


def text_key(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def pad(rows: Sequence[Sequence[Row]], dim: int, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """Stack the token arrays of B items.

    Args:
        rows: for each item its rows, whose tokens are laid one after another.
        at_least: the least P, so that a batch without any tokens still has a token axis.

    Returns:
        float16 [B, P, D], zero where there is no token, and the mask [B, P].
    """
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
    return out, mask


def pool(rows: Sequence[Sequence[Row]], dim: int) -> Single:
    """Each item's pooled vectors as one, [B, Dg]; zero for an item without any.

    Of several the mean direction, each counting alike, at their mean length: so that of an item
    with several photos is shorter the less they agree.
    """
    out = np.zeros((len(rows), dim), dtype=np.float32)
    for i, several in enumerate(rows):
        if len(several) == 1:
            out[i] = several[0].pooled
        elif several:
            vectors = np.stack([row.pooled for row in several])
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
            out[i] = units.mean(axis=0) * lengths.mean()
    return out


def presence(photo_rows: Sequence[Sequence[Row]], text_rows: Sequence[Sequence[Row]]) -> Tensor:
    """[B, 2] bool: has an image, has text."""
    flags = [[bool(p), bool(t)] for p, t in zip(photo_rows, text_rows, strict=True)]
    return torch.tensor(flags, dtype=torch.bool).reshape(-1, 2)

"""The way of a catalog through the model: shard by shard, the next batches decoded meanwhile.

What is held at one time are the pixels of a few batches, the tower states of photos that may come
again, and the vectors of one shard: none of it grows with the catalog. Photos and texts go through
towers, connector and backbone in one go and on one device; on a GPU the photos of the next batch
are copied (pinned, on a stream of their own) while this one is computed, and nothing waits for a
result before the shard is whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tgqformer.config import whole_number
from tgqformer.cores import reading_threads
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import ModelError
from tgqformer.numerics import resolve_dtype
from tgqformer.towers.base import TowerBatch, TowerOutput
from tgqformer.towers.encoding import BrokenPhoto, ItemPhotos, PhotoReader, Pixels, ahead
from tgqformer.towers.features import TITLE
from tgqformer.towers.hashing import hashed_words

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.retrieval.scores import Vectors

Compute = Literal["auto", "float32", "bfloat16"]

AHEAD = 3  # batches whose photos are read before their turn
MANY = 4096  # items from which on starting processes pays
KEPT_BYTES = 128 << 20  # of tower states of photos that may come again within a shard


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
        begun = ahead(self._batches(shards), lambda batch: reader.submit(batch.items), AHEAD)
        for batch, waiting in begun:
            yield batch, reader.collect(waiting)

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
            yield len(items)
            yield ShardVectors(number, vectors, report.broken)


def _in_order(parts: Sequence[tuple[list[int], torch.Tensor]], size: int) -> Vectors:
    vectors = torch.cat([part for _, part in parts])
    check_finite(vectors)
    out: Vectors = np.empty((size, vectors.shape[1]), dtype=np.float32)
    out[[place for places, _ in parts for place in places]] = vectors.cpu().numpy()
    return out


@dataclass
class States:
    """A tower's states of one input, set when it ran: tokens [P, D] float16, pooled [Dg]."""

    tokens: Tensor | None = None
    pooled: Tensor | None = None


@dataclass(frozen=True)
class Staged:
    """A batch on its way: its texts, the states of its photos, and the pixels still to encode."""

    texts: list[str]
    photos: list[list[States]]
    fresh: list[States] = field(default_factory=list)
    pixels: list[dict[str, Tensor]] = field(default_factory=list)
    copied: torch.cuda.Event | None = None


class BatchEncoder:
    """An embedder's whole forward pass over batches that are decoded already.

    A photo that comes again within a shard, byte for byte, is encoded once: `forget` at the start
    of a shard makes shards independent of each other, so that one that is made anew is the same.

    Args:
        embedder: on its device; its towers are put into channels-last where they are CNNs.
        compute: "bfloat16", "float32", or "auto": bfloat16 where the device computes in it.
        compile: compile towers and model, which pays over thousands of items.
    """

    def __init__(
        self, embedder: ItemEmbedder, *, compute: Compute = "auto", compile: bool = False
    ) -> None:
        self.embedder = embedder
        self.device = embedder.device
        self.compute = resolve_compute(compute, self.device)
        self.photos_encoded = 0
        self._seen: OrderedDict[bytes, States] = OrderedDict()
        image = embedder.features.image_tower
        self._kept = max(1, KEPT_BYTES // (2 * image.max_tokens * image.dim))
        self._stream: Any = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        image.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        embedder.model.eval()
        if compile:
            half = getattr(image.module, "vision_model", None)
            (half if isinstance(half, torch.nn.Module) else image.module).compile()
            embedder.model.compile(dynamic=True)

    def forget(self) -> None:
        """Forget the photos seen so far."""
        self._seen.clear()

    def stage(self, texts: Sequence[str], photos: Sequence[ItemPhotos]) -> Staged:
        """Pick the photos that are new and begin to copy them to the device."""
        states: list[list[States]] = []
        fresh: list[States] = []
        pixels: list[Pixels] = []
        for item in photos:
            own: list[States] = []
            for key, values in zip(item.keys, item.pixels, strict=True):
                known = self._seen.get(key)
                if known is None:
                    known = self._seen[key] = States()
                    fresh.append(known)
                    pixels.append(values)
                own.append(known)
            states.append(own)
        while len(self._seen) > self._kept:  # first in, first out: so the order decides, no clock
            self._seen.popitem(last=False)
        inputs = [{name: torch.from_numpy(x) for name, x in one.items()} for one in pixels]
        if self._stream is None:
            return Staged(list(texts), states, fresh, inputs)
        with torch.cuda.stream(self._stream):
            moved = [
                {name: x.pin_memory().to(self.device, non_blocking=True) for name, x in one.items()}
                for one in inputs
            ]
            return Staged(list(texts), states, fresh, moved, self._stream.record_event())

    @torch.inference_mode()
    def run(self, staged: Staged) -> Tensor:
        """Embed a batch: float32 [B, D] on the device."""
        if staged.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(staged.copied)
        if staged.pixels:
            image = self.embedder.features.image_tower
            _keep(staged.fresh, image.encode(staged.pixels), image.num_tokens)
            self.photos_encoded += len(staged.pixels)
        towers = self._batch(staged.photos, staged.texts)
        prompt = self.embedder.prompts.build(staged.texts, [bool(own) for own in staged.photos])
        with self._precision():
            out = self.embedder.model(ItemBatch(towers, prompt).to(self.device))
        return out.embedding.float()  # type: ignore[no-any-return]

    def _states(self, texts: Sequence[str]) -> list[list[States]]:
        tower = self.embedder.features.text_tower
        distinct = {text: States() for text in texts if text}
        if distinct:
            _keep(list(distinct.values()), tower.encode(list(distinct)), tower.num_tokens)
        return [[distinct[text]] if text else [] for text in texts]

    def _batch(self, photos: list[list[States]], given: Sequence[str]) -> TowerBatch:
        features = self.embedder.features
        image, text = features.image_tower, features.text_tower
        read = [features.read(one) for one in given]
        texts = self._states(read)
        visual, visual_mask = self._pad(photos, image.dim, image.num_tokens or 1)
        tokens, text_mask = self._pad(texts, text.dim, 1)
        flags = [[bool(p), bool(t)] for p, t in zip(photos, texts, strict=True)]
        return TowerBatch(
            visual=visual,
            visual_mask=visual_mask,
            image_global=self._pool(photos, image.global_dim),
            text=tokens,
            text_mask=text_mask,
            text_global=self._pool(texts, text.global_dim),
            presence=torch.tensor(flags, dtype=torch.bool, device=self.device),
            words=torch.from_numpy(hashed_words(read, features.words)).to(self.device),
            title_global=self._titles(given) if features.title_apart else None,
        )

    def _titles(self, given: Sequence[str]) -> Tensor:
        """[B, Dtg] global vectors of the titles alone, zero where there is none."""
        features = self.embedder.features
        states = self._states([features.read(one, TITLE) for one in given])
        return self._pool(states, features.text_tower.global_dim)

    def _pad(self, states: list[list[States]], dim: int, at_least: int) -> tuple[Tensor, Tensor]:
        """float32 [B, P, D], zero where there is no token, and the mask [B, P]."""
        # one row too many, so that even a batch without tokens has so many places
        most = torch.empty(at_least, dim, dtype=torch.float16, device=self.device)
        rows = [torch.cat([_of(s.tokens) for s in own]) if own else most[:0] for own in states]
        padded = pad_sequence([*rows, most], batch_first=True)[:-1]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(padded.shape[1], device=self.device) < lengths[:, None]
        return padded.float(), mask

    def _pool(self, states: list[list[States]], dim: int) -> Tensor:
        """Each item's pooled vectors as one, [B, Dg], as `towers.features.pool` joins them."""
        joined = torch.zeros(len(states), dim, device=self.device)
        for row, own in enumerate(states):
            if len(own) == 1:
                joined[row] = _of(own[0].pooled)
            elif own:
                vectors = torch.stack([_of(s.pooled) for s in own])
                lengths = vectors.norm(dim=1, keepdim=True)
                units = vectors / lengths.clamp(min=torch.finfo(torch.float32).tiny)
                joined[row] = units.mean(dim=0) * lengths.mean()
        return joined

    def _precision(self) -> AbstractContextManager[object]:
        if self.compute == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute)


def resolve_compute(compute: Compute, device: torch.device) -> torch.dtype:
    """The dtype in which connector and backbone compute on `device`."""
    return resolve_dtype(compute, device)


def check_finite(vectors: Tensor) -> None:
    """Raise ModelError where a value is NaN or infinite."""
    if not bool(torch.isfinite(vectors).all()):
        raise ModelError(
            "the model gave a vector with NaN or infinite values; embed with --compute float32, or "
            "train it again with a lower learning rate."
        )


def _keep(states: Sequence[States], out: TowerOutput, fixed: int | None) -> None:
    """Cut a tower's output into the states of each input, as the token cache would keep them."""
    tokens, pooled = out.tokens.half(), out.pooled.float()
    lengths = [fixed] * len(states) if fixed is not None else out.mask.sum(dim=1).tolist()
    for i, (state, length) in enumerate(zip(states, lengths, strict=True)):
        state.tokens, state.pooled = tokens[i, :length], pooled[i]


def _of(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "a batch runs after those that were staged before it"
    return tensor

"""Laws of ItemFeatures: no photo is encoded twice, none stops the rest, absence is plain."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import Item
from tgqformer.catalog.text import item_text
from tgqformer.errors import CacheError, ConfigError
from tgqformer.towers import cache as cache_module
from tgqformer.towers.base import ImageTower, PixelInputs, TowerOutput
from tgqformer.towers.cache import FillReport
from tgqformer.towers.encoding import BrokenPhoto
from tgqformer.towers.features import ItemFeatures
from tgqformer.towers.load import (
    ImageTowerConfig,
    TextTowerConfig,
    load_image_tower,
    load_text_tower,
)

Photo = Callable[..., bytes]


def tiny_features(
    cache_dir: Path | None, *, shared: bool = False, max_images: int = 1
) -> ItemFeatures:
    name = "shared" if shared else ""
    return ItemFeatures(
        load_image_tower(ImageTowerConfig(kind="tiny", name=name, dtype="float32")),
        load_text_tower(TextTowerConfig(kind="tiny", name=name, dtype="float32")),
        cache_dir,
        max_images=max_images,
    )


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))


def test_the_second_epoch_calls_no_tower(tmp_path: Path, items: list[Item]) -> None:
    features = tiny_features(tmp_path)
    report = features.fill(items, batch_size=4)
    assert (report.photos, report.texts, report.broken) == (10, 10, [])
    assert features.tower_calls == 3 + 3  # ten in fours, photos and texts
    for _ in range(2):
        for start in range(0, 10, 5):
            features.batch(items[start : start + 5])
        list(features.batches(items, batch_size=3))
        features.globals(items)
    assert features.fill(items) == FillReport(0, 0, 0, [])
    assert features.tower_calls == 6


def test_a_new_process_calls_no_tower_either(tmp_path: Path, items: list[Item]) -> None:
    first = tiny_features(tmp_path)
    first.fill(items)
    again = tiny_features(tmp_path)
    again.fill(items)
    assert again.tower_calls == 0
    assert same(first.batch(items).visual, again.batch(items).visual)


def test_only_what_is_new_is_encoded(tmp_path: Path, items: list[Item], photo: Photo) -> None:
    features = tiny_features(tmp_path)
    features.fill(items[:8])
    twin = Item("twin", title=items[0].title, images=items[1].images)  # nothing new
    report = features.fill([*items, twin, Item("x", images=(photo(99),))])
    assert (report.photos, report.texts) == (3, 2)


def test_cached_equals_uncached(tmp_path: Path, items: list[Item]) -> None:
    cached, direct = tiny_features(tmp_path), tiny_features(None)
    cached.fill(items, batch_size=10)
    assert direct.fill(items) == FillReport(0, 0, 0, [])
    assert direct.tower_calls == 0
    a, b = cached.batch(items), direct.batch(items)
    assert direct.tower_calls == 2
    assert same(a.visual_mask, b.visual_mask)
    assert same(a.text_mask, b.text_mask)
    assert same(a.presence, b.presence)
    for name in ("visual", "image_global", "text", "text_global"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=2e-3, rtol=1e-3)


def test_the_batch_is_what_the_towers_say(tmp_path: Path, items: list[Item]) -> None:
    from tgqformer.catalog.images import decode_image

    features = tiny_features(tmp_path)
    features.fill(items)
    batch = features.batch(items[2:5])
    image, text = features.image_tower, features.text_tower
    photos = image.encode([image.preprocess(decode_image(i.images[0])) for i in items[2:5]])
    texts = text.encode([item_text(item) for item in items[2:5]])
    assert len(batch) == 3
    assert batch.visual.dtype == torch.float32
    assert same(batch.visual, photos.tokens.half().float())
    torch.testing.assert_close(batch.image_global, photos.pooled)
    assert same(batch.text_mask, texts.mask)
    assert same(batch.text, texts.tokens.half().float() * texts.mask.unsqueeze(-1))
    torch.testing.assert_close(batch.text_global, texts.pooled)
    assert batch.presence.all()


@pytest.mark.parametrize("cached", [True, False])
def test_what_an_item_lacks_is_zero_masked_and_said(
    tmp_path: Path, items: list[Item], cached: bool
) -> None:
    features = tiny_features(tmp_path if cached else None)
    some = [items[0], Item("no photo", title="red shoe"), Item("no text", images=items[1].images)]
    some.append(Item("nothing"))
    features.fill(some)
    batch = features.batch(some)
    assert batch.presence.tolist() == [[True, True], [False, True], [True, False], [False, False]]
    assert batch.visual_mask.any(1).tolist() == [True, False, True, False]
    assert batch.text_mask.any(1).tolist() == [True, True, False, False]
    for row in (1, 3):
        assert not batch.visual[row].any()
        assert not batch.image_global[row].any()
    for row in (2, 3):
        assert not batch.text[row].any()
        assert not batch.text_global[row].any()
    alone = features.batch(some[3:])  # a token axis even so
    assert alone.visual.shape == (1, 16, 32)
    assert alone.text.shape[1] >= 1
    empty = features.batch([])
    assert len(empty) == 0
    assert empty.presence.shape == (0, 2)


@pytest.mark.parametrize("cached", [True, False])
def test_a_broken_photo_is_told_and_counts_as_none(
    tmp_path: Path, items: list[Item], photo: Photo, cached: bool
) -> None:
    cut = photo(50)[:60]
    bad = [
        Item("cut", title="a", images=(cut,)),
        Item("gone", title="b", images=(tmp_path / "gone.png",)),
        Item("empty", title="c", images=(b"",)),
    ]
    features = tiny_features(tmp_path / "cache" if cached else None)
    told: list[BrokenPhoto] = []
    report = features.fill([items[0], *bad, items[1]], on_error=told.append)
    batch = features.batch([items[0], *bad, items[1]])
    assert batch.presence[:, 0].tolist() == [True, False, False, False, True]
    if cached:
        assert [problem.item_id for problem in told] == ["cut", "gone", "empty"]
        assert report.broken == told
        assert "gone.png does not exist" in told[1].reason
        assert "0 bytes" in told[2].reason


@pytest.mark.parametrize("cached", [True, False])
def test_the_next_photo_steps_in_for_a_broken_one(
    tmp_path: Path, photo: Photo, cached: bool
) -> None:
    features = tiny_features(tmp_path if cached else None)
    good, other = photo(1), photo(2)
    spare = Item("spare", images=(b"junk", good, other))
    report = features.fill([spare])
    batch = features.batch([spare, Item("good", images=(good,))])
    assert same(batch.visual[0], batch.visual[1])
    if cached:
        assert [(p.item_id, p.position) for p in report.broken] == [("spare", 0)]
        assert features.tower_calls == 1  # `good`, once


def test_several_photos_stand_one_after_another_whatever_their_order(
    tmp_path: Path, photo: Photo
) -> None:
    features = tiny_features(tmp_path, max_images=2)
    a, b = sorted((photo(1), photo(2)), key=image_key)
    both = Item("both", images=(b, a, photo(3)))
    features.fill([both])
    alone = [Item("a", images=(a,)), Item("b", images=(b,))]
    batch = features.batch([both, *alone, Item("turned", images=(a, b, a))])
    assert batch.visual_mask.sum(1).tolist() == [32, 16, 16, 32]
    assert same(batch.visual[0], torch.cat([batch.visual[1, :16], batch.visual[2, :16]]))
    assert same(batch.visual[0], batch.visual[3])
    assert same(batch.image_global[0], batch.image_global[3])
    assert features.photo_spans(both) == [(a, 0, 16), (b, 16, 32)]
    one, other = batch.image_global[1:3]
    joined = (one / one.norm() + other / other.norm()) / 2  # each counts alike, whatever its length
    length = (one.norm() + other.norm()) / 2
    torch.testing.assert_close(batch.image_global[0], joined * length)


def test_globals_are_the_batchs_global_vectors(tmp_path: Path, items: list[Item]) -> None:
    features = tiny_features(tmp_path, max_images=2)
    some = [*items, Item("none"), Item("two", images=items[0].images + items[1].images)]
    features.fill(some)
    batch, pooled = features.batch(some), features.globals(some)
    np.testing.assert_array_equal(pooled.image, batch.image_global.numpy())
    np.testing.assert_array_equal(pooled.text, batch.text_global.numpy())
    np.testing.assert_array_equal(pooled.presence, batch.presence.numpy())


def test_texts_can_be_given_in_place_of_the_items_own(tmp_path: Path, items: list[Item]) -> None:
    features = tiny_features(tmp_path)
    features.fill(items)
    features.fill([], texts=["large lamp"])
    calls = features.tower_calls
    batch = features.batch(items[:3], texts=["large lamp", "", item_text(items[2])])
    assert features.tower_calls == calls
    assert batch.presence[:, 1].tolist() == [True, False, True]
    assert same(batch.text[2, :4], features.batch(items[2:3]).text[0, :4])
    with pytest.raises(ConfigError, match="one for each"):
        features.batch(items[:3], texts=["one"])


def test_a_text_that_was_not_filled_is_encoded_on_the_spot(
    tmp_path: Path, items: list[Item]
) -> None:
    features = tiny_features(tmp_path)
    features.fill(items)
    calls = features.tower_calls
    new = features.batch(items[:2], texts=["a new text", "a new text"])
    assert features.tower_calls == calls + 1
    assert same(new.text[0], new.text[1])


def test_a_long_text_is_read_as_the_tower_takes_it(tmp_path: Path) -> None:
    features = tiny_features(tmp_path)
    item = Item("i", title="word " * 100, category="Home > Lamp")
    short = features.text_of(item)
    assert features.text_tower.count(short) <= features.text_tower.max_tokens
    assert short.endswith("; category: Home > Lamp")
    features.fill([item])
    calls = features.tower_calls
    own = features.batch([item])
    for text in (short, item_text(item)):
        assert same(features.batch([item], texts=[text]).text, own.text)
    assert features.tower_calls == calls
    assert same(own.text, features.text_tower.encode([short]).tokens.half().float())


def test_a_text_of_a_million_signs_and_lone_surrogates_pass(tmp_path: Path) -> None:
    features = tiny_features(tmp_path)
    odd = [Item("long", title="word " * 200_000), Item("lone", title="\ud800 shoe \udfff")]
    features.fill(odd)
    assert features.batch(odd).presence[:, 1].all()
    assert features.batch(odd, texts=["\ud800", "\udfff"]).presence[:, 1].all()


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tgqformer.towers import encoding as photos_module

    path = tmp_path / "photo.png"
    path.write_bytes(photo(1))
    item = Item("i", images=(path,))
    hashed: list[object] = []
    real = photos_module.image_key
    monkeypatch.setattr(photos_module, "image_key", lambda ref: (hashed.append(ref), real(ref))[1])
    features = tiny_features(tmp_path / "cache")
    features.fill([item])
    before = features.batch([item]).visual
    assert len(hashed) == 1
    path.write_bytes(photo(2))
    os.utime(path, ns=(1, 1))
    features.fill([item])
    assert not same(before, features.batch([item]).visual)
    assert len(hashed) == 2


def test_batches_are_batch_in_slices(tmp_path: Path, items: list[Item]) -> None:
    features = tiny_features(tmp_path)
    features.fill(items)
    whole = features.batch(items)
    parts = list(features.batches(items, batch_size=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert same(torch.cat([part.visual for part in parts]), whole.visual)
    assert list(features.batches([], batch_size=4)) == []
    halves = features.batches(items, batch_size=5, texts=["one"] * 10, dtype=torch.float16)
    assert next(iter(halves)).text.dtype == torch.float16


def test_many_batches_make_one_shard_and_a_full_buffer_makes_another(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tiny_features(tmp_path / "one")
    features.fill(items, batch_size=2)
    assert len(list(features.image_cache.folder.glob("*.safetensors"))) == 1  # type: ignore[union-attr]
    monkeypatch.setattr(cache_module, "SHARD_BYTES", 3000)  # a row is 16 * 32 * 2 + 32 * 4 = 1152
    features = tiny_features(tmp_path / "many")
    features.fill(items, batch_size=2)
    assert len(list(features.image_cache.folder.glob("*.safetensors"))) == 4  # type: ignore[union-attr]


class Interrupted(ImageTower):
    """A tower that is stopped by its user at the third batch."""

    def __init__(self, inner: ImageTower, error: BaseException) -> None:
        self.inner, self.error, self.batches = inner, error, 0
        self.__dict__.update({k: v for k, v in vars(inner).items() if k not in self.__dict__})

    def spec(self) -> dict[str, object]:
        return self.inner.spec()

    def preprocess(self, image: object) -> PixelInputs:
        return self.inner.preprocess(image)  # type: ignore[arg-type]

    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        self.batches += 1
        if self.batches == 3:
            raise self.error
        return self.inner.encode(inputs)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_a_stop_keeps_what_was_encoded(
    tmp_path: Path, items: list[Item], error: BaseException
) -> None:
    inner = load_image_tower(ImageTowerConfig(kind="tiny", dtype="float32"))
    text = load_text_tower(TextTowerConfig(kind="tiny"))
    stopped = ItemFeatures(Interrupted(inner, error), text, tmp_path)
    with pytest.raises(type(error)):
        stopped.fill(items, batch_size=3)
    goes_on = ItemFeatures(Interrupted(inner, error), text, tmp_path)
    assert goes_on.fill(items).photos == 10 - 2 * 3


def test_no_room_is_found_before_a_tower_is_called(
    tmp_path: Path, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    features = tiny_features(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=cache_module.RESERVE + 100)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheError, match="without a cache"):
        features.fill(items)
    assert features.tower_calls == 0


def test_progress_says_the_size_before_it_fills(
    tmp_path: Path, items: list[Item], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_features(tmp_path).fill(items, progress=True)
    told = capsys.readouterr().err
    assert "10 photos and 10 texts to encode" in told
    assert "GB" in told


def test_a_shared_space_is_seen_only_where_both_towers_share_it(tmp_path: Path) -> None:
    assert tiny_features(None, shared=True).shared_space
    assert not tiny_features(None).shared_space
    mixed = ItemFeatures(
        load_image_tower(ImageTowerConfig(kind="tiny", name="shared")),
        load_text_tower(TextTowerConfig(kind="tiny")),
        None,
    )
    assert not mixed.shared_space
    shared = tiny_features(None, shared=True)
    assert shared.image_tower.global_dim == shared.text_tower.global_dim


def test_the_batch_moves_and_selects_whole(items: list[Item]) -> None:
    batch = tiny_features(None).batch(items)
    half = batch.to("cpu", dtype=torch.float16)
    assert half.visual.dtype == half.text_global.dtype == torch.float16
    assert half.visual_mask.dtype == half.presence.dtype == torch.bool
    picked = batch.select([3, 1])
    assert same(picked.visual, batch.visual[[3, 1]])
    assert len(picked) == 2


def test_one_photo_in_two_items_is_one_row(tmp_path: Path, photo: Photo) -> None:
    features = tiny_features(tmp_path)
    data = photo(1)
    path = tmp_path / "same.png"
    path.write_bytes(data)
    assert features.fill([Item("a", images=(data,)), Item("b", images=(path,))]).photos == 1
    assert features.image_cache is not None
    assert hashlib.sha256(data).digest() in features.image_cache


def test_less_than_one_photo_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_images \(0\) must be 1 or more"):
        tiny_features(None, max_images=0)


def test_the_item_itself_is_not_changed(tmp_path: Path, items: list[Item]) -> None:
    copies = [replace(item) for item in items]
    features = tiny_features(tmp_path)
    features.fill(items)
    features.batch(items)
    assert items == copies


def test_processes_of_one_run_fill_the_cache_once(tmp_path: Path, items: list[Item]) -> None:
    """Each holds the lock in turn, and the first leaves the others nothing to encode."""
    from concurrent.futures import ThreadPoolExecutor

    several = [tiny_features(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda features: features.fill(items, alone=True), several))
    assert sum(report.photos for report in told) == max(report.photos for report in told) > 0
    assert sum(report.texts for report in told) == max(report.texts for report in told) > 0
    for features in several:
        calls = features.tower_calls
        features.batch(items)
        assert features.tower_calls == calls

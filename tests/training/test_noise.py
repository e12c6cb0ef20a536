"""Noise views: drawn by seed from the kinds that training may know, each its item's positive."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image, image_key
from tgqformer.catalog.items import Item
from tgqformer.corruption import CLUTTER, OVERLAYS, UNSEEN_CLUTTER, UNSEEN_OVERLAYS
from tgqformer.errors import CatalogError
from tgqformer.training import train
from tgqformer.training.config import NoiseConfig
from tgqformer.training.data import PairBatches, StepDataset, own_pairs
from tgqformer.training.noise import LARGEST, ODDS, NoiseViews, NoisyPhoto

MANY = 1500
NONE = np.empty(0, dtype=np.int64)


def whole_items(count: int, photo: bytes = b"one photo for all") -> list[Item]:
    return [
        Item(
            f"i{n}",
            title=f"lamp number {n}",
            brand=f"brand {n}",
            category=f"Home > Lamp {n}",
            attributes={"colour": "red"},
            price=float(n),
            images=(photo,),
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return whole_items(MANY)


def views_of(items: list[Item], seed: int = 0, **options: object) -> list[Item]:
    return NoiseViews(items, NoiseConfig(**options), seed).views[0]  # type: ignore[arg-type]


def metadata(item: Item) -> tuple[object, ...]:
    return item.title, item.brand, item.category, dict(item.attributes)


def near(share: float, expected: float, count: int = MANY) -> bool:
    """Within four standard deviations of a share that is drawn `count` times."""
    return abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / count)


# -- views ----------------------------------------------------------------------------------------


def test_a_seed_gives_one_set_of_views_and_another_seed_another(items):
    assert views_of(items[:50]) == views_of(items[:50])
    assert all(a != b for a, b in zip(views_of(items[:50]), views_of(items[:50], seed=1)))


def test_a_view_does_not_depend_on_the_rest_of_the_catalog(items):
    config = {"metadata": 0.0}
    assert views_of(items[20:40], **config) == views_of(items, **config)[20:40]


def test_the_views_of_an_item_differ_and_keep_its_id_and_price(items):
    views = NoiseViews(items[:30], NoiseConfig(views=3, missing=0), 0).views
    for item, *own in zip(items, *views):
        photos = {view.images[0].recipe for view in own}
        assert len(photos) == 3
        assert {(view.item_id, view.price) for view in own} == {(item.item_id, item.price)}


def test_only_the_seen_kinds_are_drawn(items):
    photos = [view.images[0] for view in views_of(items, missing=0)]
    drawn = {kind for photo in photos for kind in photo.kinds}
    assert drawn == {*CLUTTER, *OVERLAYS}
    assert not drawn & {*UNSEEN_CLUTTER, *UNSEEN_OVERLAYS}
    families = Counter(
        (sum(k in CLUTTER for k in photo.kinds), sum(k in OVERLAYS for k in photo.kinds))
        for photo in photos
    )
    assert families.keys() == {(2, 2), (0, 2), (2, 0)}
    for family, odds in zip([(2, 2), (0, 2), (2, 0)], ODDS, strict=True):
        assert near(families[family] / MANY, odds)
    for photo in photos:
        assert len(set(photo.kinds)) == len(photo.kinds)
        order = [kind in OVERLAYS for kind in photo.kinds]
        assert order == sorted(order)  # a banner lies over the clutter


@pytest.mark.parametrize("severity", [(0.2, 0.8), (0.5, 0.5)])
def test_the_severity_is_drawn_evenly_from_its_range(items, severity):
    found = np.array([v.images[0].severity for v in views_of(items, missing=0, severity=severity)])
    low, high = severity
    assert low <= found.min() <= found.max() <= high
    assert abs(found.mean() - (low + high) / 2) <= 4 * (high - low) / np.sqrt(12 * MANY)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_metadata_has_one_fault_in_as_many_views_as_asked(items, share):
    views = views_of(items, missing=0, metadata=share)
    faults = [
        sum(a != b for a, b in zip(metadata(view), metadata(item)))
        for view, item in zip(views, items)
    ]
    assert set(faults) <= {0, 1}
    assert near(np.mean(faults), share) or (share == 1.0 and np.mean(faults) > 0.99)
    assert all(view.images for view in views)


def test_a_fault_drops_a_field_or_says_what_is_not_so(items):
    own = {"brand": {i.brand for i in items}, "category": {i.category for i in items}}
    seen: Counter[str] = Counter()
    for view, item in zip(views_of(items, missing=0, metadata=1.0), items):
        for name in ("title", "brand", "category", "attributes"):
            now, before = getattr(view, name), getattr(item, name)
            if now != before:
                seen[f"{name} {'swapped' if now else 'dropped'}"] += 1
                assert not now or name == "title" or now in own[name]
    kinds = [f"{n} {how}" for n in ("title", "brand", "category") for how in ("swapped", "dropped")]
    assert seen.keys() == {*kinds, "attributes dropped"}
    assert all(near(seen[kind] / MANY, 1 / 7) for kind in seen)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_part_is_missing_from_as_many_views_as_asked(items, share):
    views = views_of(items, missing=share, metadata=0)
    photo = np.array([not view.images for view in views])
    words = np.array([metadata(view) == ("", "", "", {}) for view in views])
    assert not (photo & words).any()
    assert near(np.mean(photo | words), share)
    assert near(photo.mean(), share / 2)


def test_what_an_item_lacks_its_views_lack_and_they_keep_the_rest():
    items = [Item("photo", images=(b"x",)), Item("words", title="lamp"), Item("nothing")]
    for seed in range(30):
        photo, words, nothing = views_of(items, seed, missing=1.0)
        assert isinstance(photo.images[0], NoisyPhoto)
        assert words == items[1]
        assert nothing == items[2]


def test_every_photo_of_an_item_is_drawn_over():
    item = replace(whole_items(1)[0], images=(b"one", b"two"))
    [view] = views_of([item], missing=0)
    assert [photo.source for photo in view.images] == [b"one", b"two"]
    assert view.images[0].recipe != view.images[1].recipe


# -- photos ---------------------------------------------------------------------------------------


def test_a_drawn_photo_is_the_same_whenever_it_is_read(shop):
    photo = next(item.images[0] for item in shop.items if item.images)
    for view in (v for v in views_of([Item("a", images=(photo,))] * 2, missing=0)):
        [noisy] = view.images
        first, again = decode_image(noisy), decode_image(noisy)
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != decode_image(photo).tobytes()
        assert decode_image(replace(noisy, seed=noisy.seed + 1)).tobytes() != first.tobytes()
        assert image_key(noisy) == image_key(replace(noisy)) != image_key(photo)


def test_a_large_photo_is_made_smaller_first():
    from io import BytesIO

    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (LARGEST * 3, LARGEST * 2), (200, 10, 10)).save(data, "PNG")
    noisy = NoisyPhoto(data.getvalue(), tuple(CLUTTER)[:1], 0.3, 1)
    assert max(decode_image(noisy).size) == LARGEST


def test_a_view_is_cached_under_a_key_of_its_own(shop, config_of, tmp_path):
    from tgqformer.embedder import ItemEmbedder

    config = config_of().embedder
    embedder = ItemEmbedder.from_config(config, cache_dir=tmp_path, device="cpu")
    whole = [item for item in shop.items if item.images and item.title][:8]
    views = views_of(whole, missing=0, metadata=0)
    embedder.features.fill([*whole, *views])
    clean, noisy = (embedder.features.batch(some).visual for some in (whole, views))
    assert not any(torch.equal(a, b) for a, b in zip(clean, noisy, strict=True))
    calls = embedder.features.tower_calls
    embedder.features.fill([*whole, *views_of(whole, missing=0, metadata=0)])
    assert embedder.features.tower_calls == calls
    again = ItemEmbedder.from_config(config, cache_dir=tmp_path, device="cpu")
    assert torch.equal(again.features.batch(views).visual, noisy)
    assert again.features.tower_calls == 0
    bare = ItemEmbedder.from_config(config, device="cpu")  # drawn and read anew, without a cache
    torch.testing.assert_close(bare.features.batch(views).visual, noisy, rtol=1e-2, atol=1e-2)


# -- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "size"), [(4, 8), (8, 8), (3, 12)])
def test_no_item_twice_in_a_batch_of_both_kinds(shop, own, size):
    query, target, _ = shop.pair_indices("train")
    made = PairBatches(query, target, size, 0, own=own, items=len(shop))
    pairs = set(zip(query.tolist(), target.tolist()))
    seen: Counter[int] = Counter()
    for step in range(400):
        asks, wanted = made.batch(step)
        assert len(asks) == len(wanted) == size
        of_view = asks == wanted
        assert of_view.tolist() == [False] * (size - own) + [True] * own
        assert set(zip(asks[~of_view].tolist(), wanted[~of_view].tolist())) <= pairs
        assert len({*asks.tolist(), *wanted.tolist()}) == 2 * size - own
        seen.update(asks[of_view].tolist())
    turns = [seen[row] for row in range(len(shop))]
    assert min(turns) > 0.25 * np.mean(turns)  # every item takes part, whatever pairs it has


def test_batches_of_views_alone_take_every_item_once_a_turn():
    made = PairBatches(NONE, NONE, 5, 0, own=5, items=23)
    for turn in range(3):
        rows = np.concatenate([made.batch(step)[0] for step in range(4 * turn, 4 * turn + 4)])
        assert len(set(rows.tolist())) == 20
    late, early = made.batch(9), PairBatches(NONE, NONE, 5, 0, own=5, items=23).batch(9)
    assert np.array_equal(late[0], early[0])


def test_a_catalog_too_small_for_its_views_is_named():
    with pytest.raises(CatalogError, match="6 pairs needs 6 different items, and the catalog has"):
        PairBatches(NONE, NONE, 6, 0, own=6, items=5)


@pytest.mark.parametrize(
    ("share", "pairs", "views", "own"),
    [
        (0.5, 9, 1, 4),
        (0.25, 9, 2, 2),
        (0.0, 9, 1, 0),
        (1.0, 9, 1, 8),
        (0.5, 0, 1, 8),
        (0.5, 9, 0, 0),
    ],
)
def test_the_share_of_view_pairs(config_of, share, pairs, views, own):
    config = config_of(**{"noise.share": share, "noise.views": views}).training
    assert own_pairs(config, pairs) == own


def seen_items(embedder, monkeypatch, dataset: StepDataset, steps: int) -> list[list[Item]]:
    """The items of each step, in the order of the batch."""
    found: list[list[Item]] = []
    make = embedder.batch

    def batch(items, **options):
        found[-1].extend(items)
        return make(items, **options)

    monkeypatch.setattr(embedder, "batch", batch)
    for step in range(steps):
        found.append([])
        dataset[step]
    return found


def test_a_view_pair_is_an_item_and_its_own_view(shop, config_of, embedder_of, monkeypatch):
    config = config_of(steps=40, **{"noise.views": 2, "noise.appear": 0.25})
    embedder = embedder_of(config, shop)
    dataset = StepDataset(embedder, shop, config.training)
    forms = [shop.items, *dataset.views.views]
    appeared: list[bool] = []
    drawn: Counter[int] = Counter()
    for step, found in enumerate(seen_items(embedder, monkeypatch, dataset, 40)):
        query, target = dataset.batches.batch(step)
        for place, (asks, wanted) in enumerate(zip(query, target, strict=True)):
            one, other = found[place], found[place + 8]
            if asks == wanted:
                assert one is shop.items[asks]
                [form] = [n for n in (1, 2) if other is forms[n][asks]]
                drawn[form] += 1
            else:
                for item, row in ((one, asks), (other, wanted)):
                    assert any(item is form[row] for form in forms)
                    appeared.append(item is not shop.items[row])
    assert sum(drawn.values()) == 40 * 4
    assert near(drawn[1] / 160, 0.5, 160)
    assert near(np.mean(appeared), 0.25, len(appeared))


def test_a_view_is_read_with_its_own_metadata(shop, config_of, embedder_of):
    config = config_of(**{"noise.metadata": 1.0, "noise.share": 1.0, "noise.missing": 0})
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    step, (rows, _) = dataset[0], dataset.batches.batch(0)
    read = dataset.embedder.features.batch([dataset.views.views[0][row] for row in rows])
    assert torch.equal(step.chunks[0].towers.text_global[8:], read.text_global)
    assert torch.equal(step.chunks[0].towers.visual[8:], read.visual)
    texts = [[dataset.texts[form][row] for row in rows] for form in (0, 1)]
    own = [a == b for a, b in zip(*texts, strict=True)]
    assert step.facts.own_text.tolist() == [True] * 8 + own  # a fault is no match of the photo
    assert not all(own)
    assert bool(step.facts.known[range(8), range(8, 16)].all())


@pytest.mark.parametrize("views", [0, 1])
def test_two_processes_share_a_step_of_views(shop, config_of, embedder_of, views):
    options = {"noise.views": views, "popularity": 1.0, "dropout.image": 0.2}
    config = config_of(chunk_size=3, **options)
    embedder = embedder_of(config, shop)
    for step in range(3):
        whole = StepDataset(embedder, shop, config.training)[step]
        halves = [
            StepDataset(embedder, shop, config.training, rank=r, processes=2)[step]
            for r in range(2)
        ]
        for part in ("image_global", "text_global", "presence"):
            joined = torch.cat([getattr(c.towers, part) for h in halves for c in h.chunks])
            expected = torch.cat([getattr(c.towers, part) for c in whole.chunks])
            torch.testing.assert_close(joined[halves[0].order], expected)
        for name in ("known", "same_text", "own_text", "log_odds"):
            assert torch.equal(getattr(halves[1].facts, name), getattr(whole.facts, name))


def test_log_odds_tell_how_often_an_item_is_drawn(shop, config_of, embedder_of):
    config = config_of(steps=400, popularity=1.0, **{"noise.appear": 0})
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    drawn = np.zeros(len(shop))
    for step in range(400):
        rows = np.concatenate(dataset.batches.batch(step))
        np.add.at(drawn, rows, 1)
    told = np.exp(dataset.log_odds.numpy())
    named = np.isin(np.arange(len(shop)), np.concatenate(shop.pair_indices("train")[:2]))
    ratio = drawn[named].mean() / drawn[~named].mean()
    # near it: in so small a shop it counts that a batch holds no item twice
    assert told[named].mean() / told[~named].mean() == pytest.approx(ratio, rel=0.25)
    half = replace(config.training, popularity=0.5)
    halved = StepDataset(dataset.embedder, shop, half).log_odds
    torch.testing.assert_close(halved * 2, dataset.log_odds)
    none = replace(config.training, popularity=0.0)
    assert StepDataset(dataset.embedder, shop, none).log_odds is None


# -- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["none", "trained"])
def test_a_catalog_without_pairs_trains(shop, config_of, tmp_path, base):
    alone = Catalog(shop.items, [])
    config = config_of(f"embedder.base={base}", steps=4, eval_every=2)
    made = train(alone, config, tmp_path / "run", device="cpu")
    assert made.summary["plan"]["pairs"] == 0
    assert made.summary["steps"] == 4
    assert {"hit@1", "ndcg@10"} <= made.summary["validation"].keys()
    assert set(made.summary["gain"]) == ({"noisy"} if base == "trained" else set())
    losses = [value for entry in made.curve for name, value in entry.items() if "loss" in name]
    assert np.isfinite(losses).all()

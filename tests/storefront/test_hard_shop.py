"""What makes the second drawing hard: kin in the photo, sisters, popularity, slogans, stuffing."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.splits import check_leaks
from tgqformer.corruption.canvas import stream
from tgqformer.storefront import DRAWINGS, draw_storefront
from tgqformer.storefront.metadata import BRANDS, CATEGORIES
from tgqformer.storefront.photo import SLOGAN, take_photo
from tgqformer.storefront.shop import Product, draw_popularity, make_products
from tgqformer.storefront.shoppers import sessions_to_pairs, shop_sessions

ITEMS = 1500
NOUNS = {noun: c.name for c in CATEGORIES for noun in c.nouns}


@pytest.fixture(scope="module")
def products() -> list[Product]:
    return make_products(ITEMS, seed=5)


@pytest.fixture(scope="module")
def sessions(products: list[Product]) -> pl.DataFrame:
    return shop_sessions(products, seed=5)


@pytest.fixture(scope="module")
def pairs(sessions: pl.DataFrame) -> pl.DataFrame:
    return sessions_to_pairs(sessions)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Catalog]:
    folder = tmp_path_factory.mktemp("hard")
    return {
        noise: draw_storefront(folder / noise, items=160, noise=noise, size=32, workers=1, seed=5)
        for noise in ("heavy", "siblings")
    }


def families(products: list[Product]) -> list[list[Product]]:
    found: dict[int, list[Product]] = defaultdict(list)
    for product in products:
        found[product.family].append(product)
    return [sisters for sisters in found.values() if len(sisters) > 1]


def test_a_third_of_what_stands_around_is_of_the_own_category(products: list[Product]) -> None:
    for kind in ("clutter", "heavy"):
        same = [
            name == product.category.name
            for product in products[:240]
            for name in take_photo(
                product.look, kind, 32, stream(5, "photo", product.number)
            ).distractors
        ]
        assert len(same) > 400
        assert np.mean(same) == pytest.approx(1 / 3, abs=0.07)


def test_of_its_kind_the_product_for_sale_is_the_largest(products: list[Product]) -> None:
    for product in products[:60]:
        photo = take_photo(product.look, "siblings", 64, stream(5, "photo", product.number))
        assert set(photo.distractors) == {product.category.name}
        x0, y0, x1, y1 = photo.product_box
        longest = max(x1 - x0, y1 - y0)
        for box in photo.distractor_boxes:
            assert max(box.x1 - box.x0, box.y1 - box.y0) <= 0.93 * longest + 2


def test_siblings_is_heavy_but_for_what_stands_around(shops: dict[str, Catalog]) -> None:
    heavy, siblings = shops["heavy"].labels, shops["siblings"].labels
    assert heavy is not None
    assert siblings is not None
    assert shops["heavy"].pairs == shops["siblings"].pairs
    assert heavy["product_box"].to_list() == siblings["product_box"].to_list()
    for labels, share in ((heavy, 1 / 3), (siblings, 1.0)):
        boxes = labels["distractor_boxes"].list.len().to_list()
        assert boxes == labels["distractors"].list.len().to_list()
        told = labels.select("category", "distractors").explode("distractors").drop_nulls()
        same = (told["category"] == told["distractors"]).mean()
        assert same == pytest.approx(share, abs=0.07 if share < 1 else 0)


def test_a_third_of_the_products_are_colourways_of_one_product(products: list[Product]) -> None:
    found = families(products)
    assert sum(map(len, found)) == pytest.approx(ITEMS / 3, rel=0.15)
    assert {len(sisters) for sisters in found} == {2, 3, 4}
    for sisters in found:
        first = sisters[0]
        assert first.number == first.family
        assert len({p.cell.colourway for p in sisters}) == len(sisters)
        for p in sisters:
            assert (p.metadata, p.brand, p.category) == (
                *(first.metadata, first.brand, first.category),
            )
            assert p.cell._replace(colourway="") == first.cell._replace(colourway="")
            assert (p.look.silhouette, p.look.jitter) == (first.look.silhouette, first.look.jitter)
            assert p is first or p.look.colours != first.look.colours


@pytest.mark.parametrize("items", [20, 21, 60, 333])
def test_small_shops_have_families_too(items: int) -> None:
    products = make_products(items, seed=2)
    assert len(products) == items
    assert families(products)


def test_a_sister_is_a_near_miss_and_no_positive(
    products: list[Product], pairs: pl.DataFrame
) -> None:
    family = {p.item_id: p.family for p in products}
    assert np.mean([family[q] == family[t] for q, t, _ in pairs.iter_rows()]) < 0.01


def test_popularity_is_a_law_in_a_shop_of_any_size() -> None:
    for items in (50, 500, 5000):
        popularity = sorted(draw_popularity(items, seed=1), reverse=True)
        assert popularity == [1 / (rank + items / 100) for rank in range(1, items + 1)]
        assert 0.44 < sum(popularity[: items // 10]) / sum(popularity) < 0.53


def test_popular_products_are_clicked_on_and_are_targets_and_queries(
    products: list[Product], sessions: pl.DataFrame, pairs: pl.DataFrame
) -> None:
    order = sorted(products, key=lambda p: -p.popularity)
    top = {p.item_id for p in order[: ITEMS // 10]}
    rest = {p.item_id for p in order[ITEMS // 2 :]}
    for column in (sessions["item"], pairs["target_id"], pairs["query_id"]):
        often, seldom = (column.is_in(list(ids)).sum() / len(ids) for ids in (top, rest))
        assert often > 1.8 * seldom
    assert 0 < pairs["weight"].min() <= pairs["weight"].max() <= 1  # type: ignore[operator]
    assert pairs["query_id"].n_unique() > 0.9 * ITEMS


def test_neither_numbers_nor_metadata_tell_popularity_or_sisters(
    products: list[Product], sessions: pl.DataFrame, pairs: pl.DataFrame
) -> None:
    clicks, targets = Counter(sessions["item"]), Counter(pairs["target_id"])
    rank = np.argsort(np.argsort([p.popularity for p in products]))
    limit = 3.5 / ITEMS**0.5  # three and a half standard deviations of a correlation by chance
    for value in (
        [p.number for p in products],
        [p.metadata.price for p in products],
        [len(p.metadata.title) for p in products],
        [p.cell.tier for p in products],
        [p.family for p in products],
    ):
        assert abs(np.corrcoef(rank, value)[0, 1]) < limit
    for counts in (clicks, targets):
        numbers = [counts[p.item_id] for p in products]
        assert abs(np.corrcoef(np.arange(ITEMS), numbers)[0, 1]) < limit
    gaps = [b.number - a.number for s in families(products) for a, b in itertools.pairwise(s)]
    assert np.mean([gap < 10 for gap in gaps]) < 0.1


def test_a_quarter_of_the_titles_names_things_of_other_categories(
    products: list[Product],
) -> None:
    plain = make_products(ITEMS, seed=5, drawing=DRAWINGS[1])
    assert not any(p.stuffing for p in plain)
    stuffed = [p for p in products if p.stuffing]
    assert len(stuffed) / ITEMS == pytest.approx(DRAWINGS[2].stuffed, abs=0.05)
    at_the_front = 0
    for p in stuffed:
        assert 1 <= len(p.stuffing) <= 3
        for noun in p.stuffing:
            assert noun.lower() in p.metadata.title.lower()
            assert NOUNS[noun] != p.category.name
        at_the_front += p.metadata.title.lower().startswith(p.stuffing[0].lower())
        assert p.metadata.category == p.category.path
    assert 0.1 < at_the_front / len(stuffed) < 0.4


def test_slogans_name_another_category_and_another_brand(shops: dict[str, Catalog]) -> None:
    labels = shops["heavy"].labels
    assert labels is not None
    brands = [brand for tier in BRANDS for brand in tier]
    told = 0
    for row in labels.iter_rows(named=True):
        assert (row["slogan"] is not None) == (SLOGAN in row["overlays"])
        if row["slogan"] is None:
            continue
        told += 1
        assert row["brand"] not in row["slogan"]
        assert row["category"].split(" > ")[-1] not in row["slogan"]
        assert sum(brand in row["slogan"] for brand in brands) == 1
        assert sum(c.name in row["slogan"] for c in CATEGORIES) == 1
    assert told / len(labels) == pytest.approx(DRAWINGS[2].slogans, abs=0.12)


def test_a_slogan_changes_the_photo_where_it_lies(products: list[Product]) -> None:
    look = products[0].look
    photos = [take_photo(look, "overlay", 160, stream(n, "photo")) for n in range(12)]
    assert {bool(photo.slogan) for photo in photos} == {True, False}
    for n, photo in enumerate(photos):
        silent = take_photo(look, "overlay", 160, stream(n, "photo"), drawing=DRAWINGS[1])
        bars = (np.asarray(photo.image) != np.asarray(silent.image)).any((1, 2))  # [rows]
        assert bars.any() == bool(photo.slogan)
        assert bars[26:-26].sum() == 0


def test_nothing_leaks_and_every_label_stands_beside_its_item(shops: dict[str, Catalog]) -> None:
    shop = shops["heavy"]
    assert check_leaks(shop, promise="cold") == []
    assert shop.labels is not None
    assert shop.labels["item_id"].to_list() == [item.item_id for item in shop.items]
    sizes = Counter(shop.labels["family"].drop_nulls().to_list())
    assert set(sizes.values()) <= {2, 3, 4}
    titles = dict(zip(shop.labels["item_id"], (item.title for item in shop.items)))
    for item_id, family in shop.labels.select("item_id", "family").drop_nulls().iter_rows():
        assert titles[item_id] == titles[family]


def test_a_shop_is_saved_and_read_with_all_its_labels(
    shops: dict[str, Catalog], tmp_path: Path
) -> None:
    shop = shops["heavy"]
    assert shop.labels is not None
    shop.save(tmp_path / "copy")
    again = Catalog.load(tmp_path / "copy").labels
    assert again is not None
    assert again.select(shop.labels.columns).equals(shop.labels)

"""The shop before any photo: cells, metadata that hides the style, shoppers, pairs and splits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import polars as pl
import pytest

from tgqformer.corruption.canvas import shuffled, stream
from tgqformer.storefront.metadata import (
    ABBREVIATIONS,
    ADJECTIVES,
    BRANDS,
    CATEGORIES,
    FAULTS,
    PACKS,
    SLOGANS,
    SPAM,
    STUFFINGS,
    spoil_metadata,
)
from tgqformer.storefront.product import COLOURWAYS, PATTERNS
from tgqformer.storefront.regimes import DRAWINGS, MARKET_SHARES, REGIMES, Drawing, draw_regime
from tgqformer.storefront.shop import Product, make_products
from tgqformer.storefront.shoppers import cold_items, sessions_to_pairs, shop_sessions, split_pairs

TELLING = """
    red blue green yellow pink purple violet orange brown black white grey gray teal navy
    turquoise gold golden silver beige cream ivory lilac lavender mint burgundy maroon
    scarlet crimson magenta cyan khaki olive coral amber rose ruby emerald sapphire
    charcoal lemon multicolour multicolor colour color coloured colored colourful
    monochrome bright dark light pastel two-tone vivid neon
    stripe stripes striped dot dots dotted polka spot spots spotted check checks checked
    checkered chequered gingham plaid tartan zigzag zig-zag chevron floral flower flowers
    flowery leaf leaves leafy botanical bloom pattern patterned print printed plain solid
    trim trimmed geometric design motif
"""
STYLE_WORDS = {*COLOURWAYS, *PATTERNS, *TELLING.split()}


@pytest.fixture(scope="module", params=DRAWINGS.values(), ids=lambda d: f"drawing{d.version}")
def drawing(request: pytest.FixtureRequest) -> Drawing:
    found: Drawing = request.param
    return found


@pytest.fixture(scope="module")
def products(drawing: Drawing) -> list[Product]:
    return make_products(1500, 3, drawing)


@pytest.fixture(scope="module")
def pairs(products: list[Product], drawing: Drawing) -> pl.DataFrame:
    return sessions_to_pairs(shop_sessions(products, 3, drawing))


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z][a-z-]*", text.lower()))


@pytest.mark.parametrize("items", [20, 200, 1500])
def test_every_product_has_mates_and_no_cell_is_huge(items: int, drawing: Drawing) -> None:
    sizes = Counter(product.cell for product in make_products(items, 1, drawing))
    assert min(sizes.values()) >= 4
    assert max(sizes.values()) <= 10


def test_the_style_is_spread_evenly_and_independent_of_group_and_tier(
    products: list[Product],
) -> None:
    for key, expected in (("pattern", 6), ("colourway", 8), ("tier", 4), ("group", 5)):
        counts = Counter(getattr(p.cell, key) for p in products)
        assert len(counts) == expected
        assert max(counts.values()) < 1.6 * len(products) / expected


def test_no_word_that_a_seller_may_write_tells_the_style(products: list[Product]) -> None:
    vocabulary = " ".join(
        [
            *[
                t
                for c in CATEGORIES
                for t in (c.path, *c.nouns, *c.features, *c.materials, *c.sizes)
            ],
            *[b for tier in BRANDS for b in tier],
            *[*ADJECTIVES, *PACKS, *SPAM, *STUFFINGS, *SLOGANS],
            *[short for _, short in ABBREVIATIONS],
        ]
    )
    assert not words(vocabulary) & STYLE_WORDS
    for product in products:
        m = product.metadata
        text = " ".join([m.title, m.brand, m.category, *m.attributes, *m.attributes.values()])
        assert not words(text) & STYLE_WORDS, text


def test_the_metadata_does_not_depend_on_the_style(products: list[Product]) -> None:
    """Titles, attributes and prices are as likely within a style as without it (a chi-square)."""
    for value in (
        lambda p: p.metadata.attributes.get("material", "") in p.category.materials[:2],
        lambda p: "with" in p.metadata.title,
        lambda p: p.metadata.price > p.category.price,
    ):
        table = np.zeros((len(COLOURWAYS), 2))
        for product in products:
            table[list(COLOURWAYS).index(product.cell.colourway), int(value(product))] += 1
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        assert ((table - expected) ** 2 / expected).sum() < 30  # 7 degrees; 24.3 is p = 0.001


def test_price_follows_the_tier_with_much_overlap(products: list[Product]) -> None:
    ratio = defaultdict(list)
    for p in products:
        assert p.metadata.price > 0
        ratio[p.cell.tier].append(p.metadata.price / p.category.price)
    medians = [float(np.median(ratio[tier])) for tier in range(4)]
    assert medians == sorted(medians)
    assert np.quantile(ratio[0], 0.9) > np.quantile(ratio[2], 0.1)


def test_faults_are_named_and_real(products: list[Product]) -> None:
    seen: Counter[str] = Counter()
    for p in products[:400]:
        spoiled, faults = spoil_metadata(
            p.metadata, p.category, p.cell.tier, stream(0, "t", p.number)
        )
        seen.update(faults)
        assert faults
        assert (spoiled.category != p.category.path) == ("wrong_category" in faults)
        assert (spoiled.title == "") == ("missing_title" in faults)
        assert (spoiled.brand == "") == ("missing_brand" in faults)
        if "wrong_category" in faults:
            assert not spoiled.category.startswith(p.category.group)
        if "wrong_brand" in faults:
            assert spoiled.brand not in ("", *BRANDS[p.cell.tier])
    assert set(seen) == set(FAULTS)


def test_regimes_come_in_the_promised_shares() -> None:
    drawn = [draw_regime("market", 0, number) for number in range(6000)]
    share = {k: v / 6000 for k, v in Counter(r.name for r in drawn).items()}
    for name, expected in MARKET_SHARES.items():
        assert share[name] == pytest.approx(expected, abs=0.025)
    assert share["no_photo"] == pytest.approx(0.02, abs=0.008)
    photos = [r.photo for r in drawn]
    assert np.mean([p in ("overlay", "heavy") for p in photos]) == pytest.approx(1 / 3, abs=0.03)
    assert np.mean([p in ("clutter", "heavy") for p in photos]) == pytest.approx(0.2, abs=0.02)
    assert all(r.spoiled == (r.name == "mislabelled") for r in drawn)


@pytest.mark.parametrize("noise", REGIMES)
def test_a_named_noise_is_every_items_regime(noise: str) -> None:
    assert {draw_regime(noise, 0, number).name for number in range(200)} == {noise}


def test_sessions_are_short_without_repeats_and_in_order_of_time(
    products: list[Product], drawing: Drawing
) -> None:
    sessions = shop_sessions(products, 3, drawing)
    by_user = sessions.group_by("user", maintain_order=True).agg("item", "time")
    for _, items, times in by_user.iter_rows():
        assert 1 <= len(items) <= 8
        assert len(set(items)) == len(items)
        assert times == sorted(times)
    seen = set(sessions["item"])
    assert seen <= {p.item_id for p in products}
    assert len(seen) >= (0.98 if drawing.popularity else 1) * len(products)


def test_cosine_pairs_of_a_session_log_by_hand() -> None:
    log = {"u1": "abc", "u2": "ab", "u3": "ad", "u4": "bc"}
    sessions = pl.DataFrame(
        [{"user": u, "item": i, "time": 0.0} for u, items in log.items() for i in items]
    )
    found = {(q, t): w for q, t, w in sessions_to_pairs(sessions).iter_rows()}
    # a: 3 sessions, b: 3, c: 2, d: 1; ab 2, bc 2, the others once, which is below the minimum.
    assert found == {
        ("a", "b"): pytest.approx(2 / 3),
        ("b", "a"): pytest.approx(2 / 3),
        ("b", "c"): pytest.approx(2 / 6**0.5),
        ("c", "b"): pytest.approx(2 / 6**0.5),
    }


def test_positives_share_group_tier_and_style_far_above_chance(
    products: list[Product], pairs: pl.DataFrame
) -> None:
    by_id = {p.item_id: p for p in products}
    for key, least in (("group", 0.93), ("tier", 0.85), ("pattern", 0.9), ("colourway", 0.85)):
        same = [
            getattr(by_id[q].cell, key) == getattr(by_id[t].cell, key)
            for q, t, _ in pairs.iter_rows()
        ]
        assert np.mean(same) > least, key
    alike = np.mean([by_id[q].category == by_id[t].category for q, t, _ in pairs.iter_rows()])
    assert 0.25 < alike < 0.6  # favoured, but most positives are of another category


@pytest.mark.parametrize("items", [200, 1500])
def test_most_items_have_several_targets(items: int, drawing: Drawing) -> None:
    pairs = sessions_to_pairs(shop_sessions(make_products(items, 3, drawing), 3, drawing))
    targets = pairs.group_by("query_id").len()
    assert targets.height > 0.95 * items
    assert targets["len"].median() >= 3
    assert targets["len"].max() <= 10


def test_neither_metadata_nor_style_alone_finds_the_targets(
    products: list[Product], pairs: pl.DataFrame
) -> None:
    wanted = defaultdict(set)
    for query, target, _ in pairs.iter_rows():
        wanted[query].add(target)

    def first_is_right(key: object) -> float:
        groups = defaultdict(list)
        for p in products:
            groups[key(p)].append(p.item_id)  # type: ignore[operator]
        share = []
        for p in products:
            others = [i for i in groups[key(p)] if i != p.item_id]  # type: ignore[operator]
            hits = sum(i in wanted[p.item_id] for i in others)
            share.append(hits / len(others) if others else 0.0)
        return float(np.mean(share))

    both = first_is_right(lambda p: p.cell)
    metadata = first_is_right(lambda p: (p.category.name, p.cell.tier))
    style = first_is_right(lambda p: (p.cell.pattern, p.cell.colourway))
    assert both > 0.8
    assert metadata < 0.2
    assert style < 0.3


def test_cold_items_never_stand_in_a_train_pair(
    products: list[Product], pairs: pl.DataFrame
) -> None:
    split = cold_items([p.item_id for p in products], seed=3)
    counts = Counter(split.values())
    assert counts["val"] == 75
    assert counts["test"] == 300
    told = split_pairs(pairs, split)
    for pair in told:
        assert split[pair.query_id] == pair.split
        if pair.split == "train":
            assert split[pair.target_id] == "train"
        if pair.split == "val":
            assert split[pair.target_id] != "test"
    assert {pair.split for pair in told} == {"train", "val", "test"}
    assert any(split[p.target_id] == "train" for p in told if p.split == "test")


def test_streams_are_independent_of_each_other_and_of_order() -> None:
    first = stream(0, "photo", 7).integers(2**63)
    stream(0, "photo", 8).random(100)
    assert stream(0, "photo", 7).integers(2**63) == first
    others = {
        int(stream(*address).integers(2**63))
        for address in ((0, "photo", 8), (0, "regime", 7), (1, "photo", 7), (0, "photo"))
    }
    assert len(others | {int(first)}) == 5


def test_a_shuffle_keeps_all_and_is_fair() -> None:
    rng = stream(0, "test")
    first = Counter(shuffled("abcd", rng)[0] for _ in range(4000))
    assert sorted(shuffled("abcd", rng)) == list("abcd")
    assert all(abs(n - 1000) < 150 for n in first.values())

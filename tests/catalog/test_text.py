"""Laws of an item's text: bounded, one line, encodable, silent on the unknown, fair where cut."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.catalog.items import Item
from tgqformer.catalog.text import (
    MAX_CHARS,
    TextLimit,
    category_path,
    clean_text,
    fit_text,
    item_text,
    replace_surrogates,
)
from tgqformer.errors import ConfigError

# A shared machine may be slow at any moment; that is no fault of the code.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Any code points at all, lone surrogates among them.
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
ITEMS = st.builds(
    Item,
    item_id=st.just("id"),
    title=ANY_TEXT,
    brand=ANY_TEXT,
    category=ANY_TEXT,
    attributes=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
)


def test_the_fields_stand_in_order() -> None:
    item = Item("1", "Desk lamp", "Lux", "Home > Lighting", {"colour": "red"}, 9.0)
    assert item_text(item) == "Desk lamp; brand: Lux; category: Home > Lighting; colour: red"
    assert item_text(item, fields=("category", "title")) == "category: Home > Lighting; Desk lamp"


def test_what_is_unknown_leaves_no_trace() -> None:
    assert item_text(Item("secret-id", price=3.0)) == ""
    assert item_text(Item("1", title=" \n", brand="Lux", attributes={"a": ""})) == "brand: Lux"


@RELAXED
@given(ITEMS, st.integers(1, 80))
def test_text_is_bounded_clean_and_stable(item: Item, limit: int) -> None:
    text = item_text(item, max_chars=limit)
    assert len(text) <= limit
    assert text == text.strip()
    text.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)
    assert "\n" not in text


@RELAXED
@given(ANY_TEXT)
def test_cleaning_is_idempotent(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


@RELAXED
@given(st.text(max_size=40))
def test_composed_and_decomposed_are_one(text: str) -> None:
    assert clean_text(unicodedata.normalize("NFD", text)) == clean_text(
        unicodedata.normalize("NFC", text)
    )


@RELAXED
@given(st.text(max_size=40))
def test_sound_text_is_left_alone(text: str) -> None:
    assert replace_surrogates(text) == text


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert replace_surrogates("a\ud800b\udc00") == "a�b�"
    assert replace_surrogates("\ud83d\ude00") == "\U0001f600"


def test_a_megabyte_of_title_costs_nothing() -> None:
    text = item_text(Item("1", title="é" * 1_000_000))
    assert text == "é" * len(text)
    assert MAX_CHARS - 24 <= len(text) <= MAX_CHARS


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'price' is no field .* choose from title, brand"):
        item_text(Item("1"), fields=("price",))


def test_category_path() -> None:
    assert category_path("Home > Lighting>  Lamp ") == ("Home", "Lighting", "Lamp")
    assert category_path("") == ()


# -- texts with more tokens than there is room for ----------------------------------------------


def words(text: str) -> int:
    return len(text.split())


def signs(text: str) -> int:
    """A token each character but spaces; some are in two parts, as in byte tokenizers."""
    return sum(1 + (ord(c) > 0x2E80) for c in text if not c.isspace())


def pairs(text: str) -> int:
    """Two characters a token, so that counts do not add up."""
    return (len(text) + 1) // 2


COUNTS = pytest.mark.parametrize("count", [words, signs, pairs, len])
Count = Callable[[str], int]
WORD = st.text("abcdefgh", min_size=1, max_size=9)
PLAIN = st.lists(WORD, max_size=30).map(" ".join)
SHOP_ITEMS = st.builds(
    Item,
    item_id=st.just("id"),
    title=PLAIN,
    brand=PLAIN,
    category=st.lists(PLAIN, max_size=5).map(" > ".join),
    attributes=st.dictionaries(WORD, PLAIN, max_size=4),
)
LONG = Item(
    "1",
    title="Adjustable desk lamp with a heavy base and " + "many more words " * 10,
    brand="Lux",
    category="Home and garden > Lighting > Indoor lighting > Desk lamps",
    attributes={"colour": "red", "about": "A lamp that stands on a desk " * 5, "bulb": "E14"},
)


@COUNTS
@RELAXED
@given(item=ITEMS | SHOP_ITEMS, limit=st.integers(1, 200))
def test_a_fitted_text_is_never_over_the_limit(item: Item, limit: int, count: Count) -> None:
    text = item_text(item)
    short = fit_text(text, count, limit)
    assert count(short) <= limit
    assert bool(short) == bool(text) or limit < 4  # a sign in more tokens than there is room for
    assert short == clean_text(short)
    assert fit_text(short, count, limit) == short


@COUNTS
@RELAXED
@given(item=ITEMS | SHOP_ITEMS)
def test_a_text_that_fits_stays_as_it_is(item: Item, count: Count) -> None:
    text = item_text(item)
    assert fit_text(text, count, max(1, count(text))) == text


@COUNTS
@RELAXED
@given(item=SHOP_ITEMS, limit=st.integers(90, 200))  # room for a word of each field
def test_every_field_is_heard(item: Item, limit: int, count: Count) -> None:
    short = fit_text(item_text(item), count, limit)
    names = [name for name in ("brand", "category") if getattr(item, name).strip(" >")]
    assert all(f"{name}: " in short for name in names)
    assert any(f"{key}: " in short for key in item.attributes) or not any(item.attributes.values())
    assert short.startswith(item.title.split(" ")[0])


@COUNTS
@RELAXED
@given(item=SHOP_ITEMS, limit=st.integers(1, 120))
def test_a_larger_limit_takes_nothing_away(item: Item, limit: int, count: Count) -> None:
    text = item_text(item)
    short, longer = fit_text(text, count, limit), fit_text(text, count, limit + 1)
    assert len(short) <= len(longer) <= len(text)
    assert set(short.replace(";", "").split()[:-1]) <= set(longer.replace(";", "").split())


def test_what_a_short_field_leaves_over_goes_to_the_others() -> None:
    assert fit_text(item_text(LONG), words, 28) == (
        "Adjustable desk lamp with a heavy base and; brand: Lux; "
        "category: Indoor lighting > Desk lamps; colour: red; about: A; bulb: E14"
    )
    without = Item("1", title=LONG.title, category=LONG.category)
    assert fit_text(item_text(without), words, 28) == (
        "Adjustable desk lamp with a heavy base and many more words many more words many; "
        "category: Home and garden > Lighting > Indoor lighting > Desk lamps"
    )


def test_a_category_keeps_its_narrow_end() -> None:
    path = item_text(Item("1", category="Home > Lighting > Desk lamps"))
    kept = [fit_text(path, words, limit) for limit in (2, 3, 5, 6)]
    assert kept == [
        "category: lamps",
        "category: Desk lamps",
        "category: Lighting > Desk lamps",
        "category: Lighting > Desk lamps",
    ]


def test_the_limit_in_characters_does_not_push_fields_out_either() -> None:
    text = item_text(Item("1", "word " * 500, "Lux", "Home > Lamp", {"colour": "red"}))
    assert text.endswith("; brand: Lux; category: Home > Lamp; colour: red")
    assert MAX_CHARS - 30 < len(text) <= MAX_CHARS


@pytest.mark.parametrize(
    "title",
    [
        "x" * 1_000_000,
        "; a: b" * 200_000,
        "; " * 500_000,
        "\U0001f600" * 300_000,
        "\ud800" * 10_000,
    ],
)
def test_a_hostile_title_takes_no_time_and_leaves_the_category(title: str) -> None:
    text = item_text(Item("1", title, category="Lamp"))
    started = time.process_time()
    short = fit_text(text, signs, 64)
    fit_text(title, signs, 64)
    assert time.process_time() - started < 5
    assert signs(short) <= 64
    assert "category: Lamp" in short


def test_scripts_without_spaces_are_cut_between_signs() -> None:
    assert fit_text("红色台灯" * 40, signs, 8) == "红色台灯"
    assert fit_text("category: 家居 > 灯具", signs, 9 + 4) == "category: 灯具"


def test_text_of_no_known_form_is_one_long_title() -> None:
    assert fit_text(" \n ", len, 1) == ""
    assert fit_text("a  b\nc d", words, 2) == "a  b"
    assert fit_text("incomprehensibility", len, 4) == "inco"
    assert fit_text("\U0001f600", signs, 1) == ""


@RELAXED
@given(st.lists(SHOP_ITEMS, max_size=5), st.integers(1, 60))
def test_a_limit_fits_as_the_function_does_and_counts_a_text_once(
    items: list[Item], tokens: int
) -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return signs(text)

    limit = TextLimit(count, tokens)
    texts = [item_text(item) for item in items]
    fitted = [limit.fit(text) for text in texts]
    assert fitted == [fit_text(text, signs, tokens) for text in texts]
    assert [limit.fits(text) for text in texts] == [signs(text) <= tokens for text in texts]
    counted.clear()
    assert [limit.fit(text) for text in texts] == fitted
    assert not counted


def test_only_some_fields_of_a_text_are_kept() -> None:
    from tgqformer.catalog.text import only_fields

    item = Item("a", "Desk lamp", "Lux", "Home > Light", {"colour": "red; dark"})
    text = item_text(item)
    for fields in (("title",), ("brand",), ("title", "brand", "category"), ("category", "title")):
        kept = tuple(name for name in ("title", "brand", "category") if name in fields)
        assert only_fields(text, fields) == item_text(item, fields=kept)
    assert only_fields(text, ("title", "brand", "category", "attributes")) == text
    assert only_fields("brand: Lux", ("title",)) == only_fields("", ("title",)) == ""

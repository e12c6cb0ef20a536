"""Laws of an item's text: bounded, one line, encodable, and silent on what is not known."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.catalog.items import Item
from tgqformer.catalog.text import category_path, clean_text, item_text, replace_surrogates
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
    assert item_text(Item("1", title="é" * 1_000_000)) == "é" * 1_000


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'price' is no field .* choose from title, brand"):
        item_text(Item("1"), fields=("price",))


def test_category_path() -> None:
    assert category_path("Home > Lighting>  Lamp ") == ("Home", "Lighting", "Lamp")
    assert category_path("") == ()

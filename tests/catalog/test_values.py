"""Laws of the readers of values: one for each kind, and nothing guessed in silence."""

from __future__ import annotations

import base64
import math
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.text import item_text
from tgqformer.catalog.values import (
    MISSING_TEXTS,
    is_missing,
    links,
    plain_text,
    plain_value,
    read_price,
    read_stock,
    split_links,
)

PRICES = {
    "49,90": 49.9,
    "1.249,00 €": 1249,
    "1 299": 1299,
    "1\u00a0299,00 kr": 1299,
    "1\u202f299": 1299,
    "1'299.00": 1299,
    "CHF 1’299.–": 1299,
    "$1,234.50": 1234.5,
    "1.234,567": 1234.567,
    "R$ 1.089,90": 1089.9,
    "₹1,23,456.00": 123456,
    "5,00,000": 500000,
    ".99": 0.99,
    ",99": 0.99,
    "0,99": 0.99,
    "0.125": 0.125,
    "1234.567": 1234.567,
    "19.99 USD": 19.99,
    "USD 19.99": 19.99,
    "US$ 12": 12,
    "1e3": 1000,
    "1,5e3": 1500,
    "1.5E+3": 1500,
    "2.500 VND": 2500,
    "¥2,500 JPY": 2500,
    "٤٩٫٩٠": 49.9,
    "１２．５０": 12.5,
    "1299.-": 1299,
    "1.299,--": 1299,
    "1.000.000": 1_000_000,
    "3 kr.": 3,
    "Rs. 1,299.00": 1299,
    "5.": 5,
    "0": 0,
    "12 345,67 zł": 12345.67,
    "+5": 5,
    "₹1299/-": 1299,
    "1299:- kr": 1299,
    "1.000.000đ": 1_000_000,
    "د.إ 12.50": 12.5,
    "12.50 ر.س": 12.5,
    "C$12.50": 12.5,
    "S/ 12.50": 12.5,
    '="12.50"': 12.5,
    "'12.50": 12.5,
}
NEGATIVE = ["-3", "−3", "–3", "-$5.00", "$-5.00", "(5.00)", "($5.00)", "$(5.00)", "5.00-", "-,5"]
TWO_READINGS = ["1.299", "1,299", "€ 1.299", "12,345 USD", "-1.299", "999.999 kr"]
UNREADABLE = [
    "3 for $10",
    "Free",
    "50%",
    "2024-01-01",
    "99¢",
    "1,2,3",
    "1..2",
    "5 5",
    "1,23,45",
    "1.249.00",
    "12:30",
    "1_000",
    "0x10",
    "4.99/kg",
    "5 EUR 6 USD",
    "9-5",
    "12 kr 50",
    "call us",
    "€",
    "2 x 5",
    "1.299.00,5",
    "EUR 5 USD",
    "99c",
    "ca. 12",
    "12 s",
    "5 -",
]
OBJECTS: list[tuple[Any, float]] = [
    ({"amount": "12,50", "currencyCode": "EUR"}, 12.5),
    ({"$numberDecimal": "3.10"}, 3.1),
    ({"value": 3}, 3),
    (["12.50"], 12.5),
]


@pytest.mark.parametrize(("text", "amount"), PRICES.items())
def test_a_price_with_one_reading_is_read_without_a_word(text: str, amount: float) -> None:
    told = read_price(text)
    assert (told.amount, told.fault) == (pytest.approx(amount), None)


@pytest.mark.parametrize("text", NEGATIVE)
def test_a_price_keeps_its_sign(text: str) -> None:
    told = read_price(text)
    assert told.amount is not None
    assert told.amount < 0
    catalog = Catalog.from_rows([{"item_id": "a", "price": text}])
    assert catalog[0].price is None
    assert catalog.quarantine.counts() == {"items: bad price": 1}


@pytest.mark.parametrize("text", TWO_READINGS)
def test_two_readings_are_told_unless_the_mark_is_known(text: str) -> None:
    told = read_price(text)
    assert told.amount is None
    assert told.fault is not None
    assert told.fault[0] == "ambiguous price"
    found = sorted(abs(read_price(text, decimal=mark).amount or 0) for mark in ("point", "comma"))
    assert found[1] == pytest.approx(1000 * found[0])


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_price_is_told_with_its_text(text: str) -> None:
    told = read_price(text)
    assert told.amount is None
    assert told.fault is not None
    assert repr(text) in told.fault[1]


@pytest.mark.parametrize(
    ("text", "low"),
    [
        ("49.90-59.90", 49.9),
        ("$12.99$29.99", 12.99),
        ("12,99 € – 15,99 €", 12.99),
        ("from 5.00", 5),
    ],
)
def test_of_a_range_the_lower_end_is_taken_and_told(text: str, low: float) -> None:
    told = read_price(text)
    assert told.amount == low
    assert told.fault is not None


@pytest.mark.parametrize(("told", "amount"), OBJECTS)
def test_an_object_that_holds_one_amount_is_a_price(told: Any, amount: float) -> None:
    assert read_price(told).amount == amount


@pytest.mark.parametrize("told", [{"amount": 1, "value": 2}, {"min": 1}, [1, 2], {"amount": [1]}])
def test_an_object_of_several_amounts_is_told(told: Any) -> None:
    price = read_price(told)
    assert price.amount is None
    assert price.fault is not None


@given(st.floats(0, 1e12), st.sampled_from("., "), st.booleans())
def test_what_shops_write_reads_as_it_was_meant(price: float, group: str, cents: bool) -> None:
    point = "," if group == "." else "."
    text = f"{price:_.2f}" if cents else f"{price:_.0f}"
    whole, _, fraction = text.partition(".")
    shown = whole.replace("_", group) + (point + fraction if cents else "")
    told = read_price(shown, decimal="comma" if point == "," else "point")
    assert (told.amount, told.fault) == (float(text.replace("_", "")), None)


@given(st.text(max_size=30))
def test_any_text_is_read_or_told(text: str) -> None:
    told = read_price(text)
    assert told.amount is None or isinstance(told.amount, float)
    if told.amount is None and told.fault is None:
        assert is_missing(text) or not text.strip().strip("-–—−﹣－‐‑‒\u00ad\u200b")


@given(st.floats(0, 1e12))
def test_a_number_is_itself(price: float) -> None:
    assert read_price(price).amount == read_price(np.float64(price)).amount == price
    assert read_price(repr(price) + "0").amount in (price, None) or "e" in repr(price)


NOTHING: list[Any] = [
    None,
    float("nan"),
    np.nan,
    np.float32("nan"),
    np.datetime64("NaT"),
    Decimal("NaN"),
    "<NA>",
    "nan",
    "NaN",
    "NaT",
    "null",
    "NULL",
    "None",
    "N/A",
    "n/a",
    " N/A ",
    "#N/A",
    "#REF!",
    "\\N",
    "(not set)",
    "-",
    " — ",
    "",
]


@pytest.mark.parametrize("value", NOTHING)
def test_missing_is_missing_in_every_field(value: Any) -> None:
    assert is_missing(value)
    row = dict.fromkeys(("title", "brand", "category", "price", "images", "attributes"), value)
    catalog = Catalog.from_rows(
        [
            {"item_id": "a", **row},
            {"item_id": "b", "attributes": {"size": value}},
            {"item_id": value},
        ]
    )
    first, second = catalog.items
    assert (first.title, first.brand, first.category, first.price) == ("", "", "", None)
    assert (first.images, first.attributes) == ((), {})
    assert not second.attributes.get("size") or value == "None"
    assert catalog.quarantine.counts() == {"items: missing id": 1}


@pytest.mark.parametrize("value", ["NA", "Nan", "none of these", 0, False, "0", "-1"])
def test_what_only_looks_missing_is_kept(value: Any) -> None:
    assert not is_missing(value)


def test_arrays_and_tuples_are_lists() -> None:
    told = [("Home", "Lamps"), np.array(["Home", "Lamps"]), ["Home", None, "Lamps", float("nan")]]
    rows = [{"item_id": str(n), "category": value} for n, value in enumerate(told)]
    assert {item.category for item in Catalog.from_rows(rows)} == {"Home > Lamps"}
    assert plain_value(np.array([1, 2])) == [1, 2]
    assert plain_value(np.int64(3)) == 3


@pytest.mark.parametrize("value", [8.0, np.float64(8), np.float32(8), 8, "8", b"8"])
def test_an_id_is_the_same_id_whatever_its_type(value: Any) -> None:
    catalog = Catalog.from_rows(
        [{"item_id": value}, {"item_id": "9"}],
        [{"query_id": value, "target_id": 9.0}],
        [{"item_id": value if not isinstance(value, bytes) else "8", "noise": "x"}],
    )
    assert [item.item_id for item in catalog] == ["8", "9"]
    assert len(catalog.pairs) == 1
    assert catalog.labels is not None
    assert catalog.labels["noise"].to_list() == ["x", None]


@pytest.mark.parametrize(
    ("value", "stock"),
    [
        ("in_stock", True),
        ("in stock", True),
        ("In Stock", True),
        ("https://schema.org/InStock", True),
        ("http://schema.org/OutOfStock", False),
        ("out of stock", False),
        ("preorder", False),
        ("backorder", False),
        ("schema:SoldOut", False),
        ("LimitedAvailability", True),
        ("yes", True),
        ("No", False),
        (True, True),
        (0, False),
        (7, True),
        ("3", True),
        ("-1", False),
        ("0.0", False),
        ("who knows", None),
        (None, None),
        ("N/A", None),
        (math.nan, None),
        (np.int64(2), True),
        ("10+", True),
        (">5", True),
        ("0 in stock", False),
        ("12 pcs", True),
        ("12 weeks", None),
        ("nein", False),
    ],
)
def test_stock(value: Any, stock: bool | None) -> None:
    assert read_stock(value) is stock


def test_a_catalog_says_its_stock_in_one_way() -> None:
    rows = [
        {"item_id": str(number), "attributes": {"in_stock": value}}
        for number, value in enumerate(["In Stock", "https://schema.org/SoldOut", 3, "who knows"])
    ]
    told = [item.attributes["in_stock"] for item in Catalog.from_rows(rows, strict=True)]
    assert told == ["true", "false", "true", "who knows"]
    (item, *_) = Catalog.from_rows(rows)
    assert item_text(item) == ""  # it changes from hour to hour, and no model reads it


ONE, TWO = "https://img.example/w_300,h_200;q=1/a|b.jpg?x=1,2", "http://img.example/b.jpg"


@pytest.mark.parametrize("between", [",", ", ", ";", " ; ", "|", " | ", " ", "\n", "\t", ",\n  "])
def test_links_are_parted_where_the_next_one_begins(between: str) -> None:
    for text in (ONE + between + TWO, f" {ONE}{between}{TWO}{between}"):
        assert split_links(text) == [ONE, TWO]
    assert links(f"{ONE}{between}{TWO}{between}{ONE}") == [ONE, TWO]
    assert (
        split_links(f"a.jpg{between}b.png")
        == (["a.jpg", "b.png"] if between.strip() else [f"a.jpg{between}b.png".strip()])
        or between in "\n\t"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (ONE, [ONE]),
        (f'["{ONE}", "{TWO}"]', [ONE, TWO]),
        (f"['{ONE}', '{TWO}']", [ONE, TWO]),
        (f"['{ONE}'\n '{TWO}']", [ONE, TWO]),  # NumPy's
        (f"{{{TWO},{TWO}}}", [TWO, TWO]),  # PostgreSQL's
        ("s3://b/a.jpg, s3://b/c.jpg", ["s3://b/a.jpg", "s3://b/c.jpg"]),
        ("images/red, large.jpg", ["images/red, large.jpg"]),
        ("[draft] lamp.jpg", ["[draft] lamp.jpg"]),
        ("[]", []),
        ("", []),
        ('["a.jpg", null]', ["a.jpg"]),
        ('[{"src": "b.jpg", "position": 1}, {"src": "a.jpg"}]', ["b.jpg", "a.jpg"]),
        ("[{'url': 'https://i/a.jpg'}]", ["https://i/a.jpg"]),
        ("{a.jpg,b c.jpg}", ["a.jpg", "b c.jpg"]),
        ('{"0": "a.jpg", "1": "b.jpg"}', ["a.jpg", "b.jpg"]),
        ('"a.jpg","b.jpg"', ["a.jpg", "b.jpg"]),
        ("a.jpg,", ["a.jpg"]),
        ("a.heic; b.HEIC", ["a.heic", "b.HEIC"]),
        (f"{TWO}^{TWO}", [TWO, TWO]),
    ],
)
def test_lists_of_links_in_every_writing(text: str, parts: list[str]) -> None:
    assert split_links(text) == parts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Linen shirt &ndash; relaxed", "Linen shirt – relaxed"),
        ("Hoodie &amp; cap <em>set</em>", "Hoodie & cap set"),
        ("&lt;b&gt;Lamp&lt;/b&gt;", "Lamp"),
        ("R&amp;amp;D", "R&D"),
        ("A<br/>B<p class='x'>C</p>", "A B C"),
        ("&#8211;&#x2013;", "––"),
        ("<!-- note -->Lamp<script>alert('x')</script>", "Lamp"),
        ("<![CDATA[Lamp &amp; shade]]>", "Lamp & shade"),
        ("<o:p>Lamp</o:p>", "Lamp"),
    ],
)
def test_html_becomes_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain
    row = {"item_id": "a", "title": text, "brand": text, "attributes": {"note": text}}
    (item,) = Catalog.from_rows([row])
    assert (item.title, item.brand, item.attributes["note"]) == (plain, plain, plain)


@pytest.mark.parametrize(
    "text", ["size < 5 and > 3", "AT&T", "Mug <blue>", "I <3 you", "R&copyD", "a  b"]
)
def test_text_that_is_no_html_stays(text: str) -> None:
    assert plain_text(text) == text


@given(st.text())
def test_plain_text_is_plain(text: str) -> None:
    once = plain_text(text)
    assert plain_text(once) == once or "&" in text or "<" in text


MAPS: list[Any] = [
    {"colour": "red"},
    [{"name": "colour", "value": "red"}],
    [{"value": "red", "name": "colour"}],
    [{"id": 7, "attribute": "colour", "value": "red"}],
    [{"colour": "red"}],
    [("colour", "red")],
    '{"colour": "red"}',
    "{'colour': 'red'}",
    '[{"k": "colour", "v": "red"}]',
]


@pytest.mark.parametrize("told", MAPS)
def test_attributes_go_by_what_their_parts_are_called(told: Any, tmp_path: Path) -> None:
    (item,) = Catalog.from_rows([{"item_id": "a", "attributes": told}], strict=True)
    assert item.attributes == {"colour": "red"}
    if isinstance(told, list) and isinstance(told[0], dict):
        frame = pl.DataFrame({"item_id": ["a"], "attributes": [told]})
        frame.write_parquet(tmp_path / "items.parquet")
        (item,) = Catalog.load(tmp_path, strict=True)
        assert item.attributes == {"colour": "red"}


@pytest.mark.parametrize("field", ["title", "brand", "category", "item_id"])
def test_an_object_is_no_text(field: str) -> None:
    row = {"item_id": "a", field: {"en": "Lamp", "de": "Lampe"}}
    catalog = Catalog.from_rows([row])
    assert catalog.quarantine.counts()["items: no text"] == 1
    assert not any(getattr(item, field) for item in catalog)
    one = Catalog.from_rows([{"item_id": {"$oid": "507f"}}], strict=True)
    assert one[0].item_id == "507f"


@pytest.mark.parametrize("told", ['["Home", "Lamps"]', "['Home', 'Lamps']", "Home > Lamps"])
def test_a_category_that_is_a_list_in_a_text_is_a_path(told: str) -> None:
    (item,) = Catalog.from_rows([{"item_id": "a", "category": told}])
    assert item.category == "Home > Lamps"


def test_photos_are_found_in_every_shape(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), (9, 9, 9))
    for name in ("a.png", unicodedata.normalize("NFD", "café.png"), "B.PNG"):
        picture.save(tmp_path / name)
    data = (tmp_path / "a.png").read_bytes()
    shapes: list[Any] = [
        {"src": "a.png"}, [{"url": "a.png"}], [["a.png"]], {"0": "a.png"}, '[{"src": "a.png"}]',
        {"bytes": None, "path": "a.png"}, ".\\a.png", unicodedata.normalize("NFC", "café.png"),
        np.zeros((4, 4, 3), dtype=np.uint8), [np.zeros((4, 4), dtype=np.uint8)],
        f"data:image/png;base64,{base64.b64encode(data).decode()}",
    ]  # fmt: skip
    rows = [{"item_id": str(n), "images": told} for n, told in enumerate(shapes)]
    catalog = Catalog.from_rows(rows, root=tmp_path, strict=True, check_images=True)
    assert [len(item.images) for item in catalog] == [1] * len(shapes)
    rows = [{"item_id": "a", "images": ["b.png", "b"]}, {"item_id": "b", "images": {"alt": "x"}}]
    told = [entry.reason for entry in Catalog.from_rows(rows, root=tmp_path).quarantine]
    assert sum("(but 'B.PNG')" in reason for reason in told) == 2
    assert sum("is no image" in reason for reason in told) == 1


def test_the_missing_texts_are_missing_however_they_stand() -> None:
    assert all(is_missing(text) and is_missing(f"  {text}\t") for text in MISSING_TEXTS if text)

"""Laws of the audit: what was planted is found, the rest left alone, and no title is markup."""

from __future__ import annotations

import dataclasses
import io
import json
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.catalog.values import plain_text
from tgqformer.cli.shared import plain
from tgqformer.errors import ConfigError
from tgqformer.inspection.audit import (
    audit,
    check_folder,
    correct_catalog,
    corrections,
    write_audit,
)
from tgqformer.inspection.disagreement import (
    Votes,
    combined,
    doubtful,
    look_at,
    photo_neighbours,
    vote,
    within_category,
)
from tgqformer.inspection.faults import odd_characters, proposed, suspicions

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>"
COLOURS = {"Fruit > Lemons": (240, 220, 30), "Fruit > Plums": (90, 30, 120), "Shop": (30, 150, 60)}


def encoded(colour, seed: int, *, size: int = 64, kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).normal(0, 25, (8, 8, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).resize((size, size)).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Ten of each category; "wrong" is a plum among the lemons, "copy" and "again" are c0-3."""
    made = [
        Item(
            f"c{n}-{row}",
            f"good thing {row}",
            category=category,
            images=(encoded(c, 50 * n + row),),
        )
        for n, (category, c) in enumerate(COLOURS.items())
        for row in range(10)
    ]
    plum = encoded(COLOURS["Fruit > Plums"], 999)
    return [
        *made,
        Item("wrong", HOSTILE, category="Fruit > Lemons", images=(plum,)),
        Item("copy", "the same photo", category="Fruit > Lemons", images=made[3].images),
        Item(
            "again",
            "saved anew",
            category="Fruit > Lemons",
            images=(encoded(COLOURS["Fruit > Lemons"], 3, size=80, kind="JPEG"),),
        ),
        Item("bare", "nothing to see", category="Shop"),
        Item("broken", "cannot be read", category="Shop", images=(b"no picture",)),
        Item("mute", images=(encoded((128, 128, 128), 7),)),
    ]


@pytest.fixture(scope="module")
def found(embedder, items):
    return audit(embedder, Catalog(items), neighbours=8)


def ids(found, positions):
    return [found.catalog.items[row].item_id for row in positions]


def test_the_planted_wrong_category_is_ranked_first(found):
    first = found.disagreements[0]
    assert ids(found, [first.position]) == ["wrong"]
    assert (first.likely, first.other) == (True, "Fruit > Plums")
    assert sum(one.likely for one in found.disagreements) == 1


def test_copies_are_found_by_their_bytes_and_near_copies_by_their_vectors(found):
    assert [ids(found, group) for group in found.same] == [["c0-3", "copy"]]
    near = {frozenset(ids(found, (pair.first, pair.second))) for pair in found.near}
    assert near == {frozenset(("c0-3", "again")), frozenset(("copy", "again"))}


def test_what_is_missing_is_named(found):
    assert ids(found, found.without_photo) == ["bare"]
    assert ids(found, found.unreadable) == ["broken"]
    kinds = {(ids(found, [one.position])[0], one.kind) for one in found.suspicions}
    assert kinds == {("mute", "no metadata")}
    assert found.counts()["items that share a photo"] == 2


def test_an_audit_is_plain_data_of_bounded_length(found):
    told = plain(found.to_dict(2))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert all(len(part) <= 2 for name, part in told.items() if name != "counts")


def test_the_corrected_copy_has_the_neighbours_category_and_all_else_as_it_was(found, tmp_path):
    changes = corrections(found)
    assert {change.item_id: (change.before, change.after) for change in changes} == {
        "wrong": ("Fruit > Lemons", "Fruit > Plums")
    }
    before = [dataclasses.replace(item) for item in found.catalog.items]
    correct_catalog(found.catalog, changes, tmp_path / "mended")
    read = Catalog.load(tmp_path / "mended")
    assert found.catalog.items == before  # the catalog itself is not touched
    for old, new in zip(before, read.items, strict=True):
        wanted = "Fruit > Plums" if old.item_id == "wrong" else old.category
        title = plain_text(old.title)  # a file's titles are read as text, without markup
        assert (new.item_id, new.title, new.category) == (old.item_id, title, wanted)
        assert len(new.images) == len(old.images)
    listed = (tmp_path / "mended" / "corrections.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["item_id"] for line in listed] == ["wrong"]
    correct_catalog(found.catalog, changes, tmp_path / "mended")  # an earlier copy is replaced


def test_a_corrected_copy_never_replaces_a_catalog(found, items, tmp_path):
    Catalog(items).save(tmp_path / "other")
    own = Catalog.load(tmp_path / "other")
    for folder in (tmp_path / "other", tmp_path / "x" / ".." / "other"):
        with pytest.raises(ConfigError, match="catalog"):
            correct_catalog(own, [], folder)
        with pytest.raises(ConfigError, match="holds a catalog already"):
            check_folder(found.catalog, folder)
    check_folder(found.catalog, tmp_path / "new")


def test_the_page_fetches_nothing_and_takes_no_title_for_markup(found, tmp_path):
    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []
            self.sources: list[str] = []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)
            self.sources += [value for name, value in attrs if name in ("src", "href")]

    path = tmp_path / "audit.html"
    write_audit(path, found, title=HOSTILE, facts={HOSTILE: HOSTILE})
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("style") == 1
    assert all(source.startswith("data:") for source in page.sources)
    assert page.tags.count("img") >= 10


def test_an_empty_and_a_sound_catalog_give_a_page(embedder, items, tmp_path):
    for some in ([], items[:1]):
        write_audit(tmp_path / "a.html", audit(embedder, Catalog(some)), title="few")
        assert "Made by tgqformer" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_neighbours_are_the_nearest_photos_and_never_oneself():
    vectors = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    there = np.arange(40) % 5 != 0
    scores, rows = photo_neighbours(vectors, there, 4)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    cosines[:, ~there] = -2
    expected = np.argsort(-cosines, axis=1)[:, :4]
    assert (rows[there] == expected[there]).all()
    assert (rows[~there] == -1).all()
    assert np.isneginf(scores[~there]).all()


def test_votes_are_shares_and_those_without_a_category_have_none():
    rows = np.array([[1, 2, 3, 4], [0, 4, -1, -1], [0, 1, 3, -1], [4, -1, -1, -1], [0, 1, 2, 3]])
    votes = vote(rows, ["a", "b", "b", "a", ""])
    assert votes.own[0] == pytest.approx(1 / 3)
    assert (votes.best[0], votes.category[0]) == (pytest.approx(2 / 3), "b")
    assert (votes.own[1], votes.best[1], votes.category[1]) == (0, 1, "a")
    assert np.isnan([votes.own[3], votes.own[4]]).all()  # nobody to ask, nothing to compare


def test_one_endless_category_takes_memory_once(embedder, items):
    endless = ["a" * 3_000_000, *("b" for _ in items[1:])]
    rows = np.tile(np.arange(8), (len(items), 1))
    tracemalloc.start()
    try:
        assert doubtful(vote(rows, endless)).tolist() == [0]
        assert set(look_at(embedder, items, endless).words) == set(endless)
        assert tracemalloc.get_traced_memory()[1] < 100e6  # padded: 12 MB an item
    finally:
        tracemalloc.stop()


def test_agreement_is_measured_against_its_own_category():
    agreement = np.array([0.1, 0.2, 0.3, 0.15, 0.25, 0.8, 0.9, 0.7, 0.8, 0.2, np.nan])
    deviation = within_category(agreement, ["low"] * 5 + ["high"] * 5 + ["high"])
    assert np.nanargmin(deviation) == 9  # 0.2 is usual among the low ones
    assert np.isnan(deviation[10])
    assert deviation[1] == pytest.approx(0)


def test_the_models_doubt_adds_to_that_of_the_neighbours():
    votes = Votes(np.array([0.5, 0.5, np.nan]), np.array([0.5, 0.5, np.nan]), ["b", "b", ""])
    scores = combined(votes, np.array([0.2, -0.2, np.nan]), np.array([0.0, 0.0, np.nan]))
    assert scores[0] > 0 > scores[1]
    assert np.isnan(scores[2])


def test_a_pair_is_told_once_and_copies_are_no_news():
    scores = np.array([[0.99, 0.98], [0.99, 0.5], [0.98, 0.2]], dtype=np.float32)
    rows = np.array([[1, 2], [0, 2], [0, 1]])
    pairs = proposed(scores, rows, [])
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2)]
    assert [(p.first, p.second) for p in proposed(scores, rows, [[0, 1]])] == [(0, 2)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Lamp\u200b", "U+200B"),
        ("La\x07mp", "U+0007"),
        ("Lamp \ufffd", "U+FFFD"),
        ("\u0420\u0430\u0443Pal \u0441ard", "Cyrillic"),
        ("CafÃ© chair", "Café"),
    ],
)
def test_odd_characters_are_named(text, word):
    assert word in odd_characters(text)


@pytest.mark.parametrize(
    "text", ["Lampe für Café", "衣服 衬衫", "лампа USB", "👩‍🚀 kit", "a\nb", "µm", ""]
)
def test_what_people_write_is_not_odd(text):
    assert odd_characters(text) == ""


def test_titles_and_prices_that_stand_out_are_told_with_their_value():
    priced = [Item(f"p{n}", "desk lamp", category="A > B", price=20 + n % 5) for n in range(30)]
    odd = [
        Item("dear", "desk lamp", category="A > B", price=2100),
        Item("free", "desk lamp", category="A > B", price=0),
        Item("short", "lamp", category="A > B"),
        Item("zh", "台灯", category="A > B"),
        Item("untitled", brand="Lux"),
        Item("few", "tall lamp", category="C", price=9000),
    ]
    told = {}
    for one in suspicions([*priced, *odd]):
        told[[*priced, *odd][one.position].item_id] = (one.kind, one.reason)
    assert {name: kind for name, (kind, _) in told.items()} == {
        "dear": "price",
        "free": "price",
        "short": "short title",
        "untitled": "no title",
    }
    assert "2,100.00" in told["dear"][1]

"""Laws of the report: one file, nothing fetched, nothing of the shop's text taken as markup."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import ConfigError, StorageError
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.report import GalleryCell, GalleryRow, gallery_rows, write_report
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import unit

HOSTILE = (
    "</style><script>alert('x')</script><img src=x onerror=alert(1)> \"$\\frac{1}{2}$ 衣服 \x00"
)


def photo(seed: int) -> bytes:
    colour = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    items = [
        Item(
            f"i{row}",
            title=HOSTILE if row == 0 else f"title {row}",
            category=HOSTILE if row % 2 else "衣服 > 衬衫",
            images={0: (b"no picture", photo(0)), 1: (), 2: (b"broken",)}.get(row, (photo(row),)),
        )
        for row in range(30)
    ]
    pairs = [Pair(f"i{row}", f"i{row + step}", split="test") for row in range(9) for step in (1, 9)]
    noise = pl.DataFrame({"item_id": [i.item_id for i in items], "noise": ["clean", HOSTILE] * 15})
    return Catalog(items, pairs, noise)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((30, 8)))


def report(path: Path, catalog: Catalog, vectors: np.ndarray) -> str:
    others = {HOSTILE: np.ones((30, 2), np.float32), "_" + "long " * 20: vectors[::-1]}
    write_report(
        path,
        title=HOSTILE,
        intro=HOSTILE,
        evaluations=[
            evaluate(vectors, catalog, name="TGQ-Former", bootstrap=50),
            *(evaluate(v, catalog, name=name, bootstrap=50) for name, v in others.items()),
        ],
        curve=[
            {"step": 0, "eval_hit@10": 0.1, "eval_visual_hit@10": 0.05},
            {"step": 10, "loss": 3.5, "loss_visual": 2.0},
            {"step": 20, "loss": float("nan"), "eval_hit@10": 0.4},
        ],
        levels={HOSTILE: 0.25},
        gallery=gallery_rows(catalog, vectors, count=9),
        facts={HOSTILE: HOSTILE, "items": 30},
        next_steps=[HOSTILE],
        samples=50,
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory, catalog, vectors) -> str:
    return report(tmp_path_factory.mktemp("page") / "r.html", catalog, vectors)


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_nothing_is_fetched_and_nothing_runs(tmp_path, catalog, vectors):
    text = report(tmp_path / "new" / "report.html", catalog, vectors)
    page = Page(text)
    assert not page.all("script")
    assert not page.all("iframe")
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#"))
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["report.html"]


def test_hostile_text_is_shown_as_text(text):
    page = Page(text)
    words = " ".join(page.words)
    assert words.count("<script>alert('x')</script>") >= 6
    assert len(page.all("style")) >= 1
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))


def test_it_can_be_read_without_seeing_it(text):
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("img")
    assert all(image["alt"] for image in page.all("img"))
    charts = page.all("svg")
    assert len(charts) == 5  # results, curve and three breakdowns
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_right_and_wrong_differ_in_more_than_colour(text, catalog, vectors):
    words = "".join(Page(text).words)
    rows = gallery_rows(catalog, vectors, count=9)
    right = sum(bool(cell.right) for row in rows for cell in row.neighbours)
    assert right > 0
    assert words.count("✓ right") == right + 1  # one more in the legend
    assert words.count("✗ other") == 9 * 5 - right + 1


def test_both_colour_schemes_and_small_screens_are_served(text):
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    drawn = re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text)
    assert not drawn, "a figure holds a colour of its own"


def test_one_input_gives_one_file(tmp_path, text, catalog, vectors):
    assert report(tmp_path / "again.html", catalog, vectors) == text


def test_figures_and_ties_are_told(text, catalog, vectors):
    words = "".join(Page(text).words)
    found = evaluate(vectors, catalog, bootstrap=50)
    assert f"{100 * found['hit@10']:.1f}% H@10" in words
    assert f"{100 * found['map@r']:.1f}" in words
    assert "100 % of its targets score exactly the same as other items" in words
    assert "mAP@R" in words


def test_a_report_of_the_bare_minimum(tmp_path, catalog, vectors):
    path = tmp_path / "r.html"
    write_report(path, title="t", evaluations=[evaluate(vectors, catalog, bootstrap=0)])
    text = path.read_text()
    for absent in ("Gallery", "Training", "Facts", "Where to go next", "None"):
        assert absent not in text


def test_a_lone_surrogate_does_not_spoil_the_report(tmp_path, catalog, vectors):
    found = evaluate(vectors, catalog, name="a\ud800b", bootstrap=0)
    row = GalleryRow(GalleryCell(None, "x\udfff"), ())
    write_report(tmp_path / "r.html", title="\ud800", evaluations=[found], gallery=[row])
    assert "a?b" in (tmp_path / "r.html").read_text()


def test_the_gallery_shows_what_search_finds(catalog, vectors):
    rows = gallery_rows(catalog, vectors, count=4, k=3, seed=1)
    assert len(rows) == 4
    index = ExactIndex([item.item_id for item in catalog.items], vectors)
    wanted = {(pair.query_id, pair.target_id) for pair in catalog.pairs}
    by_title = {item.title: item for item in catalog.items}
    for row in rows:
        query = by_title[row.query.title].item_id
        found = index.similar(query, 3)
        assert [by_title[cell.title].item_id for cell in row.neighbours] == [
            n.item_id for n in found
        ]
        assert [cell.score for cell in row.neighbours] == [n.score for n in found]
        assert [cell.right for cell in row.neighbours] == [
            (query, n.item_id) in wanted for n in found
        ]


def test_a_photo_that_cannot_be_read_gives_way_to_the_next(catalog, vectors):
    cells = {row.query.title: row.query for row in gallery_rows(catalog, vectors, count=9)}
    assert cells["title 1"].image is None
    assert cells["title 2"].image is None
    with Image.open(io.BytesIO(cells[HOSTILE].image)) as image:
        assert (image.format, image.size) == ("JPEG", (192, 128))


def test_wrong_input_is_one_clear_sentence(tmp_path, catalog, vectors):
    with pytest.raises(ConfigError, match="nothing to report"):
        write_report(tmp_path / "r.html", title="t", evaluations=[])
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"r\.html cannot be written"):
        write_report(
            tmp_path / "file" / "r.html",
            title="t",
            evaluations=[evaluate(vectors, catalog, bootstrap=0)],
        )

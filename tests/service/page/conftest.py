"""The page in a real browser, over a small shop and embedders that need no model."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image, ImageDraw

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import Item
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.scores import Vectors, unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store
from tgqformer.service.app import create_app
from tgqformer.service.config import ServiceConfig
from tgqformer.service.explanation import AttentionMap, Explanation, GateReading
from tgqformer.service.keys import Keys
from tgqformer.service.served import Served
from tgqformer.service.server import server

playwright = pytest.importorskip("playwright.sync_api")

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
WIDTH = 48  # of a vector: a coarse picture in grey, and the words


class Shown:
    """Sees a coarse picture and counts words; `words` says how much the words weigh."""

    def __init__(self, words: float) -> None:
        self._words = words

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        return unit(np.stack([self._vector(item) for item in items]))

    def _vector(self, item: Item) -> Vectors:
        vector = np.full(WIDTH, 0.01, dtype=np.float32)
        if item.images:
            grey = decode_image(item.images[0]).convert("L").resize((4, 4))
            vector[:16] = np.asarray(grey, dtype=np.float32).reshape(-1) / 255 - 0.5
        for word in item.title.lower().split():
            vector[16 + zlib.crc32(word.encode()) % 32] += self._words
        return vector


class Seen:
    """Explains as TGQ-Former does, with figures that a test can tell apart."""

    def explain(self, item: Item, other: Item | None = None) -> Explanation:
        heat = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
        window = (0.0, 0.0, 1.0, 1.0)
        seen = {
            name: AttentionMap(part / part.sum(), 0.9, window)
            for name, part in (("anchored", heat), ("exploratory", heat[::-1].copy()))
        }
        values = tuple(np.linspace(0.8, 1.3, 9).tolist())
        return Explanation(
            heatmaps=seen if item.images else {},
            gates={"anchored": GateReading(1.25, values), "exploratory": GateReading(0.95, values)},
            agreement=0.42 if item.images else None,
            words=[(word, 1 / (n + 2)) for n, word in enumerate(item.title.split())],
            shares={} if other is None else {"baseline": 0.1, "image": 0.55, "text": -0.05},
            similarity=None if other is None else 0.6,
            notes=("The towers are fakes.",),
        )


def shop() -> list[Item]:
    kinds = ("lamp", "chair", "kettle")
    return [
        Item(
            f"p{row:02d}",
            HOSTILE
            if row == 7
            else f"{('Brass', 'Oak', 'Steel')[row % 3]} {kinds[row // 12]} {row}",
            ("Lux", "Nox")[row % 2],
            f"{('Home', 'Home', 'Kitchen')[row // 12]} > {kinds[row // 12].title()}s",
            {"colour": "red"},
            10.0 + row,
            (_photo(row),),
        )
        for row in range(36)
    ]


def _photo(row: int) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (96, 96), (250, 250, 248))
    draw = ImageDraw.Draw(image)
    left, top = 8 + (row * 7) % 30, 10 + (row * 11) % 28
    draw.rectangle((left, top, left + 34, top + 44), fill=(40 + row * 5, 90, 200 - row * 5))
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    items = shop()
    known = [Metadata(i.title, i.brand, i.category, i.price, i.item_id != "p03") for i in items]
    for name, words in (("ours", 1.0), ("rival", 0.1)):
        batch = ([i.item_id for i in items], Shown(words).encode(items), known)
        Store.build(folder / name, [batch], dims=WIDTH).close()
    return folder


def make_app(folder: Path, keys: Keys | None = None) -> FastAPI:
    catalog = Catalog(shop())
    models = [
        Served("ours", Shown(1.0), LocalIndex(folder / "ours"), catalog=catalog, explainer=Seen()),
        Served("rival", Shown(0.1), LocalIndex(folder / "rival"), catalog=catalog),
    ]
    return create_app(models, config=ServiceConfig(), keys=keys)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The app behind a socket; its address."""
    running = server(app, ServiceConfig(), host="127.0.0.1", port=0)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()), daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not running.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.02)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def site(stores: Path) -> Iterator[str]:
    with running(make_app(stores)) as address:
        yield address


@pytest.fixture
def locked_site(stores: Path) -> Iterator[tuple[str, str]]:
    """A site that asks for a key, and the key."""
    key = "0123456789abcdef-read"
    with running(make_app(stores, Keys.parse([f"read {key}"], "here"))) as address:
        yield address, key


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """The shop's photos, as files to upload."""
    return [_photo(row) for row in range(36)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the system, or the one that $TGQFORMER_CHROMIUM names."""
    found = os.environ.get("TGQFORMER_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or set TGQFORMER_CHROMIUM")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = started.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


class Visit:
    """A tab, with what it asked for and complained of."""

    def __init__(self, page: Any, site: str) -> None:
        self.page, self.site = page, site
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type != "log" else None,
        )

    def __call__(self, path: str = "/") -> Any:
        self.page.goto(self.site + path)
        return self.page

    def until(self, expression: str) -> None:
        """Wait for something; the page's policy keeps Playwright from doing so by itself."""
        until = time.monotonic() + 20
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, expression
            time.sleep(0.05)

    def cards(self, model: str = "ours") -> list[str]:
        """Ids of a model's neighbours, in the order of the page."""
        self.page.wait_for_selector(f".column[data-model={model}] .card")
        self.page.wait_for_selector("#results:not([aria-busy])")
        ids = "nodes => nodes.map(node => node.dataset.id)"
        return list(self.page.eval_on_selector_all(f".column[data-model={model}] .card", ids))


@pytest.fixture
def visit(browser: Any, site: str) -> Iterator[Callable[..., Visit]]:
    """Opens a tab of its own; afterwards nothing may have been asked of another host."""
    contexts = []
    visits = []

    def open_(address: str = site, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        visits.append(Visit(context.new_page(), address))
        return visits[-1]

    yield open_
    for context in contexts:
        context.close()
    for one in visits:
        foreign = [url for url in one.requests if not url.startswith((one.site, "data:", "blob:"))]
        assert foreign == []

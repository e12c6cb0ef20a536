"""A service over a small store and an embedder that needs no model."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.catalog.text import item_text
from tgqformer.retrieval.neighbour_table import BlendedTable
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.scores import Vectors, unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store
from tgqformer.service.app import create_app
from tgqformer.service.config import ServiceConfig
from tgqformer.service.explanation import AttentionMap, Explanation, GateReading
from tgqformer.service.keys import Keys
from tgqformer.service.served import Served

DIMS = 16


class FakeEmbedder:
    """Vectors drawn from a hash of what an item says and shows: the same item, the same vector."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.before: Callable[[Sequence[Item]], None] = lambda items: None

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        self.before(items)
        self.batches.append(len(items))
        seeds = [
            zlib.crc32(item_text(item).encode() + b"".join(p for p in item.images if p))
            for item in items
        ]
        rows = [np.random.default_rng(seed).standard_normal(DIMS) for seed in seeds]
        return unit(np.array(rows).reshape(len(items), DIMS))


class FakeExplainer:
    """Says something of the right shape."""

    def explain(self, item: Item, other: Item | None = None) -> Explanation:
        heat = np.full((2, 3), 1 / 6, dtype=np.float32)
        seen = AttentionMap(heat, 0.8, (-0.5, 0, 1.5, 1))
        return Explanation(
            heatmaps={"anchored": seen} if item.images else {},
            gates={"anchored": GateReading(1.25, (1.0, 1.5))},
            agreement=0.5 if item.images else None,
            shares={} if other is None else {"baseline": 0.1, "image": 0.2, "text": 0.6},
            similarity=None if other is None else 0.9,
        )


def photo(side: int = 24, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def catalog_items() -> list[Item]:
    return [
        Item(
            f"i{row}",
            f"Lamp number {row}",
            "Lux" if row % 2 else "Nox",
            f"Home > Light {row % 3}",
            {"colour": "red"},
            float(row),
            (photo(24, (row, row, row)),),
        )
        for row in range(20)
    ]


def make_store(folder: Path, embedder: FakeEmbedder, *, replace: bool = False) -> Path:
    items = catalog_items()
    known = [Metadata(i.title, i.brand, i.category, i.price, i.price != 3) for i in items]
    batch = ([i.item_id for i in items], embedder.encode(items), known)
    Store.build(folder, [batch], dims=DIMS, replace=replace).close()
    getattr(embedder, "batches", []).clear()
    return folder


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("service") / "store", FakeEmbedder())


@pytest.fixture
def store(tmp_path: Path, made_store: Path) -> Path:
    return Path(shutil.copytree(made_store, tmp_path / "store"))


@pytest.fixture
def make_app(store: Path, embedder: FakeEmbedder) -> Callable[..., FastAPI]:
    """An app over the store; again, after the first was closed, is a restart."""

    def make(
        *,
        keys: Keys | None = None,
        catalog: bool = True,
        blend: BlendedTable | None = None,
        **limits: object,
    ) -> FastAPI:
        served = Served(
            "fake",
            embedder,
            LocalIndex(store),
            catalog=Catalog(catalog_items()) if catalog else None,
            explainer=FakeExplainer(),
            blend=blend,
        )
        config = ServiceConfig(**limits)  # type: ignore[arg-type]
        return create_app([served], config=config, keys=keys)

    return make


class Clients:
    """Calling it starts the service and gives a client; `close` stops all, as SIGTERM would."""

    def __init__(self, make: Callable[..., FastAPI]) -> None:
        self._make = make
        self._open = ExitStack()

    def __call__(self, **options: object) -> TestClient:
        return self._open.enter_context(
            TestClient(self._make(**options), raise_server_exceptions=False)
        )

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def make_client(make_app: Callable[..., FastAPI]) -> Iterator[Clients]:
    clients = Clients(make_app)
    yield clients
    clients.close()


@pytest.fixture
def client(make_client: Clients) -> TestClient:
    return make_client()


def elsewhere(store: Path, item_id: str, title: str) -> list[float]:
    """Another process upserts an item; its vector."""
    vector = np.eye(16, dtype=np.float32)[len(title)]
    Store(store).upsert([item_id], vector[None], [Metadata(title)])
    return vector.tolist()


def upsert(client: TestClient, *items: dict[str, Any], code: int = 200) -> Any:
    """Send items to the service; its answer."""
    answer = client.post("/v1/items", json={"items": list(items)})
    assert answer.status_code == code, answer.text
    return answer.json()


@pytest.fixture
def helpers() -> SimpleNamespace:
    return SimpleNamespace(
        photo=photo, in_base64=in_base64, make_store=make_store, upsert=upsert, elsewhere=elsewhere
    )


def start(store: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the service in a process of its own and wait until it is ready."""
    script = Path(__file__).with_name("serving.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(store), str(port)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for _ in range(6000):  # a busy machine takes minutes to import
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    raise RuntimeError("the service did not start")


@pytest.fixture
def start_service() -> Callable[[Path, int], subprocess.Popen[bytes]]:
    return start

"""The service under load, from a second process: latency, throughput, overload, embedding rate.

    python benchmarks/service_load.py --out service.json         1,000,000 x 256, HNSW sidecar
    python benchmarks/service_load.py --items 20000 --seconds 3  a quick look
    python benchmarks/service_load.py --run RUN --catalog SHOP   the embedding rate of a real model

For each number of clients: requests a second, p50 and p99 of POST /v1/similar by id at k = 10, each
client sending its next request when it has its answer. Overload: ten times as many clients as the
service admits requests; whatever is no 200 must be 429. Embedding: items a second over
POST /v1/embeddings by 32 clients, beside `encode` of the same items offline in this process.
The service has a process of its own, and the clients another, on the same cores.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measuring import options, put, told

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import read_image_bytes
from tgqformer.catalog.items import Item
from tgqformer.retrieval.ann import read_manifest
from tgqformer.retrieval.scores import Vectors, unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store

PORT = 18_437
BLOCK = 16_384
OVERLOAD = 10
ADMITTED = 64  # requests under way, in the overload part


class Random:
    """An embedder that costs nothing, so that searches are what is measured."""

    def __init__(self, dims: int) -> None:
        self._dims = dims

    def encode(self, items: Any, *, progress: bool = False) -> Vectors:
        return unit(np.random.default_rng(0).standard_normal((len(items), self._dims)))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--kind", default="hnsw", choices=["hnsw", "ivf", "exact"])
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--store", type=Path, help="keep the random store here and use it again")
    parser.add_argument("--run", type=Path, help="a trained run, for the embedding rate")
    parser.add_argument("--catalog", type=Path, help="its catalog")
    given = parser.parse_args()
    figures: dict[str, Any] = {"items": given.items, "dims": given.dims, "index": given.kind}
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or Path(folder) / "store"
        if not (store / "store.sqlite").exists():
            told(f"building {given.items:,} x {given.dims}")
            build(store, given.items, given.dims, given.kind)
        made = read_manifest(Store(store).state())
        if made is not None:
            figures["sidecar"] = {"recall": made.recall["10"], "build_seconds": made.build_seconds}
        bodies = [similar_body(row) for row in draw(given.items)]
        figures["similar"] = []
        with service(store, None, {}):
            for clients in map(int, given.clients.split(",")):
                told(f"similar, {clients} clients")
                figures["similar"].append(measure("/v1/similar", bodies, clients, given.seconds))
        with service(store, None, {"max_requests": ADMITTED}):
            told("overload")
            clients = OVERLOAD * ADMITTED
            found = measure("/v1/similar", bodies, clients, given.seconds, patient=False)
            figures["overload"] = {"admitted": ADMITTED, **found}
        if given.run and given.catalog:
            told("embedding")
            figures["embedding"] = embedding(given.run, given.catalog, Path(folder), given.seconds)
    put(figures, given.out)


def build(store: Path, items: int, dims: int, kind: str) -> None:
    """A store of unit vectors around random centres, with its sidecar."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(1, items // 200), dims)).astype(np.float32)

    def batches() -> Iterator[tuple[list[str], Vectors, None]]:
        for start in range(0, items, BLOCK):
            count = min(BLOCK, items - start)
            near = centres[rng.integers(len(centres), size=count)]
            noise = rng.standard_normal((count, dims)).astype(np.float32)
            yield [f"i{row}" for row in range(start, start + count)], unit(near + noise), None

    Store.build(store, batches(), dims=dims).close()
    if kind != "exact":
        index = LocalIndex(store, sidecar=False)
        index.build_sidecar("ivf" if kind == "ivf" else "hnsw", queries=50)
        index.close()


def draw(items: int) -> list[int]:
    return random.Random(0).choices(range(items), k=5000)


def similar_body(row: int) -> bytes:
    return json.dumps({"id": f"i{row}", "k": 10}).encode()


@contextmanager
def service(store: Path, run: Path | None, limits: dict[str, Any]) -> Iterator[None]:
    """The service in a process of its own."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(store, run, limits), daemon=True)
    process.start()
    try:
        asyncio.run(ready(process))
        yield
    finally:
        process.terminate()
        process.join(60)


def serve(store: Path, run: Path | None, limits: dict[str, Any]) -> None:
    from tgqformer.service.app import create_app
    from tgqformer.service.config import ServiceConfig, in_passing
    from tgqformer.service.served import Served
    from tgqformer.service.server import run as serve_forever

    index = LocalIndex(store)
    embedder: Any = Random(index.dims)
    if run is not None:
        embedder = in_passing(lambda: load(run))
    config = ServiceConfig(**limits)
    app = create_app([Served("measured", embedder, index)], config=config)
    serve_forever(app, config, host="127.0.0.1", port=PORT)


def load(run: Path) -> Any:
    from tgqformer.cli.shared import model_folder
    from tgqformer.embedder import ItemEmbedder

    return ItemEmbedder.from_pretrained(model_folder(run))


async def ready(process: Any) -> None:
    while process.is_alive():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        except OSError:
            await asyncio.sleep(0.2)
            continue
        status, _, _ = await ask(reader, writer, "/v1/similar", similar_body(0))
        writer.close()
        if status == 200:
            return
    raise SystemExit("the service ended")


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> tuple[int, bytes, bool]:
    """Status, content, and whether the connection stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    raw = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(raw.split(b"content-length:")[1].split(b"\r\n")[0])
    content = await reader.readexactly(length)
    return int(raw.split(b" ", 2)[1]), content, b"connection: close" not in raw


def measure(
    path: str, bodies: list[bytes], clients: int, seconds: float, *, patient: bool = True
) -> dict[str, Any]:
    """Latencies of closed-loop clients in a process of their own.

    Args:
        patient: every answer must be 200; otherwise 429 may be, too.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(clients_of, (path, bodies, clients, seconds, patient))


def clients_of(
    path: str, bodies: list[bytes], clients: int, seconds: float, patient: bool
) -> dict[str, Any]:
    times: list[float] = []
    statuses: collections.Counter[int] = collections.Counter()

    async def client(number: int, end: float, warm: float) -> None:
        rng = random.Random(number)
        connection: Any = None
        while time.perf_counter() < end:
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", PORT)
            start = time.perf_counter()
            status, _, stays = await ask(*connection, path, rng.choice(bodies))
            if start >= warm:
                statuses[status] += 1
                if status == 200:
                    times.append(time.perf_counter() - start)
            if not stays:
                connection[1].close()
                connection = None
            if status == 429:
                await asyncio.sleep(0.05)  # less patient than Retry-After asks for

    async def all_clients() -> None:
        warm = time.perf_counter() + min(2.0, seconds / 4)
        await asyncio.gather(*(client(n, warm + seconds, warm) for n in range(clients)))

    asyncio.run(all_clients())
    allowed = {200} if patient else {200, 429}
    if not set(statuses) <= allowed:
        raise SystemExit(f"{path} was answered by {dict(statuses)}")
    return {
        "clients": clients,
        "per_second": len(times) / seconds,
        "p50_ms": 1000 * float(np.quantile(times, 0.5)),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "answers": {str(status): count for status, count in sorted(statuses.items())},
    }


def embedding(run: Path, catalog: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """Items a second by way of the service, beside the same model offline."""
    items = Catalog.load(catalog).items[:512]
    plain = [
        Item(i.item_id, i.title, i.brand, i.category, i.attributes, i.price, photos(i))
        for i in items
    ]
    embedder = load(run)
    vectors = embedder.encode(plain[:64])
    start = time.perf_counter()
    rounds = 0
    while time.perf_counter() - start < seconds:
        embedder.encode(plain)
        rounds += 1
    offline = rounds * len(plain) / (time.perf_counter() - start)
    store = folder / "embedding"
    names = [item.item_id for item in plain[:64]]
    Store.build(store, [(names, vectors, None)], dims=vectors.shape[1]).close()
    del embedder
    bodies = [
        json.dumps({"input": [fields(item)], "encoding_format": "base64"}).encode()
        for item in plain
    ]
    with service(store, run, {}):
        found = measure("/v1/embeddings", bodies, 32, seconds)
    return {
        **found,
        "offline_per_second": offline,
        "offline_by_served": offline / found["per_second"],
    }


def photos(item: Item) -> tuple[bytes, ...]:
    return tuple(read_image_bytes(photo) for photo in item.images)


def fields(item: Item) -> dict[str, Any]:
    """An item as a request tells it."""
    pictures = [base64.b64encode(photo).decode() for photo in photos(item)]
    return {
        "title": item.title,
        "brand": item.brand,
        "category": item.category,
        "attributes": dict(item.attributes),
        "images": pictures,
    }


if __name__ == "__main__":
    main()

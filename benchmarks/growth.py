"""Time and memory at one, two, four and eight times as many items, with the slope.

    python benchmarks/growth.py [--out growth.json]

Embedding (tiny preset, photos from disk), the table of neighbours (k = 100), building the store,
opening it with its exact mirror, and small upserts. Each size has a process of its own. The slope
is the exponent of size in processor time: 1 grows as the catalog does, 2 with its square, 0 not at
all. Memory of the smallest size is mostly that of the libraries, so growth of memory is told in
bytes an item.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import apart, options, put, slope, timed, told
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.neighbour_table import write_neighbours
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.scores import Vectors, blocks
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store

TIMES = (1, 2, 4, 8)


def random_vectors(items: int, dims: int) -> Vectors:
    return np.random.default_rng(0).standard_normal((items, dims), dtype=np.float32)


def embedding(items: int, folder: Path) -> dict[str, float]:
    """Shards of 500 items, each with a photo of its own on the disk."""
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.presets import load_preset
    from tgqformer.scale.pipeline import Pipeline
    from tgqformer.scale.shards import ShardJob, ShardOptions, embed_shards

    folder.mkdir()
    for number in range(items):
        draw(folder / f"{number}.jpg", number)
    catalog = [
        Item(f"i{n}", title=f"thing number {n}", images=(folder / f"{n}.jpg",))
        for n in range(items)
    ]
    embedder = ItemEmbedder.from_config(load_preset("tiny").embedder)
    pipeline = Pipeline(embedder, workers=0, compute="float32")
    options = ShardOptions(compute="float32", shard_size=500)

    def run(name: str = "out", count: int = items) -> None:
        job = ShardJob(embedder, catalog[:count], str(folder / name), model="m", options=options)
        for _ in embed_shards(job, pipeline):
            pass

    run("warm", 32)
    return _figures(run)


def draw(path: Path, number: int) -> None:
    coarse = np.random.default_rng(number).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((96, 80)).save(out, "JPEG")
    path.write_bytes(out.getvalue())


def neighbours(items: int, folder: Path) -> dict[str, float]:
    """128 dimensions, k = 100."""
    folder.mkdir()
    embeddings = Embeddings([f"i{n}" for n in range(items)], random_vectors(items, 128))
    few = Embeddings(embeddings.ids[:200], embeddings.vectors[:200])
    list(write_neighbours(few, folder / "warm.parquet", 100))
    return _figures(lambda: list(write_neighbours(embeddings, folder / "t.parquet", 100)))


def build(items: int, folder: Path) -> dict[str, float]:
    """A store of 128 dimensions."""
    _build(100, folder.with_name(f"{folder.name}-warm"))
    return _figures(lambda: _build(items, folder))


def open_mirror(items: int, folder: Path) -> dict[str, float]:
    """Opening such a store, with its exact mirror."""
    _build(items, folder)
    return _figures(lambda: LocalIndex(folder))


def upserts(items: int, folder: Path) -> dict[str, float]:
    """50 upserts of one item each into such a store."""
    _build(items, folder)
    index = LocalIndex(folder)
    rows = random_vectors(50, 128)

    def run() -> None:
        for number in range(50):
            index.upsert([f"i{number}"], rows[number : number + 1], [Metadata(price=1)])

    return _figures(run)


def _build(items: int, folder: Path) -> None:
    vectors = random_vectors(items, 128)
    batches = (
        ([f"i{n}" for n in range(a, b)], vectors[a:b], [Metadata(price=1)] * (b - a))
        for a, b in blocks(items, 16_384)
    )
    Store.build(folder, batches, dims=128)


def _figures(run: Callable[[], object]) -> dict[str, float]:
    wall, cpu = timed(run)
    return {"seconds": wall, "cpu_seconds": cpu}


PARTS: dict[str, tuple[Callable[[int, Path], dict[str, float]], int]] = {
    "embed (tiny preset)": (embedding, 250),
    "neighbors, k = 100": (neighbours, 4000),
    "index build": (build, 20_000),
    "open with mirror": (open_mirror, 10_000),
    "50 upserts": (upserts, 10_000),
}
"""Name to what is done and how many items it has at 1x."""


def main() -> None:
    asked = options(__doc__).parse_args()
    figures: dict[str, Any] = {}
    for name, (part, smallest) in PARTS.items():
        sizes = [smallest * times for times in TIMES]
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for size in sizes:
                told(f"{name}: {size} items")
                found.append(apart(part, size, Path(folder) / str(size)))
        peaks = [entry["peak_megabytes"] for entry in found]
        figures[name] = {
            "items": sizes,
            "seconds": [entry["seconds"] for entry in found],
            "cpu_seconds": [entry["cpu_seconds"] for entry in found],
            "slope": slope(sizes, [entry["cpu_seconds"] for entry in found]),
            "peak_megabytes": peaks,
            "bytes_an_item": 1e6 * (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0]),
        }
    put({"parts": figures}, asked.out)


if __name__ == "__main__":
    main()

"""How near embedding comes to its limit, and neighbours to FAISS: ratios taken in one run.

    python benchmarks/embedding.py [--items 192] [--pool 20000] [--preset offline] [--json]

The embedding pipeline reads a drawn shop's photos from disk. It stands beside (a) the bare forward
pass of the same towers, connector and backbone on ready tensors, which is the limit, (b) a plain
loop, one item at a time, as the documentation of transformers shows it, and (c) `encode` of
sentence-transformers on the same saved model. Peak memory is that of a process that embeds the shop
once and eight times over, model and catalog table included.
Neighbours are the exact table of random clustered vectors, k = 100, beside `faiss.knn` in one call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import Item
from tgqformer.cli import machine
from tgqformer.cli.output import print_json, table
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.retrieval.neighbours import NeighbourSearch
from tgqformer.scale.forward import BatchEncoder
from tgqformer.scale.photos import ItemPhotos
from tgqformer.scale.pipeline import Pipeline
from tgqformer.storefront import draw_storefront

BATCH = 32
ROUNDS = 3


def measure(ways: dict[str, Callable[[], object]], units: int) -> dict[str, float]:
    """Units a second of each way: the median of rounds in which every way has its turn."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            took[name].append(time.perf_counter() - start)
    return {name: units / statistics.median(times) for name, times in took.items()}


def embedding(items: list[Item], preset: str, folder: Path) -> dict[str, float]:
    """Items a second: ours, the limit, the plain loop, sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    from tgqformer.embedder.sentence_transformers import ItemModule

    embedder = ItemEmbedder.from_config(load_preset(preset).embedder)
    embedder.save_pretrained(folder / "model")
    pipeline = Pipeline(embedder, batch_size=BATCH)
    plain = SentenceTransformer(modules=[ItemModule.load(str(folder / "model"))])
    given = [
        {"title": i.title, "brand": i.brand, "category": i.category, "images": list(i.images)}
        | ({"attributes": dict(i.attributes)} if i.attributes else {})
        for i in items
    ]
    ways = {
        "tgqformer": lambda: list(pipeline.run([(0, items)], len(items))),
        "bare forward": bare_forward(embedder, items),
        "plain loop": lambda: plain_loop(embedder, items),
        "sentence-transformers": lambda: plain.encode(given, batch_size=BATCH),
    }
    return measure(ways, len(items))


def bare_forward(embedder: ItemEmbedder, items: list[Item]) -> Callable[[], None]:
    """Towers and model on batches that are ready; nothing is read, decoded or padded."""
    image, text = embedder.features.image_tower, embedder.features.text_tower
    size = image.image_size
    ready = []
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        photos = [i.images[0] for i in part if i.images]
        pixels = [image.preprocess(decode_image(p, size_hint=size)) for p in photos]
        texts = [embedder.text(i) for i in part]
        batch = embedder.batch(part).to(embedder.device)
        ready.append((pixels, [t for t in texts if t], batch))

    @torch.inference_mode()
    def run() -> None:
        for pixels, texts, batch in ready:
            image.encode(pixels)
            text.encode(texts)
            embedder.model(batch)

    return run


def plain_loop(embedder: ItemEmbedder, items: list[Item]) -> None:
    """Open, preprocess, encode, one item after another; photos are decoded in full."""
    encoder = BatchEncoder(embedder)
    preprocess = embedder.features.image_tower.preprocess
    for item in items:
        photos = ItemPhotos()
        for photo in item.images[:1]:
            with Image.open(str(photo)) as opened:
                inputs = preprocess(opened.convert("RGB"))
            photos.keys.append(item.item_id.encode())
            photos.pixels.append({name: x.numpy() for name, x in inputs.items()})
        encoder.run(encoder.stage([embedder.text(item)], [photos])).cpu()


def peak_memory(shop: Path, model: Path) -> dict[str, float]:
    """MB at the peak of a process that embeds the shop once, and eight times."""
    code = """
import json, resource, sys
from dataclasses import replace
from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder import ItemEmbedder
from tgqformer.scale.pipeline import Pipeline
items = Catalog.load(sys.argv[1]).items
catalog = [replace(i, item_id=f"{i.item_id}-{n}") for n in range(int(sys.argv[3])) for i in items]
pipeline = Pipeline(ItemEmbedder.from_pretrained(sys.argv[2]), batch_size=32, workers=0)
size = len(items)
shards = ((n, catalog[n * size : (n + 1) * size]) for n in range(len(catalog) // size))
for _ in pipeline.run(shards, len(catalog)):
    pass
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(peak / 1e3))
"""
    told = {}
    for times in (1, 8):
        command = [sys.executable, "-c", code, str(shop), str(model), str(times)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told[f"{times}x"] = json.loads(done.stdout)
    return told


def neighbours(pool: int, width: int = 256, k: int = 100) -> dict[str, float]:
    """Queries a second of the table, and of `faiss.knn` in one call."""
    import faiss

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, width)).astype(np.float32)
    vectors = centres[rng.integers(0, 200, pool)]
    vectors += rng.standard_normal(vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    search = NeighbourSearch(vectors, k)

    def ours() -> None:
        for block in search.blocks():
            search.search(block)

    def theirs() -> None:
        faiss.knn(vectors, vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)

    return measure({"tgqformer": ours, "faiss": theirs}, pool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--pool", type=int, default=20_000)
    parser.add_argument("--preset", default="offline")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog: Catalog = draw_storefront(folder / "shop", items=asked.items, workers=1)
        rates = embedding([replace(item) for item in catalog.items], asked.preset, folder)
        memory = peak_memory(folder / "shop", folder / "model")
    found = neighbours(asked.pool)
    ratios = {f"embedding / {n}": rates["tgqformer"] / r for n, r in rates.items()}
    ratios["peak memory, 8x / 1x"] = memory["8x"] / memory["1x"]
    ratios["neighbours / faiss"] = found["tgqformer"] / found["faiss"]
    del ratios["embedding / tgqformer"]
    told: dict[str, Any] = {
        "machine": machine.cpu(),
        "threads": torch.get_num_threads(),
        "items": asked.items,
        "preset": asked.preset,
        "items_per_second": rates,
        "peak_megabytes": memory,
        "pool": asked.pool,
        "neighbours_per_second": found,
        "ratios": ratios,
    }
    if asked.json:
        print_json(told)
        return
    table("Embedding and neighbours", ("ratio", "value"), [list(row) for row in ratios.items()])


if __name__ == "__main__":
    main()

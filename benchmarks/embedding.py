"""How near embedding comes to its limit, and how far ahead of others it is.

    python benchmarks/embedding.py [--items 192] [--preset offline] [--out embedding.json]
    python benchmarks/embedding.py --memory

The embedding pipeline reads a drawn shop's photos from disk. It stands beside (a) the bare forward
pass of the same towers, connector and backbone on ready tensors, which is the limit, (b) a plain
loop, one item at a time, as the documentation of transformers shows it, and (c) `encode` of
sentence-transformers on the same saved model. Peak memory is that of a process that embeds the shop
once and eight times over, model and catalog table included.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import apart, in_turns, options, put, ratios
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import Item
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.scale.pipeline import BatchEncoder, Pipeline
from tgqformer.storefront import draw_storefront
from tgqformer.towers.encoding import ItemPhotos

BATCH = 32


def embedding(
    embedder: ItemEmbedder, items: list[Item], model: Path, rounds: int
) -> dict[str, Any]:
    """Items a second: ours, the limit, the plain loop, sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    from tgqformer.embedder.sentence_transformers import ItemModule

    pipeline = Pipeline(embedder, batch_size=BATCH)
    plain = SentenceTransformer(modules=[ItemModule.load(str(model))])
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
    return in_turns(ways, len(items), rounds)


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


def memory(shop: Path, model: Path) -> dict[str, Any]:
    """The peak of a process that embeds a shop once, and of one that does so eight times over."""
    told_of = {f"{times}x": apart(embed_times, shop, model, times) for times in (1, 8)}
    peaks = {name: found["peak_megabytes"] for name, found in told_of.items()}
    return {"peak_megabytes": peaks, "8x / 1x": peaks["8x"] / peaks["1x"]}


def embed_times(shop: Path, model: Path, times: int) -> dict[str, Any]:
    """Embed a shop's items as often as said, the catalog being so many times as large."""
    items = Catalog.load(shop).items
    catalog = [replace(i, item_id=f"{i.item_id}-{n}") for n in range(times) for i in items]
    pipeline = Pipeline(ItemEmbedder.from_pretrained(model), batch_size=BATCH, workers=0)
    size = len(items)
    shards = ((n, catalog[n * size : (n + 1) * size]) for n in range(times))
    for _ in pipeline.run(shards, len(catalog)):
        pass
    return {"items": len(catalog)}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--preset", default="offline")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="only the memory, not the rates")
    asked = parser.parse_args()
    figures: dict[str, Any] = {"items": asked.items, "preset": asked.preset}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog: Catalog = draw_storefront(folder / "shop", items=asked.items, workers=1)
        embedder = ItemEmbedder.from_config(load_preset(asked.preset).embedder)
        embedder.save_pretrained(folder / "model")
        if asked.memory:
            figures["memory"] = memory(folder / "shop", folder / "model")
        else:
            items = [replace(item) for item in catalog.items]
            figures["ways"] = embedding(embedder, items, folder / "model", asked.rounds)
            figures["ratios"] = ratios(figures["ways"], "tgqformer")
    put(figures, asked.out)


if __name__ == "__main__":
    main()

"""How fast the parts are on this machine: `make bench`.

Each part runs once to warm up and then for about a second; what is told is the median rate. It
measures the offline preset, whose towers come out of pip packages. `--json` prints for machines.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tgqformer.catalog.images import decode_image
from tgqformer.cli.doctor import gpus
from tgqformer.cli.shared import facts, print_json, table
from tgqformer.cores import cpu
from tgqformer.corruption import corrupt
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.storefront import draw_storefront

ITEMS = 64
POOL, WIDTH, QUERIES = 100_000, 256, 64


def rate(work: Callable[[], object], units: int, seconds: float = 1.0) -> float:
    """Return units of work a second: the median of calls that take about `seconds` together."""
    work()
    took: list[float] = []
    while sum(took) < seconds or len(took) < 3:
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return units / statistics.median(took)


def measure() -> list[tuple[str, str, float]]:
    """Return (part, unit, units a second)."""
    rows: list[tuple[str, str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        catalog = draw_storefront(Path(folder) / "shop", items=ITEMS, noise="heavy", workers=1)
        rows.append(("draw a shop", "items", ITEMS / (time.perf_counter() - start)))
        photos = [item.images[0] for item in catalog.items if item.images]
        images = [decode_image(photo) for photo in photos]
        rows.append(
            ("decode a photo", "photos", rate(lambda: [decode_image(p) for p in photos], ITEMS))
        )
        rng = np.random.default_rng(0)
        draw = rate(lambda: [corrupt(i, ["banner", "occlusion"], 0.5, rng) for i in images], ITEMS)
        rows.append(("corrupt a photo", "photos", draw))

        config = load_preset("offline").embedder
        bare = ItemEmbedder.from_config(config)
        cached = ItemEmbedder.from_config(config, cache_dir=Path(folder) / "cache")
        cached.features.fill(catalog.items)
        rows.append(
            ("embed, towers and all", "items", rate(lambda: bare.encode(catalog.items), ITEMS))
        )
        rows.append(
            (
                "embed from the token cache",
                "items",
                rate(lambda: cached.encode(catalog.items), ITEMS),
            )
        )
    vectors = rng.standard_normal((POOL, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = ExactIndex([str(row) for row in range(POOL)], vectors)
    for batch in (1, QUERIES):
        part = f"exact top 10 of {POOL:,}, {batch} at once"
        rows.append((part, "queries", rate(partial(index.search, vectors[:batch], 10), batch)))
    return rows


def main() -> None:
    rows = measure()
    processor = cpu()
    cards = ", ".join(gpu["name"] for gpu in gpus()) or "none"
    if "--json" in sys.argv:
        told = [{"part": part, "unit": unit, "per_second": value} for part, unit, value in rows]
        print_json({"cpu": processor, "gpus": cards, "parts": told})
        return
    name = f"{processor['name']}, {processor['cores']} cores"
    facts("Machine", [("CPU", name), ("GPU", cards)])
    shown = [(part, f"{value:,.0f}", f"{unit} a second") for part, unit, value in rows]
    table("Speed", ("part", "rate", "unit"), shown)


if __name__ == "__main__":
    main()

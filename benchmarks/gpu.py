"""Items a second on a GPU, and the share of its measured bfloat16 matrix product that is used.

    python benchmarks/gpu.py [--preset paper] [--batch-sizes 16,64,256,512] [--out gpu.json]

Towers, connector and backbone of the preset with random weights, so that no model hub is reached.
Photos are preprocessed before; what is timed is all that follows: the copy to the GPU, the towers,
the connector and the backbone, batch after batch, as `embed` runs them. The limit is measured on
the same GPU: a product of two 8192 x 8192 matrices in bfloat16. FLOP of an item are those that
`tgqformer flops` counts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import options, put, told
from PIL import Image

from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.flops import TEXT_TOKENS, count_cost
from tgqformer.presets import load_preset
from tgqformer.scale.forward import BatchEncoder
from tgqformer.scale.photos import ItemPhotos, Pixels

SIDE = 8192
DISTINCT = 32  # photos; their keys differ, so that each is encoded
SECONDS = 3.0


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--batch-sizes", default="1,16,64,128,256,512")
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        told("This machine has no GPU that torch can use, so nothing was measured.")
        put({"gpu": None, "preset": asked.preset}, asked.out)
        return
    config = load_preset(asked.preset, random_weights=True).embedder
    peak = matmul_peak()
    flop = 2 * count_cost(config).multiply_adds
    embedder = ItemEmbedder.from_config(config, device="cuda")
    encoder = BatchEncoder(embedder, compile=asked.compile)
    pixels = photos(embedder)
    found = {}
    for size in map(int, asked.batch_sizes.split(",")):
        torch.cuda.reset_peak_memory_stats()
        try:
            rate = items_per_second(encoder, pixels, size)
        except torch.cuda.OutOfMemoryError:
            told(f"batch {size}: out of memory")
            break
        found[str(size)] = {
            "items_per_second": rate,
            "share_of_peak": rate * flop / peak,
            "peak_megabytes": torch.cuda.max_memory_allocated() / 1e6,
        }
        told(f"batch {size}: {rate:.0f} items/s, {rate * flop / peak:.1%} of the matmul peak")
    device = torch.cuda.get_device_properties(0)
    figures = {
        "gpu": {"name": device.name, "memory": device.total_memory},
        "preset": asked.preset,
        "compiled": asked.compile,
        "compute": str(encoder.compute)[6:],
        "matmul_tflops": peak / 1e12,
        "gflop_an_item": flop / 1e9,
        "text_tokens": TEXT_TOKENS,
        "batch_sizes": found,
    }
    put(figures, asked.out)


def matmul_peak() -> float:
    """FLOP a second of a large bfloat16 product."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * SIDE**3 * per_second(lambda: left @ right)


def items_per_second(encoder: BatchEncoder, pixels: list[Pixels], size: int) -> float:
    """The next batch is copied while one is computed, as in `embed`."""
    texts = [("item number " + "word " * TEXT_TOKENS)[: 4 * TEXT_TOKENS]] * size
    staged = None
    number = 0

    def run() -> None:
        nonlocal staged, number
        encoder.forget()
        own = [
            ItemPhotos([hashlib.sha256(f"{number} {n}".encode()).digest()], [pixels[n % DISTINCT]])
            for n in range(size)
        ]
        number += 1
        coming = encoder.stage(texts, own)
        if staged is not None:
            encoder.run(staged)
        staged = coming

    run()
    return size * per_second(run)


def photos(embedder: ItemEmbedder) -> list[Pixels]:
    rng = np.random.default_rng(0)
    tower = embedder.features.image_tower
    drawn = [rng.integers(0, 255, (224, 224, 3), dtype=np.uint8) for _ in range(DISTINCT)]
    inputs = [tower.preprocess(Image.fromarray(pixels)) for pixels in drawn]
    return [{name: tensor.numpy() for name, tensor in one.items()} for one in inputs]


def per_second(run: Callable[[], Any]) -> float:
    """Calls a second, after a warm-up; the GPU is waited for at the end only."""
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        for _ in range(5):
            run()
        torch.cuda.synchronize()
        calls += 5
    return calls / (time.perf_counter() - start)


if __name__ == "__main__":
    main()

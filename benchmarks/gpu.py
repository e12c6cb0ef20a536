"""Items a second on a GPU, the share of its measured bfloat16 matrix product, and training steps.

    python benchmarks/gpu.py [--preset paper] [--batch-sizes 16,64,256,512] [--out gpu.json]
    python benchmarks/gpu.py --device cpu --preset tiny --batch-sizes 1,4   # only to see it run

Towers, connector and backbone of the preset with random weights, so that no model hub is reached.
Photos are preprocessed before; what is timed is all that follows: the copy to the GPU, the towers,
the connector and the backbone, batch after batch, as `embed` runs them. The limit is measured on
the same device: a product of two large matrices in bfloat16. FLOP of an item are those that
`tgqformer flops` counts.

A training step is the preset's own (batch, chunks, losses) on a drawn shop, with what the towers
say read from the token cache, and with the towers run in every step. Its peak of memory stands
beside what `flops` says of it.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import options, put, told
from PIL import Image

from tgqformer.cli import doctor
from tgqformer.cores import cpu
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.flops import count_cost, text_budget, training_memory
from tgqformer.presets import load_preset
from tgqformer.scale.pipeline import BatchEncoder
from tgqformer.storefront import draw_storefront
from tgqformer.towers.encoding import ItemPhotos, Pixels
from tgqformer.training.config import RunConfig
from tgqformer.training.data import StepDataset
from tgqformer.training.trainer import run_chunks

SIDE = {"cuda": 8192, "cpu": 512}
DISTINCT = 32  # photos; their keys differ, so that each is encoded
SECONDS = 3.0


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--batch-sizes", default="1,16,64,128,256,512")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=5, help="training steps; 0 measures none")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        told("This machine has no GPU that torch can use, so nothing was measured.")
        put({"gpu": None, "preset": asked.preset}, asked.out)
        return
    run = load_preset(asked.preset, random_weights=True)
    config, on_gpu = run.embedder, asked.device == "cuda"
    peak = matmul_peak(asked.device)
    cost = count_cost(config)
    flop = 2 * cost.multiply_adds
    embedder = ItemEmbedder.from_config(config, device=asked.device)
    encoder = BatchEncoder(embedder, compile=asked.compile)
    pixels = photos(embedder)
    found = {}
    for size in map(int, asked.batch_sizes.split(",")):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        try:
            rate = items_per_second(encoder, pixels, size)
        except torch.cuda.OutOfMemoryError:
            told(f"batch {size}: out of memory")
            break
        found[str(size)] = {
            "items_per_second": rate,
            "share_of_peak": rate * flop / peak,
            "peak_megabytes": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
        }
        told(f"batch {size}: {rate:.0f} items/s, {rate * flop / peak:.1%} of the matmul peak")
    device: dict[str, Any] = {"name": cpu()["name"], "memory": doctor.memory()["total"]}
    if on_gpu:
        found_device = torch.cuda.get_device_properties(0)
        device = {"name": found_device.name, "memory": found_device.total_memory}
    told(f"on {device['name']}")
    figures = {
        "gpu": device if on_gpu else None,
        "device": device,
        "preset": asked.preset,
        "compiled": asked.compile,
        "compute": str(encoder.compute)[6:],
        "matmul_tflops": peak / 1e12,
        "gflop_an_item": flop / 1e9,
        "text_tokens": text_budget(config),
        "batch_sizes": found,
    }
    if asked.steps:
        del embedder, encoder
        memory = training_memory(config, cost)
        chunk = run.training.chunk_size or 2 * run.training.batch_size
        counted = memory.of(chunk, checkpointing=run.training.gradient_checkpointing)
        figures["training"] = {"flops_megabytes": counted / 1e6, "items_at_once": chunk}
        figures["training"] |= training_steps(run, asked.device, asked.steps)
    put(figures, asked.out)


def training_steps(run: RunConfig, device: str, steps: int) -> dict[str, Any]:
    """Seconds of a step and its peak of memory, with the token cache and without."""
    training = replace(run.training, steps=steps + 1, noise=replace(run.training.noise, views=0))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        items = max(3 * training.batch_size, 200)
        shop = draw_storefront(Path(name) / "shop", items=items, workers=1)
        query, target, _ = shop.pair_indices("train")
        named = len(np.unique(np.concatenate([query, target])))
        training = replace(training, batch_size=min(training.batch_size, named // 3))
        for way, cache in (("cached", Path(name) / "cache"), ("towers in the step", None)):
            embedder = ItemEmbedder.from_config(run.embedder, cache_dir=cache, device=device)
            embedder.features.fill(shop.items)
            dataset = StepDataset(embedder, shop, training)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            run_chunks(embedder, dataset[0], training)
            _wait(device)
            started = time.perf_counter()
            for step in range(1, steps + 1):
                run_chunks(embedder, dataset[step], training)
            _wait(device)
            seconds = (time.perf_counter() - started) / steps
            peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None
            figures[way] = {"seconds": seconds, "peak_megabytes": peak}
            told(f"training step, {way}: {seconds:.2f} s of {training.batch_size} pairs")
    return figures | {"batch_size": training.batch_size}


def matmul_peak(device: str) -> float:
    """FLOP a second of a large bfloat16 product."""
    side = SIDE[device]
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    return 2 * side**3 * per_second(lambda: left @ right, device)


def items_per_second(encoder: BatchEncoder, pixels: list[Pixels], size: int) -> float:
    """The next batch is copied while one is computed, as in `embed`."""
    budget = text_budget(encoder.embedder.config)
    texts = [("item number " + "word " * budget)[: 4 * budget]] * size
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
    return size * per_second(run, encoder.device.type)


def photos(embedder: ItemEmbedder) -> list[Pixels]:
    rng = np.random.default_rng(0)
    tower = embedder.features.image_tower
    drawn = [rng.integers(0, 255, (224, 224, 3), dtype=np.uint8) for _ in range(DISTINCT)]
    inputs = [tower.preprocess(Image.fromarray(pixels)) for pixels in drawn]
    return [{name: tensor.numpy() for name, tensor in one.items()} for one in inputs]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def per_second(run: Callable[[], Any], device: str) -> float:
    """Calls a second, after a warm-up; the GPU is waited for at the end only."""
    for _ in range(5):
        run()
    _wait(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        for _ in range(5):
            run()
        _wait(device)
        calls += 5
    return calls / (time.perf_counter() - start)


if __name__ == "__main__":
    main()

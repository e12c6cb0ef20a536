"""Fine-tuning an MLLM embedder on co-engaged pairs: the same loss and batches as everything else.

A plain loop, one process, saved at its end: AdamW with a warm-up and a cosine, symmetric InfoNCE
with a learned temperature, the gradient cache where a batch does not fit. The batches of a seed are
those that `tgqformer train` takes with it, and so are loss, negatives and the head's start.

Not `training.trainer`, which would be little but exceptions here: that trains on tower states read
once into a cache, in stages, with views, a base and a validation that chooses the step and the
strength of the streams. An MLLM has none of these: its photos go through the network at each step,
and what is trained is a rival of a comparison, at a fixed number of steps.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.items import Item
from tgqformer.config import to_dict, whole_number
from tgqformer.embedder.model import standardise
from tgqformer.errors import ConfigError
from tgqformer.files import write_text
from tgqformer.mllm.config import MLLMConfig, MLLMTraining
from tgqformer.mllm.embedder import MLLMEmbedder
from tgqformer.mllm.network import MLLMModel
from tgqformer.objectives import info_nce
from tgqformer.progress import track
from tgqformer.training.data import KnownPositives, PairBatches
from tgqformer.training.gradient_cache import GradientCache

HEAD_ITEMS = 64
CURVE, SUMMARY = "curve.jsonl", "summary.json"


@dataclass
class MLLMResult:
    """What a run came to.

    Attributes:
        embedder: the trained embedder.
        out: its folder: `model/`, `curve.jsonl`, `summary.json`.
        losses: one for each step.
    """

    embedder: MLLMEmbedder
    out: Path
    losses: list[float]


def train_mllm(
    catalog: Catalog,
    config: MLLMConfig,
    out: Path | str,
    *,
    training: MLLMTraining | None = None,
    progress: bool = False,
    device: str | None = None,
) -> MLLMResult:
    """Train LoRA and head on the "train" pairs of a catalog, and save to `out`.

    Args:
        progress: show a progress bar.
        device: "cpu", "cuda"; None takes the GPU where there is one.

    Raises:
        CatalogError: no items, no training pairs, or too few for a batch.
        ConfigError: `out` holds a run already.
        ModelError: the model cannot be loaded.
        StorageError: the disk refuses.
    """
    out, training = Path(out), training or MLLMTraining()
    if (out / SUMMARY).exists():
        raise ConfigError(f"{out} already holds a run; choose another folder.")
    catalog.require_pairs("train")
    query, target, _ = catalog.pair_indices("train")
    batches = PairBatches(query, target, training.batch_size, training.seed)
    known = KnownPositives(query, target, len(catalog), catalog.groups)
    batches.batch(0)  # pairs that cannot fill a batch are refused before anything slow
    embedder = MLLMEmbedder.from_config(config, device=device, seed=training.seed)
    started = time.time()
    with torch.random.fork_rng(devices=_gpus(embedder)):
        torch.manual_seed(training.seed)
        standardise_head(embedder, _some_items(catalog, query, target, training))
        losses = _loop(embedder, catalog, batches, known, training, progress)
    embedder.model.eval()
    summary = {
        "steps": training.steps,
        "seconds": round(time.time() - started, 1),
        "training": to_dict(training),
        "loss": round(losses[-1], 6),
    }
    embedder.facts = {"training": summary}
    embedder.save_pretrained(out / "model")
    lines = (json.dumps({"step": i + 1, "loss": loss}) for i, loss in enumerate(losses))
    write_text(out / CURVE, "".join(f"{line}\n" for line in lines))
    write_text(out / SUMMARY, json.dumps(summary, indent=2))
    return MLLMResult(embedder, out, losses)


def _loop(
    embedder: MLLMEmbedder,
    catalog: Catalog,
    batches: PairBatches,
    known: KnownPositives,
    training: MLLMTraining,
    progress: bool,
) -> list[float]:
    model = embedder.model
    optimizer = _optimizer(model, training)
    rates = [group["lr"] for group in optimizer.param_groups]
    trained = [p for p in model.parameters() if p.requires_grad]
    losses: list[float] = []
    model.train()
    steps = range(training.steps)
    for step in track(steps, total=training.steps, text="training", show=progress):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step, training.steps, training.warmup)
        rows = np.concatenate(batches.batch(step))
        mask = torch.from_numpy(known.mask(rows)).to(embedder.device)
        items = [catalog.items[i] for i in rows]
        optimizer.zero_grad()
        losses.append(float(_backward(embedder, items, mask, training)))
        if training.max_grad_norm:
            nn.utils.clip_grad_norm_(trained, training.max_grad_norm)
        optimizer.step()
        model.clamp_scale()
    return losses


def _backward(
    embedder: MLLMEmbedder, items: Sequence[Item], known: Tensor, training: MLLMTraining
) -> Tensor:
    """Fill the gradients of one batch (B queries, then B targets); return the loss."""
    pairs, size = len(items) // 2, training.chunk_size or len(items)
    chunks = [
        embedder.to_device(embedder.batch(items[i : i + size])) for i in range(0, len(items), size)
    ]

    def forward(chunk: dict[str, Tensor]) -> dict[str, Tensor]:
        vectors = embedder.model(chunk)
        return {"vector": vectors, "scale": embedder.model.scale.expand(len(vectors), 1)}

    def loss(out: dict[str, Tensor]) -> Tensor:
        query, target = out["vector"][:pairs], out["vector"][pairs:]
        scale = out["scale"].mean()
        return info_nce(query, target, scale, known=known, both_sides=training.both_sides)

    if len(chunks) > 1:
        return GradientCache(forward, loss).step(chunks)
    value = loss(forward(chunks[0]))
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


@torch.no_grad()
def standardise_head(embedder: MLLMEmbedder, items: Sequence[Item], batch_size: int = 8) -> None:
    """Give the head standardised states to start from, as `embedder.model.initialise_head` does."""
    model, batch_size = embedder.model, whole_number(batch_size, "batch_size")
    starts = range(0, len(items), batch_size)
    batches = (embedder.batch(items[start : start + batch_size]) for start in starts)
    standardise(
        model.head, torch.cat([model.states(embedder.to_device(batch)) for batch in batches])
    )


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the peak rate: rising over the warm-up, then a cosine down to 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _optimizer(model: MLLMModel, training: MLLMTraining) -> torch.optim.Optimizer:
    groups = []
    for language in (True, False):
        for matrix in (True, False):
            members = [
                p
                for name, p in model.named_parameters()
                if p.requires_grad
                and name.startswith("backbone.") == language
                and (p.ndim > 1) == matrix
            ]
            rate = training.language_learning_rate if language else training.learning_rate
            decay = training.weight_decay if matrix else 0.0
            groups.append({"params": members, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW([group for group in groups if group["params"]])


def _some_items(
    catalog: Catalog,
    query: Indices,
    target: Indices,
    training: MLLMTraining,
) -> list[Item]:
    rows = np.unique(np.concatenate([query, target]))
    chosen = np.random.default_rng([training.seed, 4]).permutation(rows)[:HEAD_ITEMS]
    return [catalog.items[i] for i in chosen]


def _gpus(embedder: MLLMEmbedder) -> list[torch.device]:
    return [embedder.device] if embedder.device.type == "cuda" else []

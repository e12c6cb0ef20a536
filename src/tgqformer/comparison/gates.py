"""What gates and reliability say of clean, corrupted, wrong and missing photos and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from tgqformer.catalog.items import Item
from tgqformer.comparison.metadata import with_metadata
from tgqformer.comparison.methods import SHUFFLED
from tgqformer.comparison.results import GateFigure, GateResult
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.training.noise import metadata_faults

Values = npt.NDArray[np.float64]
BATCH, SEED = 64, 9
WEIGHT = "weight of "


def measure_gates(
    embedder: ItemEmbedder,
    items: Sequence[Item],
    corrupted: dict[tuple[str, float], list[Item]],
) -> list[GateResult]:
    """Every condition for the same items; [] where there is no gate, agreement or reliability.

    A fault of metadata is that of the items which can have it.

    Args:
        items: as they are.
        corrupted: kind and severity -> the same items with corrupted photos.
    """
    clean = _measure(embedder, items, "clean")
    if clean == GateResult("clean", 0.0):
        return []
    shuffled = with_metadata(embedder, SHUFFLED, items)
    return [
        clean,
        *(_measure(embedder, them, kind, level) for (kind, level), them in corrupted.items()),
        _measure(shuffled, items, "shuffled metadata"),
        _measure(embedder, [replace(item, images=()) for item in items], "no photo"),
        _measure(embedder, [_bare(item) for item in items], "no metadata"),
        *(_measure(embedder, them, name) for name, them in faulty(items).items()),
    ]


def faulty(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Fault of the noise views -> the items that can have it, with it; drawn by a fixed seed.

    What is another's is that of the next item, in a drawn order, of the most unlike ones.
    """
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(items)).tolist()
    found: dict[str, list[Item]] = {}
    for place, row in enumerate(order):
        item, others = items[row], [items[i] for i in order[place + 1 :] + order[:place]]
        other = max(others, key=lambda each: _unlike(each, item), default=item)
        for name, them in metadata_faults(item, other, rng).items():
            found.setdefault(name, []).append(them)
    return found


def _unlike(other: Item, item: Item) -> int:
    return (other.brand != item.brand) + (other.category != item.category)


def _bare(item: Item) -> Item:
    return replace(item, title="", brand="", category="", attributes={})


def _measure(
    embedder: ItemEmbedder, items: Sequence[Item], condition: str, severity: float = 0.0
) -> GateResult:
    found: dict[str, list[Values]] = {}
    embedder.features.fill(items)
    for start in range(0, len(items), BATCH):
        for name, values in _gates(embedder, items[start : start + BATCH]).items():
            found.setdefault(name, []).append(values)
    figures = {name: _figure(np.concatenate(values)) for name, values in found.items()}
    weights = {n.removeprefix(WEIGHT): figures.pop(n) for n in [*figures] if n.startswith(WEIGHT)}
    return GateResult(condition, severity, **figures, weights=weights)


@torch.inference_mode()
def _gates(embedder: ItemEmbedder, items: Sequence[Item]) -> dict[str, Values]:
    """Name to [B, C]: the gates' channels, and the one of agreement and of each weight."""
    embedder.model.eval()
    batch = embedder.batch(items).to(embedder.device)
    output = embedder.model(batch, connector_only=True)
    said = output.connector
    known = {name: said.gates[name] for name in ("anchored", "exploratory") if name in said.gates}
    if said.agreement is not None:
        known["agreement"] = said.agreement
    known |= {WEIGHT + name: weight for name, weight in output.weights.items()}
    return {name: x.float().cpu().double().numpy() for name, x in known.items()}


def _figure(values: Values) -> GateFigure:
    return GateFigure(
        mean=float(values.mean()),
        magnitude=float(np.abs(values).mean()),
        spread=float(values.mean(axis=1).std()),
    )

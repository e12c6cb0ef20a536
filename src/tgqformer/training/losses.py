"""The training loss of a batch, from what the model says of each of its items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tgqformer.embedder.model import EmbedderModel, ItemBatch, ItemOutput
from tgqformer.objectives import (
    image_text_contrast,
    info_nce,
    likeness,
    matryoshka,
    redundancy,
)
from tgqformer.training.config import LossConfig

PerItem = dict[str, Tensor]
"""Name to [M, D]: everything of a batch that a loss looks at, item by item."""


@dataclass
class BatchFacts:
    """What is known of the M items of a batch: B queries, B targets, H negatives, in this order.

    Attributes:
        pairs: B.
        known: [M, M] bool, the same item or a known pair.
        same_text: [M, M] bool, items whose metadata reads alike for the connector.
        own_text: [M] bool, items that were given their own metadata.
        log_odds: [M], how often each is drawn (see `info_nce`); None corrects for nothing.
        own: [B] bool, pairs of an item with a view of itself, which are to be what the frozen base
            says of its clean form; None where such pairs count like any other.
    """

    pairs: int
    known: Tensor
    same_text: Tensor
    own_text: Tensor
    log_odds: Tensor | None = None
    own: Tensor | None = None

    def to(self, device: torch.device | str) -> BatchFacts:
        """The same facts on `device`."""
        tensors = (self.known, self.same_text, self.own_text, self.log_odds, self.own)
        return BatchFacts(self.pairs, *(None if x is None else x.to(device) for x in tensors))  # type: ignore[arg-type]


def per_item(output: ItemOutput, config: LossConfig) -> PerItem:
    """What `batch_loss` looks at in a model's output, and nothing more.

    Nothing more, because DistributedDataParallel waits for a gradient of every weight behind the
    outputs, and a weight that no loss asks for must have no gradient in any number of processes:
    AdamW takes a gradient of zero for a step.
    """
    streams, projections = output.connector.streams, output.connector.projections
    out: PerItem = {}
    used: list[str] = []
    if output.embedding is not None:
        out["embedding"] = output.embedding
        used.append("embedding")
    if config.base and output.base is not None:
        out["base"] = output.base
    if config.visual or output.embedding is None:
        out["visual"] = output.visual
        used.append("visual")
    if config.exploratory and "exploratory" in output.stream_views:
        out["exploratory"] = output.stream_views["exploratory"]
        used.append("visual")
    if config.redundancy and {"anchored", "exploratory"} <= streams.keys():
        out |= {f"stream_{name}": x for name, x in streams.items()}
    if config.agreement and projections:
        out |= {f"agreement_{name}": x for name, x in projections.items()}
        out["complete"] = output.complete
        used.append("agreement")
    return out | {f"scale_{name}": output.scales[name] for name in used}


class PerItemModel(nn.Module):
    """An embedder's model that hands out what the losses look at."""

    def __init__(self, model: EmbedderModel, config: LossConfig) -> None:
        super().__init__()
        self.model, self.loss = model, config

    def forward(self, batch: ItemBatch, *, connector_only: bool = False) -> PerItem:
        """[M] items -> name to [M, D]; see `per_item`."""
        return per_item(self.model(batch, connector_only=connector_only), self.loss)


def batch_loss(
    items: PerItem, facts: BatchFacts, config: LossConfig, dims: tuple[int, ...] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and its terms by name (detached).

    Args:
        items: as `per_item` gives them for the same `config`.
        dims: Matryoshka prefixes for the main loss.

    Without "embedding" (alignment stage) the visual loss takes its place, with weight 1.
    """
    terms: dict[str, tuple[float, Tensor]] = {}
    scales = {
        name.removeprefix("scale_"): x.mean() for name, x in items.items() if "scale_" in name
    }
    views = (
        ("main", "embedding", "embedding", 1.0),
        ("visual", "visual", "visual", config.visual if "embedding" in items else 1.0),
        ("exploratory", "exploratory", "visual", config.exploratory),
    )
    taught = facts.own if "base" in items else None
    for term, name, scale, weight in views:
        if name not in items:
            continue
        if taught is None or not taught.all():
            prefixes = dims if term == "main" else ()
            told = _pair_loss(items[name], facts, scales[scale], config, prefixes, own=taught)
            terms[term] = (weight, told)
        if taught is not None and taught.any():
            told = _taught(items[name], items["base"], facts, taught)
            terms[f"base_{term}"] = (weight * config.base, told)
    if "stream_anchored" in items:
        r3 = redundancy(items["stream_anchored"], items["stream_exploratory"])
        terms["redundancy"] = (config.redundancy, r3)
    if "agreement_image" in items:
        agreement = image_text_contrast(
            items["agreement_image"],
            items["agreement_text"],
            scales["agreement"],
            (items["complete"][:, 0] > 0.5) & facts.own_text,
            facts.same_text,
        )
        terms["agreement"] = (config.agreement, agreement)
    total = torch.stack([weight * term for weight, term in terms.values()]).sum()
    return total, {name: term.detach() for name, (_, term) in terms.items()}


def _pair_loss(
    vectors: Tensor,
    facts: BatchFacts,
    scale: Tensor,
    config: LossConfig,
    dims: tuple[int, ...] = (),
    *,
    own: Tensor | None = None,
) -> Tensor:
    b = facts.pairs
    parts = [vectors[:b], vectors[b : 2 * b], vectors[2 * b :]]

    def loss(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        query, target, negatives = parts
        return info_nce(
            query,
            target,
            scale,
            negatives=negatives if len(negatives) else None,
            known=facts.known,
            both_sides=config.both_sides,
            log_odds=facts.log_odds,
            counted=None if own is None else ~own,
        )

    if not dims:
        return loss(parts)
    widths = sorted({*dims, vectors.shape[-1]})
    return matryoshka(lambda v: loss(list(v)), parts, widths)


def _taught(vectors: Tensor, base: Tensor, facts: BatchFacts, own: Tensor) -> Tensor:
    """Items and their views are what the base says of the items as they are."""
    b = facts.pairs
    teacher = base[:b][own]
    sides = (vectors[:b][own], vectors[b : 2 * b][own])
    return torch.stack([likeness(side, teacher) for side in sides]).mean()

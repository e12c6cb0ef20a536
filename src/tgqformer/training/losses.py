"""The training loss of a batch, from what the model says of each of its items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgqformer.embedder.model import ItemOutput
from tgqformer.objectives import image_text_contrast, info_nce, matryoshka, redundancy
from tgqformer.training.config import LossConfig

PerItem = dict[str, Tensor]
"""Name to [M, D]: everything of a batch that a loss looks at, item by item."""


@dataclass
class BatchFacts:
    """What is known of the M items of a batch: B queries, B targets, H negatives, in this order.

    Attributes:
        pairs: B.
        known: [M, M] bool, the same item or a known pair.
        same_text: [M, M] bool, items whose metadata reads alike.
    """

    pairs: int
    known: Tensor
    same_text: Tensor

    def to(self, device: torch.device | str) -> BatchFacts:
        """The same facts on `device`."""
        return BatchFacts(self.pairs, self.known.to(device), self.same_text.to(device))


def per_item(output: ItemOutput) -> PerItem:
    """Flatten a model output into the tensors that the losses need."""
    out = {"visual": output.visual, "complete": output.complete}
    out |= {f"scale_{name}": x for name, x in output.scales.items()}
    if output.embedding is not None:
        out["embedding"] = output.embedding
    out |= {f"stream_{name}": x for name, x in output.connector.streams.items()}
    out |= {f"agreement_{name}": x for name, x in output.connector.projections.items()}
    return out


def batch_loss(
    items: PerItem, facts: BatchFacts, config: LossConfig, dims: tuple[int, ...] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and its terms by name (detached).

    Args:
        dims: Matryoshka prefixes for the main loss.

    Without "embedding" (alignment stage) the visual loss takes its place, with weight 1.
    """
    terms: dict[str, tuple[float, Tensor]] = {}
    scales = {
        name.removeprefix("scale_"): x.mean() for name, x in items.items() if "scale_" in name
    }
    if "embedding" in items:
        main = _pair_loss(items["embedding"], facts, scales["embedding"], config, dims)
        terms["main"] = (1.0, main)
    visual_weight = config.visual if "embedding" in items else 1.0
    if visual_weight:
        visual = _pair_loss(items["visual"], facts, scales["visual"], config)
        terms["visual"] = (visual_weight, visual)
    if config.redundancy and {"stream_anchored", "stream_exploratory"} <= items.keys():
        r3 = redundancy(items["stream_anchored"], items["stream_exploratory"])
        terms["redundancy"] = (config.redundancy, r3)
    if config.agreement and "agreement_image" in items:
        agreement = image_text_contrast(
            items["agreement_image"],
            items["agreement_text"],
            scales["agreement"],
            items["complete"][:, 0] > 0.5,
            facts.same_text,
        )
        terms["agreement"] = (config.agreement, agreement)
    total = sum(
        (weight * term for weight, term in terms.values()), start=items["visual"].new_zeros(())
    )
    return total, {name: term.detach() for name, (_, term) in terms.items()}


def _pair_loss(
    vectors: Tensor,
    facts: BatchFacts,
    scale: Tensor,
    config: LossConfig,
    dims: tuple[int, ...] = (),
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
        )

    if not dims:
        return loss(parts)
    widths = sorted({*dims, vectors.shape[-1]})
    return matryoshka(lambda v: loss(list(v)), parts, widths)

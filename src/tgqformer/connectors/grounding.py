"""Where in the photo is what the metadata speaks of? Token-level agreement (ours).

The paper's agreement is one cosine of the global image and title vectors. A cluttered photo shows
several things, and what is asked of a connector is to find the one for sale. So the agreement is
taken token by token: two learned projections bring visual tokens and metadata into one space,
trained by the image-text contrast of `objectives` on the best cells of each photo (as
in multiple-instance learning; FILIP, arXiv 2111.07783, takes the best token). The resulting map
steers the queries' attention, whether anchored or exploratory: where to look comes from the
metadata, what is taken from there does not. Its smooth maximum is the agreement that the gates see.
It is no part of TGQ-Former alone: every connector whose queries attend to the photo can take it.

Some token is always the best one. Where none agrees, under noise or beside another item's metadata,
it is best by chance, and attention had better go its own way. So the map counts by how far photo
and metadata agree at all (`Confidence`):

    bias = confidence * strength * relevance            strength: of each layer and head
    confidence = sigmoid(slope * (agreement - threshold))      in (0, 1)

On cluttered scenes nearly all that a connector misses, it misses by looking elsewhere (LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.blocks import pooling_weights
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.numerics import smooth_max

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch

CELLS = 49
"""Cells of an item that are contrasted with the metadata: a fixed number, so that items of any
number of tokens stand in one batch, and a quarter of the pairs for 14 x 14 tokens. Several photos
share them, each with a coarser grid of its own, so that none is blurred by another."""

INITIAL_STRENGTH = 10.0
"""Scores gained by a cosine of 1 against 0."""

INITIAL_REST = -0.3
"""Where the null token stands against the best visual token, as a cosine."""

INITIAL_SLOPE = 20.0
"""Of the confidence: its logit for a cosine of 1 against 0."""

INITIAL_THRESHOLD = -0.1
"""Agreement at which the confidence is 1/2: low enough that every map counts at the start.

Held-out photos of a procedural shop agree with any metadata by 0.00 to 0.04 before training
(medians of five seeds; confidence 0.88 to 0.94). After 160 steps of the contrast alone they agree
with their own by 0.19 (0.997), under heavy clutter by 0.08 (0.97), with another category's by 0.00
(0.88), and noise by -0.05 (0.73): from where on a map counts for nothing is learned."""


@dataclass
class Grounded:
    """What `Grounding` says of B items; `Ungrounded` says nothing.

    Attributes:
        bias: of each layer that looks at the photo what it adds to its scores, [B, H, 1, P + 1].
        relevance: [B, P + 1] cosine of each token with the metadata, less the best one's; the null
            token's comes last. All zero where photo or metadata are missing.
        agreement: [B, 1] smooth maximum of the cosines, zero where either is missing.
        confidence: [B, 1] in (0, 1), by which `bias` is scaled; zero where either is missing.
        projections: "image" [B, CELLS, Da] and "text" [B, Da], for the contrastive loss.
    """

    bias: tuple[Tensor, ...] = ()
    relevance: Tensor | None = None
    agreement: Tensor | None = None
    confidence: Tensor | None = None
    projections: dict[str, Tensor] = field(default_factory=dict)


class Confidence(nn.Module):
    """How far an item's map is to be trusted: rises with its agreement, learned is where."""

    def __init__(self) -> None:
        super().__init__()
        self.log_slope = nn.Parameter(torch.tensor(INITIAL_SLOPE).log())
        self.threshold = nn.Parameter(torch.tensor(INITIAL_THRESHOLD))

    def forward(self, agreement: Tensor) -> Tensor:
        """[B, 1] -> [B, 1] in (0, 1)."""
        return torch.sigmoid(self.log_slope.exp() * (agreement - self.threshold))


class FullConfidence(nn.Module):
    """In place of `Confidence` where grounding does not abstain: 1 for every item."""

    def forward(self, agreement: Tensor) -> Tensor:
        """[B, 1] -> ones."""
        return torch.ones_like(agreement)


class Grounding(nn.Module):
    """Token-level agreement, and how much each attention head heeds it."""

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape, *, looks: int) -> None:
        """Build it.

        Args:
            looks: layers of the connector that look at the photo.
        """
        super().__init__()
        self.photo_tokens = shape.photo_tokens
        self.image = nn.Sequential(
            nn.LayerNorm(shape.visual),
            nn.Linear(shape.visual, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.agreement_width),
        )
        self.text = nn.Sequential(
            nn.LayerNorm(shape.text_global), nn.Linear(shape.text_global, config.agreement_width)
        )
        self.rest = nn.Parameter(torch.tensor(INITIAL_REST))
        self.confidence = Confidence() if config.abstain else FullConfidence()
        self.strength = nn.Parameter(torch.full((looks, config.heads), INITIAL_STRENGTH))

    def forward(self, towers: TowerBatch) -> Grounded:
        """What the metadata says of each visual token of B items."""
        mask = towers.visual_mask
        tokens = F.normalize(self.image(towers.visual), dim=-1)  # [B, P, Da]
        words = F.normalize(self.text(towers.compared), dim=-1)  # [B, Da]
        weights = pooling_weights(mask, CELLS, self.photo_tokens, apart=True)
        weights = weights.to(tokens.dtype)
        cells = weights @ tokens  # [B, CELLS, P] @ [B, P, Da] -> [B, CELLS, Da]
        both = towers.presence.all(dim=-1, keepdim=True)  # [B, 1]
        in_cells = (cells @ words[..., None]).squeeze(-1)  # [B, CELLS]
        agreement = smooth_max(in_cells)[:, None]
        cosine = self._smooth((tokens @ words[..., None]).squeeze(-1), in_cells, weights)
        best = cosine.masked_fill(~mask, -1.0).amax(dim=-1, keepdim=True)
        relevance = torch.cat([cosine - best, self.rest.expand(len(cosine), 1)], dim=-1)
        relevance = torch.where(both, relevance, torch.zeros_like(relevance))
        confidence = self.confidence(agreement)
        heeded = (confidence * relevance)[:, None, None]  # [B, 1, 1, P + 1]
        return Grounded(
            bias=tuple(heads[:, None, None] * heeded for heads in self.strength),
            relevance=relevance,
            agreement=torch.where(both, agreement, torch.zeros_like(agreement)),
            confidence=torch.where(both, confidence, torch.zeros_like(confidence)),
            projections={"image": cells, "text": words},
        )

    @staticmethod
    def _smooth(cosine: Tensor, in_cells: Tensor, weights: Tensor) -> Tensor:
        """Half a token's own cosine, half its cell's: [B, P]. A single token is easily wrong."""
        inside = (weights > 0).to(cosine.dtype)  # a token lies in one cell, or two at a border
        share = inside / inside.sum(dim=1, keepdim=True).clamp(min=1)
        return (cosine + (in_cells[:, None] @ share).squeeze(1)) / 2


class Ungrounded(nn.Module):
    """In place of `Grounding` where there is none: no attention is steered."""

    def forward(self, towers: TowerBatch) -> Grounded:
        """Nothing, whatever the items are."""
        return Grounded()


def build_grounding(
    config: ConnectorConfig, shape: ConnectorShape, *, looks: int
) -> Grounding | Ungrounded:
    """What `config.grounding` asks for, before a connector of so many looks at the photo."""
    return Ungrounded() if config.steered == "none" else Grounding(config, shape, looks=looks)

"""Projectors without attention: linear and MLP (LLaVA) over pooled tokens, and mean pooling.

LLaVA (arXiv 2304.08485, section 4.1) projects every patch by one linear layer, LLaVA-1.5
(arXiv 2310.03744, section 3.2) by Linear-GELU-Linear. Departures, both for a fair comparison: the
grid is first pooled to Q cells, so that the backbone reads as many visual tokens as with any other
connector; and the tokens are normalised, because raw CNN maps train badly. A class token is left
out, as LLaVA does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tgqformer.connectors.base import Rival
from tgqformer.connectors.blocks import FeedForward, pooling_weights
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape


class GridProjector(Rival):
    """Normalise, average the grid into Q cells, project each cell.

    An item without photo gives the projection of zeros: a learned constant.
    """

    def __init__(
        self, config: ConnectorConfig, shape: ConnectorShape, projection: nn.Module
    ) -> None:
        super().__init__(config, shape.output)
        self.photo_tokens = shape.photo_tokens
        self.input_norm = nn.LayerNorm(shape.visual)
        self.projection = projection
        self.project = nn.Identity()

    def states(
        self,
        visual: Tensor,
        visual_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        bias: Sequence[Tensor] = (),
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        cells = pooling_weights(visual_mask, self.num_tokens, self.photo_tokens)
        pooled = cells.to(visual.dtype) @ self.input_norm(visual)  # [B, P, Dv] -> [B, Q, Dv]
        states: Tensor = self.projection(pooled)  # [B, Q, Dv] -> [B, Q, D]
        return states, None


class MeanProjector(Rival):
    """Normalise, average all tokens, and let an MLP unfold the one vector into Q tokens."""

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, shape.output)
        self.input_norm = nn.LayerNorm(shape.visual)
        self.unfold = FeedForward(shape.visual, config.width, self.num_tokens * shape.output)
        self.project = nn.Identity()

    def states(
        self,
        visual: Tensor,
        visual_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        bias: Sequence[Tensor] = (),
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        mask = visual_mask[..., None]
        total = (self.input_norm(visual) * mask).sum(dim=1)
        mean = total / mask.sum(dim=1).clamp(min=1)  # [B, Dv]
        unfolded: Tensor = self.unfold(mean)
        return torch.stack(unfolded.chunk(self.num_tokens, dim=-1), dim=1), None


def linear_projector(config: ConnectorConfig, shape: ConnectorShape) -> GridProjector:
    """LLaVA's projector: one linear layer."""
    return GridProjector(config, shape, nn.Linear(shape.visual, shape.output))


def mlp_projector(config: ConnectorConfig, shape: ConnectorShape) -> GridProjector:
    """LLaVA-1.5's projector: Linear, GELU, Linear, as wide inside as the backbone."""
    return GridProjector(config, shape, FeedForward(shape.visual, shape.output, shape.output))

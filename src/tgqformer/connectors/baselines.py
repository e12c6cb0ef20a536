"""The simple rivals: projectors without attention, and what the parts are worth alone.

LLaVA (arXiv 2304.08485, section 4.1) projects every patch by one linear layer, LLaVA-1.5
(arXiv 2310.03744, section 3.2) by Linear-GELU-Linear. Departures, both for a fair comparison: the
grid is first pooled to Q cells, so that the backbone reads as many visual tokens as with any other
connector; and the tokens are normalised, because raw CNN maps train badly. A class token is left
out, as LLaVA does.

Metadata only, photo only, and the two frozen vectors summed are trained like every other connector,
with the same loss and in the same call, and differ in what the embedding may be made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tgqformer.connectors.base import Connector, ConnectorOutput, Rival
from tgqformer.connectors.blocks import FeedForward, pooling_weights
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch


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
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        visual = towers.visual
        cells = pooling_weights(towers.visual_mask, self.num_tokens, self.photo_tokens)
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
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        mask = towers.visual_mask[..., None]
        total = (self.input_norm(towers.visual) * mask).sum(dim=1)
        mean = total / mask.sum(dim=1).clamp(min=1)  # [B, Dv]
        unfolded: Tensor = self.unfold(mean)
        return torch.stack(unfolded.chunk(self.num_tokens, dim=-1), dim=1), None


def linear_projector(config: ConnectorConfig, shape: ConnectorShape) -> GridProjector:
    """LLaVA's projector: one linear layer."""
    return GridProjector(config, shape, nn.Linear(shape.visual, shape.output))


def mlp_projector(config: ConnectorConfig, shape: ConnectorShape) -> GridProjector:
    """LLaVA-1.5's projector: Linear, GELU, Linear, as wide inside as the backbone."""
    return GridProjector(config, shape, FeedForward(shape.visual, shape.output, shape.output))


class TextOnly(Connector):
    """No visual token and no stream: the backbone reads the metadata, and nothing of the photo."""

    num_tokens = 0
    stream_names = ()

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        self.config, self.width, self.output = config, config.width, shape.output

    def forward(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        return ConnectorOutput(towers.visual.new_zeros(len(towers), 0, self.output))


class ImageOnly(GridProjector):
    """The linear projector (LLaVA) before a backbone that reads its tokens and no metadata."""

    prompt_text = False

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, shape, nn.Linear(shape.visual, shape.output))


class ClipSum(Connector):
    """CLIP-style sum: the two frozen global vectors, each projected, added up; no backbone.

    The streams are the frozen vectors as they are. The embedder gives each stream a head, layer
    norm and linear, and adds the heads' outputs up: those are the trained projections. A part that
    an item lacks is a vector of zeros, which its head turns into a learned constant.
    """

    num_tokens = 0
    stream_names = ("image", "text")
    prompt_text = False
    needs_backbone = False

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        self.config, self.width, self.output = config, config.width, shape.output
        self.widths = {"image": shape.image_global, "text": shape.text_global}

    def stream_width(self, name: str) -> int:
        """Width of a frozen vector."""
        return self.widths[name]

    def forward(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        image, text = towers.image_global, towers.compared
        shown = towers.presence.to(image.dtype)
        return ConnectorOutput(
            towers.visual.new_zeros(len(towers), 0, self.output),
            streams={"image": image * shown[:, :1], "text": text * shown[:, 1:]},
        )

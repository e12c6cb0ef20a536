"""The Perceiver resampler of Flamingo (Alayrac et al., arXiv 2204.14198, section 3.1.1, app. A.1).

Learned latents attend to [visual tokens; latents], pre-norm, with squared ReLU in the feed-forward
and no self-attention of its own. Given the same weights (and ReLU) it gives the output of
transformers' `IdeficsPerceiverResampler`.

Departures: one photo, so no time embeddings; the visual tokens pass through the same
`blocks.Memory` as TGQ-Former's; the projections have biases, as everywhere here; a last layer norm,
as in the open implementations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.base import Rival
from tgqformer.connectors.blocks import Attention, Memory, photo_grid
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.grounding import build_grounding

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch


class SquaredReLU(nn.Module):
    """max(x, 0) squared."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class PerceiverLayer(nn.Module):
    """Latents attend to memory and latents; then `ffn`, which brings its own norm."""

    def __init__(self, width: int, heads: int, ffn: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.memory_norm = nn.LayerNorm(width)
        self.latent_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.ffn = ffn
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        latents: Tensor,
        memory: Tensor,
        mask: Tensor,
        bias: Tensor | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            latents: [B, Q, D].
            memory: [B, M, D].
            mask: [B, 1, 1, M + Q] bool.
            bias: added to the scores, broadcastable to [B, heads, Q, M + Q].

        Returns:
            [B, Q, D], and the attention [B, Q, M + Q] where asked for.
        """
        asks = self.latent_norm(latents)
        seen = torch.cat([self.memory_norm(memory), asks], dim=1)
        found, attention = self.attention(asks, seen, mask, bias, weights=weights)
        latents = latents + self.dropout(found)
        return latents + self.dropout(self.ffn(latents)), attention


class PerceiverStack(nn.Module):
    """Q learned latents and their layers."""

    def __init__(self, count: int, width: int, layers: list[PerceiverLayer]) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(count, width) * 0.02)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, memory: Tensor, mask: Tensor, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Memory [B, M, D], mask [B, 1, 1, M] -> [B, Q, D], and attention [B, Q, M] if asked.

        Args:
            bias: of each layer what is added to its scores over the memory, broadcastable to
                [B, heads, Q, M], or none; the latents' own scores stay as they are.
        """
        latents = self.latents.expand(len(memory), -1, -1)
        own = (0, len(self.latents))
        mask = F.pad(mask, own, value=True)
        biases = iter(bias)
        maps: list[Tensor] = []
        for layer in self.layers:
            steer = next(biases, None)
            steer = None if steer is None else F.pad(steer, own)
            latents, attention = layer(latents, memory, mask, steer, weights=weights)
            maps += [] if attention is None else [attention[..., : memory.shape[1]]]
        return self.norm(latents), torch.stack(maps).mean(dim=0) if maps else None


class Perceiver(Rival):
    """Flamingo's resampler with Q latents."""

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, config.width)
        c, width = config, config.width
        self.memory = Memory(shape.visual, width, photo_tokens=photo_grid(config, shape))
        self.stack = PerceiverStack(
            c.tokens,
            width,
            [
                PerceiverLayer(width, c.heads, _feed_forward(width, c.ffn), c.dropout)
                for _ in range(c.layers)
            ],
        )
        self.project = nn.Linear(width, shape.output)
        self.grounding = build_grounding(config, shape, looks=c.layers)

    def states(
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        memory, mask = self.memory(towers.visual, towers.visual_mask)
        states, attention = self.stack(memory, mask, bias, weights=weights)
        return states, None if attention is None else attention[..., :-1]  # without the null token


def _feed_forward(width: int, ffn: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, ffn * width),
        SquaredReLU(),
        nn.Linear(ffn * width, width),
    )

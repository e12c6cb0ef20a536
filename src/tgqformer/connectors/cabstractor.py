"""C-Abstractor of Honeybee (Cha et al., arXiv 2312.06742, section 3.2).

ResNet blocks over the grid, adaptive average pooling to Q cells, ResNet blocks again, then a
projection. As in its public code a block is RegNet's bottleneck (1 x 1, depthwise 3 x 3, squeeze
and excitation, 1 x 1, SiLU), and the norm is a layer norm over the channels, not RegNet's batch
norm: so an item's tokens depend on no other item of its batch, and there are no running means.

As there, learned positions are added to the input, where every photo has as many tokens.
Departures: Q need not be a square (8 is 2 x 4 cells); the projection is Linear-SiLU-Linear, its
default there. Three blocks on each side are published; here `config.layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.base import Rival
from tgqformer.connectors.blocks import cell_grid, grid_side, pooling_weights
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch

SQUEEZE = 4  # inner width of squeeze and excitation is the block's input width by this


class RegNetBlock(nn.Module):
    """RegNet's bottleneck with ratio 1 and depthwise 3 x 3, on maps [B, H, W, C]."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        squeezed = max(1, round(input_width / SQUEEZE))
        self.enter = nn.Linear(input_width, width, bias=False)  # 1 x 1 convolution
        self.enter_norm = nn.LayerNorm(width)
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.spatial_norm = nn.LayerNorm(width)
        self.excite = nn.Sequential(
            nn.Linear(width, squeezed), nn.SiLU(), nn.Linear(squeezed, width), nn.Sigmoid()
        )
        self.leave = nn.Linear(width, width, bias=False)
        self.leave_norm = nn.LayerNorm(width)
        self.shortcut = (
            nn.Identity()
            if input_width == width
            else nn.Sequential(nn.Linear(input_width, width, bias=False), nn.LayerNorm(width))
        )

    def forward(self, grid: Tensor) -> Tensor:
        """[B, H, W, Ci] -> [B, H, W, C]."""
        x = F.silu(self.enter_norm(self.enter(grid)))
        x = self.spatial(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = F.silu(self.spatial_norm(x))
        x = x * self.excite(x.mean(dim=(1, 2), keepdim=True))
        return F.silu(self.leave_norm(self.leave(x)) + self.shortcut(grid))


class CAbstractor(Rival):
    """Convolutions, pooling, convolutions. Needs a square grid of visual tokens for each photo.

    Several photos go through the first convolutions one by one, and their cells are averaged.
    """

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, config.width)
        width, depth = config.width, config.layers
        self.photo_tokens = shape.photo_tokens
        self.input_norm = nn.LayerNorm(shape.visual)
        found = grid_side(shape.photo_tokens) if shape.photo_tokens else None
        self.positions: nn.Parameter | None = None
        if found is not None:
            side = found[0]
            self.positions = nn.Parameter(torch.randn(side, side, shape.visual) * 0.02)
        inputs = [shape.visual, *[width] * (depth - 1)]
        self.before = nn.Sequential(*(RegNetBlock(w, width) for w in inputs))
        self.after = nn.Sequential(*(RegNetBlock(width, width) for _ in range(depth)))
        self.project = nn.Sequential(
            nn.Linear(width, shape.output), nn.SiLU(), nn.Linear(shape.output, shape.output)
        )

    def states(
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        mask, tokens = towers.visual_mask, towers.visual.shape[1]
        photo = tokens if self.photo_tokens is None else min(tokens, self.photo_tokens)
        found = grid_side(photo)
        if found is None or tokens % photo:
            raise ConfigError(
                "connector.kind 'cabstractor' needs a square grid of visual tokens for each photo, "
                f"and there are {tokens}; set embedder.max_images=1, or choose another image tower "
                "or layer, or another connector."
            )
        side, leading = found
        normed = self.input_norm(towers.visual) * mask[..., None]
        photos = normed.unflatten(1, (-1, photo))  # [B, P, Dv] -> [B, N, P', Dv], N photos
        grid = photos[:, :, leading:].unflatten(2, (side, side))  # -> [B, N, H, W, Dv]
        grid = grid if self.positions is None else grid + self.positions
        seen = self.before(grid.flatten(0, 1)).flatten(1, 2)  # -> [B * N, H * W, D']
        every = torch.ones(1, side * side, dtype=torch.bool, device=seen.device)
        cells = pooling_weights(every, self.num_tokens).to(seen.dtype)
        pooled = (cells @ seen).unflatten(0, photos.shape[:2])  # -> [B, N, Q, D']
        there = mask.view(*photos.shape[:3]).any(dim=2).to(pooled.dtype)  # [B, N]
        if there.shape[1] > 1:  # the mean of the photos that an item has; of none, what zeros give
            share = there / there.sum(dim=1, keepdim=True).clamp(min=1)
            share[:, 0] += 1 - share.sum(dim=1)
            pooled = (pooled * share[..., None, None]).sum(dim=1)
        else:
            pooled = pooled[:, 0]
        states: Tensor = self.after(pooled.unflatten(1, cell_grid(self.num_tokens)))
        return states.flatten(1, 2), None

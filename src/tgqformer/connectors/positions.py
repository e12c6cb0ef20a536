"""Where a visual token lies in its photo: 2-D sine-cosine positions (ours, for CNN towers).

A transformer's tokens carry their place; a CNN's map does not, so attention over it cannot tell
which tokens lie together. With positions a query that has found the product reads its neighbours:
on cluttered scenes that is the difference between finding the object and reading it (LOG.md). The
table is DETR's (arXiv 2005.12872, section A.4), learned is only its scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.pooling import grid_side

PERIODS = 100.0
"""The longest wave is so many times the shortest: grids have tens of cells a side."""

INITIAL_SCALE = 0.5
"""Against tokens of unit variance."""


def photo_grid(config: ConnectorConfig, shape: ConnectorShape) -> int | None:
    """Tokens of a photo, where they are a grid and get positions; None otherwise."""
    tokens = shape.photo_tokens if config.positions else None
    return tokens if tokens and grid_side(tokens) else None


class GridPositions(nn.Module):
    """Positions of the tokens of one photo, repeated for each photo of an item."""

    table: Tensor

    def __init__(self, photo_tokens: int, width: int) -> None:
        """Make the table.

        Args:
            photo_tokens: tokens of a photo: a square grid, or a class token and a square grid.
            width: D.
        """
        super().__init__()
        grid = grid_side(photo_tokens)
        if grid is None:
            raise ValueError(f"photo_tokens ({photo_tokens}) must be a square grid of tokens.")
        side, leading = grid
        table = torch.zeros(photo_tokens, width)  # a class token lies nowhere: zeros
        table[leading:] = sine_cosine(side, width)
        self.register_buffer("table", table, persistent=False)
        self.scale = nn.Parameter(torch.tensor(INITIAL_SCALE))

    def forward(self, count: int) -> Tensor:
        """-> [P, D] for `count` tokens, photo after photo."""
        place = torch.arange(count, device=self.table.device) % len(self.table)
        return self.scale * self.table[place]


def sine_cosine(side: int, width: int) -> Tensor:
    """[side^2, width]: sines and cosines of row and column, row by row; a rest of zeros."""
    quarter = width // 4
    frequency = PERIODS ** (-torch.arange(quarter) / max(quarter, 1))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [
        wave(place.reshape(-1, 1) * frequency)
        for place in (row, column)
        for wave in (torch.sin, torch.cos)
    ]
    table = torch.zeros(side * side, width)
    table[:, : 4 * quarter] = torch.cat(waves, dim=1)
    return table

"""Reliability-aware gates (abstract; formula from a public summary of the paper).

    csigmoid(x) = 2 sigmoid(x) - 1            in (-1, 1)
    z' = z * (1 + csigmoid(MLP(inputs)))      z: [B, Q, D], gate: [B, 1, D]

Ours: the last layer of the MLP starts at zero, so that z' = z at the start, and the flags for a
missing image and a missing text are inputs too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def csigmoid(x: Tensor) -> Tensor:
    """Centred sigmoid, odd, in (-1, 1)."""
    return 2 * torch.sigmoid(x) - 1


class ReliabilityGate(nn.Module):
    """One gate value per channel from a few vectors about the item."""

    def __init__(self, input_widths: list[int], width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.LayerNorm(w) if w > 2 else nn.Identity() for w in input_widths
        )
        self.hidden = nn.Linear(sum(input_widths), width)
        self.last = nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Vectors [B, Wi] -> gate [B, D] in (-1, 1). Wide ones are normalised first."""
        joined = torch.cat([norm(x) for norm, x in zip(self.norms, inputs, strict=True)], dim=-1)
        return csigmoid(self.last(nn.functional.gelu(self.hidden(joined))))


def modulate(states: Tensor, gate: Tensor) -> Tensor:
    """z [B, Q, D], gate [B, D] -> z * (1 + gate)."""
    return states * (1 + gate[:, None, :])

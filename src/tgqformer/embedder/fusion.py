"""Late fusion (NoteLLM-2, arXiv 2405.16789): the tower's global vector beside the backbone's state.

    v = W_p g;   z = sigmoid(W [h; v]);   e = z * h + (1 - z) * v          no biases

h is the backbone's pooled state and g CLIP's class token in the paper. Departures: g is the tower's
global vector, because not every tower has a class token, and is normalised first, because towers
differ in scale by orders; an item without a photo has nothing to fuse, so there e = h.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LateFusion(nn.Module):
    """A gate for each channel between a state and the projected global image vector."""

    def __init__(self, image_global: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(image_global)
        self.project = nn.Linear(image_global, width, bias=False)
        self.gate = nn.Linear(2 * width, width, bias=False)

    def forward(self, state: Tensor, image_global: Tensor, has_image: Tensor) -> Tensor:
        """Fuse.

        Args:
            state: [B, D], h.
            image_global: [B, Dg], g.
            has_image: [B, 1] bool.

        Returns:
            [B, D], e.
        """
        seen = self.project(self.norm(image_global))  # [B, Dg] -> [B, D]
        gate = torch.sigmoid(self.gate(torch.cat([state, seen], dim=-1)))
        return torch.where(has_image, gate * state + (1 - gate) * seen, state)

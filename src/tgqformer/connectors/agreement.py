"""How far photo and metadata agree: a cosine in [-1, 1].

Where the towers share a space (CLIP and kin) it is the cosine of their global vectors, as in the
paper's summary. Elsewhere (ours) two learned projections make a space, trained by the image-text
contrastive loss of `objectives.contrastive`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Agreement(nn.Module):
    """Agreement of the global image and text vectors."""

    def __init__(
        self, image_width: int, text_width: int, width: int, *, shared_space: bool
    ) -> None:
        super().__init__()
        self.shared_space = shared_space
        if not shared_space:
            self.image = nn.Sequential(nn.LayerNorm(image_width), nn.Linear(image_width, width))
            self.text = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))

    def forward(
        self, image: Tensor, text: Tensor, presence: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-> cosine [B, 1], zero where either is missing, and the learned projections, if any."""
        if self.shared_space:
            projections = {}
            a, b = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        else:
            a = F.normalize(self.image(image), dim=-1)
            b = F.normalize(self.text(text), dim=-1)
            projections = {"image": a, "text": b}
        both = presence.all(dim=-1, keepdim=True)
        cosine = (a * b).sum(dim=-1, keepdim=True)
        return torch.where(both, cosine, torch.zeros_like(cosine)), projections

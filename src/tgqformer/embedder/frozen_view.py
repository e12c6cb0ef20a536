"""A frozen view of the photo beside the trained embedding (ours; off by default).

Training pulls all photos of a kind together, and so forgets what tells two of them apart. Where the
best neighbour is a photo of the very same thing, that is what one wants to know: on the Grocery
photos the frozen towers find it better (H@1) than the trained embedding, and rank the rest far
worse. This view keeps it: statistics of the frozen image tower's states, standardised, whitened by
the scatter within training pairs (within-class covariance normalisation, Hatch et al., 2006),
and turned by a random rotation onto `dims` dimensions. Nothing in it is trained by gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.towers.base import TowerBatch

SHRINKAGE = 0.1
"""Share of the identity in the scatter: it has as many dimensions as there are pairs at times."""


class FrozenView(nn.Module):
    """Statistics of the visual states -> unit vectors [B, dims]; zero without a photo."""

    mean: Tensor
    projection: Tensor

    def __init__(self, visual: int, image_global: int, dims: int) -> None:
        super().__init__()
        width = 2 * visual + image_global
        self.dims = dims
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("projection", torch.zeros(width, dims))

    def forward(self, towers: TowerBatch) -> Tensor:
        """[B, dims]."""
        view = (statistics(towers) - self.mean) @ self.projection
        return F.normalize(view, dim=-1) * towers.presence[:, :1].to(view.dtype)

    @torch.no_grad()
    def fit(self, items: Tensor, query: Tensor, target: Tensor) -> None:
        """Set mean and projection from training items and pairs, in closed form.

        Args:
            items: [N, S] statistics of items that have a photo.
            query, target: [M] rows of `items` that belong together.
        """
        mean, deviation = items.mean(dim=0), items.std(dim=0).clamp(min=1e-6)
        standard = ((items - mean) / deviation).double()
        apart = (standard[query] - standard[target]) / 2**0.5
        scatter = apart.T @ apart / len(apart)
        level = scatter.diagonal().mean()
        scatter = (1 - SHRINKAGE) * scatter + SHRINKAGE * level * torch.eye(len(scatter))
        values, axes = torch.linalg.eigh(scatter)
        whitening = (axes * values.clamp(min=1e-12).rsqrt()) @ axes.T
        random = torch.randn(
            len(scatter), self.dims, generator=torch.Generator().manual_seed(0), dtype=torch.double
        )
        rotation = torch.linalg.qr(random)[0] if self.dims <= len(scatter) else random
        self.mean.copy_(mean)
        self.projection.copy_((whitening @ rotation) / deviation[:, None])


def statistics(towers: TowerBatch) -> Tensor:
    """Global vector, mean and deviation of the visual tokens: [B, Dg + 2 Dv]."""
    mask = towers.visual_mask[..., None].to(towers.visual.dtype)
    count = mask.sum(dim=1).clamp(min=1)
    mean = (towers.visual * mask).sum(dim=1) / count
    spread = ((towers.visual - mean[:, None]) * mask).square().sum(dim=1) / count
    return torch.cat([towers.image_global, mean, spread.sqrt()], dim=-1)


def join(trained: Tensor, frozen: Tensor, share: float) -> Tensor:
    """[B, D] and [B, F] unit vectors -> unit [B, D + F]; `share` of a cosine is the frozen view's.

    The trained dimensions come first, so a prefix is the trained embedding or a part of it.
    """
    parts = [trained * (1 - share) ** 0.5, frozen * share**0.5]
    return F.normalize(torch.cat(parts, dim=-1), dim=-1)

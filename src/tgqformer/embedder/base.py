"""The frozen base: what the towers know before anything is trained (ours).

    base_i = unit(P_i (image_global - m_i)) / sqrt(2)
    base_t = unit(P_t (text_global - m_t)) / sqrt(2)

m is the catalog's mean; P are the first principal axes, each divided by the root of its singular
value (half whitening), so that a few strong axes do not decide alone. The two parts have dimensions
of their own, in turn, so that a prefix of an embedding holds both. A part that an item lacks is
zero. Nothing here learns by gradient: it is fitted to the catalog once, in closed form.

What is trained is added to it, and is zero at the start: a linear map of the base (`adapt` of
`model.py`), what the connector's streams say, what the backbone says. So an untrained model is the
frozen towers, and training cannot forget them unless that serves.

`Reliability` weighs the parts item by item: the paper's gates (KDD 2026, arXiv 2605.17366) weigh
two streams inside the connector, this (ours) all that makes up an embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.towers.base import TowerBatch

PHOTO_SHARE = 5 / 8
"""Of the dimensions, where both towers have enough of them."""

LEAST = 1e-6
"""Share of the largest variance below which an axis is left out."""

ROUNDING = 1e-12
"""Share of the vectors' mean square below which a variance is rounding, and no axis."""

STRETCH = 1.5
"""A weight of `Reliability` lies within exp(-STRETCH) and exp(STRETCH)."""


class FrozenBase(nn.Module):
    """Global vectors of photo and metadata -> [B, D] each, in dimensions of their own.

    Until it is fitted it takes the first entries of the vectors as they are.
    """

    image_mean: Tensor
    image_axes: Tensor
    text_mean: Tensor
    text_axes: Tensor

    def __init__(self, image_global: int, text_global: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        of_photo = self._of_photo(image_global, text_global)
        for name, width, places in (
            ("image", image_global, of_photo),
            ("text", text_global, ~of_photo),
        ):
            axes = torch.zeros(width, dims, device="cpu")
            axes[:, places] = torch.eye(width, int(places.sum()), device="cpu")
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_axes", torch.empty(width, dims).copy_(axes))

    def forward(self, towers: TowerBatch) -> tuple[Tensor, Tensor]:
        """The photo's part and the metadata's, [B, D] float32, of length sqrt(1/2) or zero."""
        has = towers.presence.to(torch.float32)
        return (
            self._part(towers.image_global, self.image_mean, self.image_axes, has[:, :1]),
            self._part(towers.text_global, self.text_mean, self.text_axes, has[:, 1:]),
        )

    @staticmethod
    def _part(vectors: Tensor, mean: Tensor, axes: Tensor, has: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            part: Tensor = F.normalize((vectors.float() - mean) @ axes, dim=-1)
        return part * (has * math.sqrt(0.5))

    @torch.no_grad()
    def fit(self, image: Tensor, text: Tensor) -> None:
        """Set means and axes.

        Args:
            image: [N, Dg] global vectors of items that have a photo; N may be 0.
            text: [M, Dtg] of items that have metadata.
        """
        of_photo = self._of_photo(min(image.shape), min(text.shape))
        for vectors, mean, axes, places in (
            (image, self.image_mean, self.image_axes, of_photo),
            (text, self.text_mean, self.text_axes, ~of_photo),
        ):
            columns = places.nonzero()[:, 0].to(axes.device)
            axes.zero_()
            mean.zero_()
            if len(vectors) < 2:
                continue
            vectors = vectors.double()
            mean.copy_(vectors.mean(dim=0))
            found = _half_whitened(vectors, len(columns))
            axes[:, columns[: found.shape[1]]] = found.to(axes)

    def _of_photo(self, image_rank: int, text_rank: int) -> Tensor:
        """[D] bool, the dimensions of the photo: evenly among all of them."""
        count = self._photo_dims(image_rank, text_rank)
        places = torch.zeros(self.dims, dtype=torch.bool, device="cpu")
        if count:
            places[torch.arange(count, device="cpu") * self.dims // count] = True
        return places

    def _photo_dims(self, image_rank: int, text_rank: int) -> int:
        """How many of the dimensions the photo takes: its share, and what metadata cannot use."""
        if not image_rank or not text_rank:
            return self.dims if image_rank else 0
        wanted = max(1, min(self.dims - 1, round(PHOTO_SHARE * self.dims)))
        return min(max(wanted, self.dims - text_rank), max(image_rank, 1))


def _half_whitened(vectors: Tensor, count: int) -> Tensor:
    """The first axes of [N, W], each divided by the root of its singular value: [W, at most count].

    An axis has the sign that makes its largest entry positive: one catalog, one base.
    """
    centred = vectors - vectors.mean(dim=0)
    covariance = centred.T @ centred / len(centred)
    floor = ROUNDING * vectors.square().sum(dim=1).mean()
    values, axes = torch.linalg.eigh(covariance)
    values, axes = values.flip(0), axes.flip(1)
    kept = min(count, int((values > torch.maximum(LEAST * values[0], floor)).sum()))
    values, axes = values[:kept], axes[:, :kept]
    sign = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    scaled: Tensor = axes * sign * values**-0.25  # a variance is a squared singular value
    return scaled


class Reliability(nn.Module):
    """How much each part of an embedding counts for an item: weights around 1, 1 at the start.

        w = exp(1.5 tanh(MLP(image_global, text_global, agreement, presence)))     in (0.22, 4.5)

    The agreement of photo and metadata is seen and not trained by this.
    """

    def __init__(self, image_global: int, text_global: int, parts: int, hidden: int = 128) -> None:
        super().__init__()
        self.image_norm = nn.LayerNorm(image_global)
        self.text_norm = nn.LayerNorm(text_global)
        self.hidden = nn.Linear(image_global + text_global + 3, hidden)
        self.last = nn.Linear(hidden, parts)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, towers: TowerBatch, agreement: Tensor | None) -> Tensor:
        """[B, parts]; `agreement` [B, 1] counts as 0 where nobody tells it."""
        has = towers.presence.to(towers.image_global.dtype)
        seen = [
            self.image_norm(towers.image_global) * has[:, :1],
            self.text_norm(towers.text_global) * has[:, 1:],
            has.new_zeros(len(has), 1) if agreement is None else agreement.detach().to(has),
            has,
        ]
        said: Tensor = self.last(F.gelu(self.hidden(torch.cat(seen, dim=-1))))
        return torch.exp(STRETCH * torch.tanh(said.float()))

"""The frozen base: what the towers know before anything is trained (ours).

    base_i = s_i unit(P_i (image_global - m_i)) / sqrt(2)
    base_t = s_t unit(P_t [unit(text_global - m_t), unit(words - m_w)]) / sqrt(2)

m is the catalog's mean; P are the first principal axes, each divided by the root of its singular
value (half whitening), so that a few strong axes do not decide alone. Beside the text tower's
vector stand the words themselves, hashed: a vector of a whole text says what it is about, and loses
which collection, size or model it names. s says how much photo and metadata count against each
other, 1 each until pairs tell (`training/start.py`). The two parts have dimensions of their own, in
turn, so that a prefix of an embedding holds both. A part that an item lacks is zero. Nothing here
learns by gradient: it is fitted to the catalog once, in closed form.

What is trained is added to it, and is zero at the start: a linear map of the base (`adapt` of
`model.py`), what the connector's streams say, what the backbone says. So an untrained model is the
frozen towers, and training cannot forget them unless that serves.

`Reliability` weighs the parts item by item: the paper's gates (KDD 2026, arXiv 2605.17366) weigh
two streams inside the connector, this (ours) all that makes up an embedding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.towers.base import TowerBatch

PHOTO_SHARE = 1 / 2
"""Of the dimensions, where both towers have enough of them."""

LEAST = 1e-6
"""Share of the largest variance below which an axis is left out."""

ROUNDING = 1e-12
"""Share of the vectors' mean square below which a variance is rounding, and no axis."""

STRETCH = 1.5
"""A weight of `Reliability` lies within exp(-STRETCH) and exp(STRETCH)."""


class FrozenBase(nn.Module):
    """Global vectors of photo and metadata -> [B, D] each, in dimensions of their own.

    Until it is fitted it takes the first entries of the vectors as they are, and no words.
    """

    image_mean: Tensor
    image_axes: Tensor
    text_mean: Tensor
    text_axes: Tensor
    counts: Tensor

    def __init__(self, image_global: int, text_global: int, dims: int, *, words: int = 0) -> None:
        """Build it.

        Args:
            words: width of the hashed words; 0 for none.
        """
        super().__init__()
        self.dims, self.text_global, self.words = dims, text_global, words
        of_photo = self._of_photo(image_global, text_global)
        for name, width, places in (
            ("image", image_global, of_photo),
            ("text", text_global + words, ~of_photo),
        ):
            axes = torch.zeros(width, dims, device="cpu")
            axes[:, places] = torch.eye(width, int(places.sum()), device="cpu")
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_axes", torch.empty(width, dims).copy_(axes))
        self.register_buffer("counts", torch.ones(2))

    def forward(self, towers: TowerBatch) -> tuple[Tensor, Tensor]:
        """The photo's part and the metadata's, [B, D] float32, of length s sqrt(1/2) or zero."""
        weight = towers.presence.to(torch.float32) * self.counts * math.sqrt(0.5)
        with torch.autocast(weight.device.type, enabled=False):
            image = towers.image_global.float() - self.image_mean
            text = self._metadata(towers.text_global.float(), towers.words.float())
            photo = F.normalize(image @ self.image_axes, dim=-1)
            metadata = F.normalize(text @ self.text_axes, dim=-1)
        return photo * weight[:, :1], metadata * weight[:, 1:]

    def _metadata(self, text: Tensor, words: Tensor) -> Tensor:
        """Text vectors [B, Dtg] and words [B, W], each about its mean: [B, Dtg + W].

        Each is of unit length where there are both, so that neither counts more than the other.
        """
        text = text - self.text_mean[: self.text_global]
        if not self.words:
            return text
        words = words - self.text_mean[self.text_global :]
        return torch.cat([F.normalize(text, dim=-1), F.normalize(words, dim=-1)], dim=-1)

    @torch.no_grad()
    def fit(self, image: Tensor, text: Tensor, words: Tensor | None = None) -> None:
        """Set means and axes.

        Args:
            image: [N, Dg] global vectors of items that have a photo; N may be 0.
            text: [M, Dtg] of items that have metadata.
            words: [M, W] of the same items, where the base has words.
        """
        words = text.new_zeros(len(text), 0) if words is None else words
        of_photo = self._of_photo(min(image.shape), min(len(text), text.shape[1] + words.shape[1]))
        for axes, mean in (
            (self.image_axes, self.image_mean),
            (self.text_axes, self.text_mean),
        ):
            axes.zero_()
            mean.zero_()
        if len(image) > 1:
            self.image_mean.copy_(image.double().mean(dim=0))
            self._set(self.image_axes, image.double(), of_photo)
        if len(text) > 1:
            self.text_mean.copy_(torch.cat([text, words], dim=-1).double().mean(dim=0))
            self._set(self.text_axes, self._metadata(text, words).double(), ~of_photo)

    @torch.no_grad()
    def balance(self, photo: float) -> None:
        """Let the photo count `photo` times what the metadata does; both together as before."""
        counts = torch.tensor([photo, 1.0])
        self.counts.copy_(counts * math.sqrt(2) / counts.norm())

    @staticmethod
    def _set(axes: Tensor, vectors: Tensor, places: Tensor) -> None:
        columns = places.nonzero()[:, 0].to(axes.device)
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
    # numpy's, as torch's was seen to give up on the many empty axes of words
    found = np.linalg.eigh(covariance.cpu().numpy())
    values = torch.from_numpy(found.eigenvalues[::-1].copy()).to(covariance)
    axes = torch.from_numpy(found.eigenvectors[:, ::-1].copy()).to(covariance)
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

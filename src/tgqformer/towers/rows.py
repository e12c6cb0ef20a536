"""From cached rows to padded tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tgqformer.towers.cache import Row, Single


def text_key(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def pad(rows: Sequence[Sequence[Row]], dim: int, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """Stack the token arrays of B items.

    Args:
        rows: for each item its rows, whose tokens are laid one after another.
        at_least: the least P, so that a batch without any tokens still has a token axis.

    Returns:
        float16 [B, P, D], zero where there is no token, and the mask [B, P].
    """
    lengths = [sum(len(row.tokens) for row in several) for several in rows]
    longest = max([at_least, *lengths])
    out = torch.empty(len(rows), longest, dim, dtype=torch.float16)
    view = out.numpy()
    for i, several in enumerate(rows):
        stop = 0
        for row in several:
            start, stop = stop, stop + len(row.tokens)
            view[i, start:stop] = row.tokens
        view[i, stop:] = 0
    mask = torch.arange(longest) < torch.tensor(lengths, dtype=torch.long).unsqueeze(1)
    return out, mask


def pool(rows: Sequence[Sequence[Row]], dim: int) -> Single:
    """Each item's pooled vectors as one, [B, Dg]; zero for an item without any.

    Of several the mean direction, each counting alike, at their mean length: so that of an item
    with several photos is shorter the less they agree.
    """
    out = np.zeros((len(rows), dim), dtype=np.float32)
    for i, several in enumerate(rows):
        if len(several) == 1:
            out[i] = several[0].pooled
        elif several:
            vectors = np.stack([row.pooled for row in several])
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
            out[i] = units.mean(axis=0) * lengths.mean()
    return out


def presence(photo_rows: Sequence[Sequence[Row]], text_rows: Sequence[Sequence[Row]]) -> Tensor:
    """[B, 2] bool: has an image, has text."""
    flags = [[bool(p), bool(t)] for p, t in zip(photo_rows, text_rows, strict=True)]
    return torch.tensor(flags, dtype=torch.bool).reshape(-1, 2)

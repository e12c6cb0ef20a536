"""Adaptive average pooling of visual tokens to Q cells, item by item.

The bins are those of `torch.nn.functional.adaptive_avg_pool1d` and `2d`; as matrices, because items
of a batch may have different numbers of tokens, and because the gradient of the library's pooling
is not deterministic on GPUs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_SIDE = 2  # of a grid behind a class token: two tokens are a sequence, no 1 x 1 grid


def cell_grid(cells: int) -> tuple[int, int]:
    """Rows and columns of `cells` cells, as near to a square as whole numbers allow: 8 is 2 x 4."""
    rows = next(r for r in range(math.isqrt(cells), 0, -1) if cells % r == 0)
    return rows, cells // rows


def grid_side(tokens: int, photo_tokens: int | None = None) -> tuple[int, int] | None:
    """Side of the square grid in a sequence of `tokens`, and how many class tokens lead it.

    Args:
        photo_tokens: tokens of a photo: more of them are several photos, and no grid.

    Returns:
        (side, 0) or (side, 1); None where the tokens are no square grid.
    """
    if photo_tokens is not None and tokens > photo_tokens:
        return None
    for leading in (0, 1):
        side = math.isqrt(max(tokens - leading, 0))
        if side >= max(1, LEAST_SIDE * leading) and side * side == tokens - leading:
            return side, leading
    return None


def pooling_weights(
    mask: Tensor, cells: int, photo_tokens: int | None = None, *, apart: bool = False
) -> Tensor:
    """Weights that average each item's real tokens into Q cells.

    An item whose number of real tokens is a square, or a square and a class token in front, is
    pooled over its 2-D grid (the class token left out); any other over the sequence. Several photos
    are pooled each for itself, and a cell is the mean of the photos' cells at its place, so that
    their order does not matter; where the number of tokens varies from photo to photo, they are
    one sequence.

    Args:
        mask: [B, P] bool, True where a token is real.
        cells: Q.
        photo_tokens: tokens of a photo, where it is known.
        apart: give each of several photos cells of its own, Q // photos of them, the photos one
            after another; what is left of the Q cells is empty.

    Returns:
        float32 [B, Q, P], rows sum to 1; all zero for an empty cell, or an item without tokens.
    """
    count = mask.sum(dim=1, keepdim=True)  # [B, 1]
    rank = mask.cumsum(dim=1) - 1  # [B, P], place among the item's real tokens
    photos = torch.ones_like(count)
    if photo_tokens is not None and mask.shape[1] > photo_tokens:
        whole = (count > photo_tokens) & (count % photo_tokens == 0)
        photos = torch.where(whole, count // photo_tokens, photos)
    length = count // photos  # of one photo; of all, where they cannot be told apart
    place = rank.remainder(length.clamp(min=1))
    side, leading, is_grid = _grids(length)
    if photo_tokens is not None:
        is_grid = is_grid & (length <= photo_tokens)
    each = torch.full_like(count, cells)  # cells of a photo, all of them unless they are dealt out
    if apart:
        each = (cells // photos).clamp(min=1)
    index = torch.arange(cells, device=mask.device)  # [Q]
    own = index.remainder(each)  # [B, Q], the cell's place among those of its photo
    sizes = torch.tensor([cell_grid(n) for n in range(1, cells + 1)], device=mask.device)
    rows, columns = sizes[each - 1].unbind(-1)  # [B, 1]
    behind = place - leading
    row = _bins(
        behind.div(side, rounding_mode="floor"), side, own.div(columns, rounding_mode="floor"), rows
    )
    column = _bins(behind.remainder(side), side, own.remainder(columns), columns)
    grid = row & column & (behind >= 0)[..., None]
    inside = torch.where(is_grid[..., None], grid, _bins(place, length, own, each))
    if apart:
        photo = rank.div(length.clamp(min=1), rounding_mode="floor")  # [B, P]
        inside = inside & (photo[..., None] == index.div(each, rounding_mode="floor")[:, None])
    weights = (inside & mask[..., None]).transpose(1, 2).float()
    return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1)


def _grids(count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, 1] counts -> side (1 where there is no grid), leading class tokens, is a grid."""
    plain, behind = _root(count), _root(count - 1)
    is_plain = (plain**2 == count) & (count > 0)
    is_behind = ~is_plain & (behind**2 == count - 1) & (behind >= LEAST_SIDE)
    side = torch.where(is_plain, plain, torch.where(is_behind, behind, 1))
    return side, is_behind.long(), is_plain | is_behind


def _root(count: Tensor) -> Tensor:
    return count.clamp(min=0).double().sqrt().round().long()


def _bins(place: Tensor, length: Tensor, index: Tensor, bins: Tensor) -> Tensor:
    """Whether each place [B, P] lies in the bin `index` [B, Q]: bool [B, P, Q].

    Args:
        length: [B, 1] places in all. bins: [B, 1], over how many they are cut.
    """
    start = (index * length).div(bins, rounding_mode="floor")[:, None, :]
    stop = -(-(index + 1) * length).div(bins, rounding_mode="floor")[:, None, :]
    return (place[..., None] >= start) & (place[..., None] < stop)

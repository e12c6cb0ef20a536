"""Blocks that every connector is built from: attention, feed-forward, layer, memory, pooling.

The layer is pre-norm, as in BLIP-2's successors; the original Q-Former is post-norm
(arXiv 2301.12597).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.config import ConnectorConfig, ConnectorShape


class Attention(nn.Module):
    """Multi-head attention of queries [B, Q, D] over a memory [B, M, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # a key bias cancels in the softmax
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            mask: bool, True where a key may be seen; broadcastable to [B, heads, Q, M].
            bias: added to the scores; broadcastable to [B, heads, Q, M].
            weights: also return the attention averaged over heads, [B, Q, M].
        """
        q = self._split(self.query(queries))  # [B, Q, D] -> [B, H, Q, D/H]
        if self._folds(queries.shape[1], memory.shape[1]):
            mixed, attention = self._folded(q, memory, mask, bias)
        else:
            k, v = self._split(self.key(memory)), self._split(self.value(memory))
            if not weights and bias is None:
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                return self.out(self._join(mixed)), None
            attention = _attention(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, mask, bias)
            mixed = self._join(attention @ v)
        return self.out(mixed), attention.mean(dim=1) if weights else None

    def _folds(self, queries: int, memory: int) -> bool:
        """Whether keys and values cost more than attending to the memory itself does."""
        width = self.key.in_features
        return queries * (self.heads * memory + width) < memory * width

    def _folded(
        self, q: Tensor, memory: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same sum in another order: (q W_k) m and W_v (a m), in place of q (W_k m), a (W_v m).

        For few queries over many tokens this is several times cheaper, as in multi-head latent
        attention (DeepSeek-V2, arXiv 2405.04434, section 2.1.2).

        Args:
            q: [B, H, Q, D/H].

        Returns:
            What was attended to [B, Q, D], before `out`, and the attention [B, H, Q, M].
        """
        heads, width = self.heads, memory.shape[-1]
        key = self.key.weight.view(heads, -1, width)  # [H, D/H, D]
        value = self.value.weight.view(heads, -1, width)
        asks = _by_head(q * q.shape[-1] ** -0.5, key)  # [B, H, Q, D]
        scores = asks.flatten(1, 2) @ memory.transpose(-1, -2)  # [B, H Q, M]: one memory for all
        attention = _attention(scores.view(*asks.shape[:-1], -1), mask, bias)
        seen = attention.flatten(1, 2) @ memory  # [B, H Q, D]
        seen = _by_head(seen.view(asks.shape), value.transpose(-1, -2))  # [B, H, Q, D/H]
        return self._join(seen) + self.value.bias, attention

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(-2)


def _attention(scores: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    """Softmax over the keys that may be seen; all [B, H, Q, M] or broadcastable to it."""
    scores = scores if bias is None else scores + bias
    scores = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)


def _by_head(x: Tensor, weight: Tensor) -> Tensor:
    """[B, H, Q, I], [H, I, O] -> [B, H, Q, O]: one product a head, no copy of the weights a row."""
    batch, heads, queries, _ = x.shape
    mixed = x.transpose(0, 1).flatten(1, 2) @ weight  # [H, B Q, O]
    return mixed.view(heads, batch, queries, -1).transpose(0, 1)


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int, output: int | None = None) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, output or width))


class QFormerLayer(nn.Module):
    """Self-attention among queries, cross-attention to the visual memory, feed-forward."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.ffn * width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        states: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        self_mask: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            states: [B, Q, D].
            memory: [B, M, D], already normalised.
            memory_mask: [B, 1, 1, M] bool.
            self_mask: [Q, Q] bool, True where query i may see query j; None is full.
            bias: [B, H, Q, M] or broadcastable, added to the scores over the visual memory.
        """
        asks = self.self_norm(states)
        mixed, _ = self.self_attention(asks, self.self_norm(states), self_mask)
        states = states + self.dropout(mixed)
        asks = self.cross_norm(states)
        seen, attention = self.cross_attention(asks, memory, memory_mask, bias, weights=weights)
        states = states + self.dropout(seen)
        return states + self.dropout(self.ffn(self.ffn_norm(states))), attention


class Memory(nn.Module):
    """Tower states -> normalised memory of the connector's width, with one learned null token.

    Tokens are normalised before the projection: raw CNN maps train ten times slower. The null
    token gives attention somewhere to rest, and keeps an item without photo or text finite.
    """

    def __init__(self, input_width: int, width: int, *, photo_tokens: int | None = None) -> None:
        """Build it.

        Args:
            photo_tokens: tokens of a photo, to add their positions; None adds none.
        """
        super().__init__()
        self.input_norm = nn.LayerNorm(input_width)
        self.project = nn.Linear(input_width, width)
        self.null = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.positions = GridPositions(photo_tokens, width) if photo_tokens else None

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, P, Di], [B, P] -> memory [B, P + 1, D] and mask [B, 1, 1, P + 1]; null comes last."""
        projected = self.project(self.input_norm(tokens))
        if self.positions is not None:
            projected = projected + self.positions(tokens.shape[1])
        memory = torch.cat([projected, self.null.expand(len(tokens), -1, -1)], dim=1)
        return self.norm(memory), F.pad(mask, (0, 1), value=True)[:, None, None, :]


PERIODS = 100.0
"""The longest wave is so many times the shortest: grids have tens of cells a side."""

INITIAL_SCALE = 0.5
"""Against tokens of unit variance."""


def photo_grid(config: ConnectorConfig, shape: ConnectorShape) -> int | None:
    """Tokens of a photo, where they are a grid and get positions; None otherwise."""
    tokens = shape.photo_tokens if config.positions else None
    return tokens if tokens and grid_side(tokens) else None


class GridPositions(nn.Module):
    """Where a token lies in its photo: 2-D sine-cosine positions, repeated for each photo (ours).

    A transformer's tokens carry their place; a CNN's map does not, so attention over it cannot tell
    which tokens lie together. With positions a query that has found the product reads its
    neighbours: on cluttered scenes that is the difference between finding the object and reading it
    (LOG.md). The table is DETR's (arXiv 2005.12872, section A.4), learned is only its scale.
    """

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
    """Weights that average each item's real tokens into Q cells: adaptive pooling, item by item.

    The bins are those of `torch.nn.functional.adaptive_avg_pool1d` and `2d`; as matrices, because
    items of a batch may have different numbers of tokens, and because the gradient of the library's
    pooling is not deterministic on GPUs.

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

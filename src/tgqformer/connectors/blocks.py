"""Blocks that every connector is built from: attention over a masked memory, feed-forward, layer.

Pre-norm, as in BLIP-2's successors; the original Q-Former is post-norm (arXiv 2301.12597).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        self, queries: Tensor, memory: Tensor, mask: Tensor | None = None, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            mask: bool, True where a key may be seen; broadcastable to [B, heads, Q, M].
            weights: also return the attention averaged over heads, [B, Q, M].
        """
        q = self._split(self.query(queries))  # [B, Q, D] -> [B, H, Q, D/H]
        k = self._split(self.key(memory))
        v = self._split(self.value(memory))
        if not weights:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return self.out(self._join(mixed)), None
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        attention = scores.softmax(dim=-1)  # [B, H, Q, M]
        return self.out(self._join(attention @ v)), attention.mean(dim=1)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(-2)


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int, output: int | None = None) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, output or width))


class QFormerLayer(nn.Module):
    """Self-attention among queries, cross-attention to the visual memory, feed-forward."""

    def __init__(self, width: int, heads: int, ffn: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, ffn * width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        self_mask: Tensor | None = None,
        guide: Tensor | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            states: [B, Q, D].
            memory: [B, M, D], already normalised.
            memory_mask: [B, 1, 1, M] bool.
            self_mask: [Q, Q] bool, True where query i may see query j; None is full.
            guide: [B, Q, D] added to what asks (the queries), never to what is handed on.
        """
        asks = self.self_norm(states)
        asks = asks if guide is None else asks + guide
        mixed, _ = self.self_attention(asks, self.self_norm(states), self_mask)
        states = states + self.dropout(mixed)
        asks = self.cross_norm(states)
        asks = asks if guide is None else asks + guide
        seen, attention = self.cross_attention(asks, memory, memory_mask, weights=weights)
        states = states + self.dropout(seen)
        return states + self.dropout(self.ffn(self.ffn_norm(states))), attention


class Memory(nn.Module):
    """Tower states -> normalised memory of the connector's width, with one learned null token.

    Tokens are normalised before the projection: raw CNN maps train ten times slower. The null
    token gives attention somewhere to rest, and keeps an item without photo or text finite.
    """

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(input_width)
        self.project = nn.Linear(input_width, width)
        self.null = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, P, Di], [B, P] -> memory [B, P + 1, D] and mask [B, 1, 1, P + 1]; null comes last."""
        projected = self.project(self.input_norm(tokens))
        memory = torch.cat([projected, self.null.expand(len(tokens), -1, -1)], dim=1)
        return self.norm(memory), F.pad(mask, (0, 1), value=True)[:, None, None, :]

"""Blocks that every connector is built from: attention over a masked memory, feed-forward, layer.

Pre-norm, as in BLIP-2's successors; the original Q-Former is post-norm (arXiv 2301.12597).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.positions import GridPositions


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
            guide: [B, Q, D] added to what asks (the queries), never to what is handed on.
            bias: [B, H, Q, M] or broadcastable, added to the scores over the visual memory.
        """
        asks = self.self_norm(states)
        asks = asks if guide is None else asks + guide
        mixed, _ = self.self_attention(asks, self.self_norm(states), self_mask)
        states = states + self.dropout(mixed)
        asks = self.cross_norm(states)
        asks = asks if guide is None else asks + guide
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

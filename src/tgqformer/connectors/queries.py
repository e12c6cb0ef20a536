"""The hybrid queries (abstract): what the metadata speaks of, and what it leaves out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.blocks import Attention, Memory


class AnchoredQueries(nn.Module):
    """Compress the metadata into K query vectors.

    The compressor is ours: one cross-attention from K learned slots to the token states of the
    frozen text tower. The paper says only that the queries are initialised from title, brand and
    category.
    """

    def __init__(self, text_width: int, width: int, heads: int, count: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(count, width) * 0.02)
        self.memory = Memory(text_width, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(
        self, text: Tensor, text_mask: Tensor, *, weights: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read the metadata.

        Args:
            text: [B, T, Dt]. text_mask: [B, T].
            weights: also return which tokens were read.

        Returns:
            Slots [B, K, D], the metadata's content for them [B, K, D], and where asked for the
            attention [B, K, T], averaged over heads, without what rests on the null token.
        """
        slots = self.slots.expand(len(text), -1, -1)
        memory, mask = self.memory(text, text_mask)
        asks = self.norm(slots)
        content, _ = self.attention(asks, memory, mask)
        if not weights:
            return slots, content, None
        _, read = self.attention(asks, memory, mask, weights=True)  # to be asked changes no bit
        assert read is not None
        return slots, content, read[..., :-1]


class Reread(nn.Module):
    """Let the first K states, which are the anchored ones, read the metadata once more (ours).

    The last projection starts at zero, so nothing changes at the start.
    """

    def __init__(
        self, text_width: int, width: int, heads: int, count: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.count = count
        self.memory = Memory(text_width, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.attention.out.weight)
        nn.init.zeros_(self.attention.out.bias)

    def forward(self, states: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """States [B, Q, D], text [B, T, Dt], text_mask [B, T] -> [B, Q, D]."""
        memory, mask = self.memory(text, text_mask)
        read, _ = self.attention(self.norm(states[:, : self.count]), memory, mask)
        return states + F.pad(self.dropout(read), (0, 0, 0, states.shape[1] - self.count))


class ReadOnce(nn.Module):
    """In place of `Reread` where the metadata is read at the start alone: states as they are."""

    def forward(self, states: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """[B, Q, D] -> the same."""
        return states


class ExploratoryQueries(nn.Module):
    """L learned, randomly initialised query vectors."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(count, width) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> [B, L, D]."""
        return self.slots.expand(batch, -1, -1)

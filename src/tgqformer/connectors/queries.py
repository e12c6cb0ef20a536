"""The hybrid queries (abstract): what the metadata speaks of, and what it leaves out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


class ExploratoryQueries(nn.Module):
    """L learned, randomly initialised query vectors."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(count, width) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> [B, L, D]."""
        return self.slots.expand(batch, -1, -1)

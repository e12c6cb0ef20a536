"""Q-Former, without and with the metadata in its self-attention.

BLIP-2 (Li et al., arXiv 2301.12597, section 3.1): learned queries, a BERT-like stack (post-norm),
cross-attention to the frozen tower in every second layer. InstructBLIP (Dai et al.,
arXiv 2305.06500, section 2.3): the text stands beside the queries in self-attention, with a
feed-forward of its own, and only the queries look at the photo. Given the same weights the stack
gives the output of transformers' `Blip2QFormerModel` and `InstructBlipQFormerModel`.

Departures: random initialisation (no BERT weights); the visual tokens pass through the same
`blocks.Memory` as TGQ-Former's, with its null token, before keys and values; no dropout inside the
attention; the text comes as states of the frozen text tower, which know their order, in place of
BERT's word and position embeddings; the last layer leaves the text's feed-forward out, because
nobody reads it. `notellm2` is NoteLLM-2's connector over the same stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.base import Rival
from tgqformer.connectors.blocks import Attention, FeedForward, Memory, photo_grid
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.grounding import build_grounding

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch

EPSILON = 1e-12  # of BERT's layer norms


class PostNormLayer(nn.Module):
    """BERT's layer: add, then normalise. Queries come first; text, if any, behind them.

    Args:
        cross: attend to the visual memory.
        text: hand the text on, through a feed-forward of its own; else it ends here.
    """

    def __init__(self, config: ConnectorConfig, *, cross: bool, text: bool) -> None:
        super().__init__()
        width, heads, hidden = config.width, config.heads, config.ffn * config.width
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width, eps=EPSILON)
        self.cross_attention = Attention(width, heads) if cross else None
        self.cross_norm = nn.LayerNorm(width, eps=EPSILON) if cross else None
        self.ffn = FeedForward(width, hidden)
        self.ffn_norm = nn.LayerNorm(width, eps=EPSILON)
        self.text_ffn = FeedForward(width, hidden) if text else None
        self.text_norm = nn.LayerNorm(width, eps=EPSILON) if text else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        states: Tensor,
        queries: int,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        self_mask: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """One layer.

        Args:
            states: [B, Q + T, D].
            queries: Q.
            memory: [B, M, D].
            memory_mask: bool, broadcastable to [B, heads, Q, M].
            self_mask: bool, broadcastable to [B, heads, Q + T, Q + T].
            bias: added to the scores over the memory, broadcastable to [B, heads, Q, M].

        Returns:
            [B, Q + T, D], or [B, Q, D] where the text ends here; and the attention [B, Q, M] over
            the memory, where asked for.
        """
        mixed, _ = self.self_attention(states, states, self_mask)
        states = self.self_norm(states + self.dropout(mixed))
        asks, text = states[:, :queries], states[:, queries:]
        attention = None
        if self.cross_attention is not None and self.cross_norm is not None:
            seen, attention = self.cross_attention(asks, memory, memory_mask, bias, weights=weights)
            asks = self.cross_norm(asks + self.dropout(seen))
        asks = self.ffn_norm(asks + self.dropout(self.ffn(asks)))
        if self.text_ffn is None or self.text_norm is None:
            return asks, attention
        text = self.text_norm(text + self.dropout(self.text_ffn(text)))
        return torch.cat([asks, text], dim=1), attention


class PostNormStack(nn.Module):
    """Layers 0 to L - 1, with cross-attention in every `cross_every`-th of them, the first one on.

    Args:
        layers: L.
        text: text stands behind the queries.
    """

    def __init__(self, config: ConnectorConfig, layers: int, *, text: bool = False) -> None:
        super().__init__()
        every = config.cross_every
        self.input_norm = nn.LayerNorm(config.width, eps=EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(config, cross=i % every == 0, text=text and i < layers - 1)
            for i in range(layers)
        )
        self.looks = len(range(0, layers, every))

    def forward(
        self,
        states: Tensor,
        queries: int,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        self_mask: Tensor | None = None,
        bias: Sequence[Tensor] = (),
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `PostNormLayer`; returns [B, Q, D], and the attention averaged over the layers.

        Args:
            bias: one for each layer that looks at the memory, or none.
        """
        states = self.dropout(self.input_norm(states))
        maps: list[Tensor] = []
        biases = iter(bias)
        for layer in self.layers:
            steer = next(biases, None) if layer.cross_attention is not None else None
            states, attention = layer(
                states, queries, memory, memory_mask, self_mask, steer, weights=weights
            )
            maps += [] if attention is None else [attention]
        return states[:, :queries], torch.stack(maps).mean(dim=0) if maps else None


class QFormer(Rival):
    """BLIP-2's Q-Former: learned queries that see the photo, and nothing of the metadata."""

    def __init__(
        self,
        config: ConnectorConfig,
        shape: ConnectorShape,
        *,
        layers: int | None = None,
        project: nn.Module | None = None,
        text: bool = False,
    ) -> None:
        super().__init__(config, config.width)
        c = config
        self.queries = nn.Parameter(torch.randn(c.tokens, c.width) * 0.02)
        self.memory = Memory(shape.visual, c.width, photo_tokens=photo_grid(config, shape))
        self.stack = PostNormStack(c, layers or c.layers, text=text)
        self.project = project or nn.Linear(c.width, shape.output)
        self.grounding = build_grounding(config, shape, looks=self.stack.looks)

    def states(
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        memory, memory_mask = self.memory(towers.visual, towers.visual_mask)
        states, self_mask = self.inputs(towers)
        states, attention = self.stack(
            states, self.num_tokens, memory, memory_mask, self_mask, bias, weights=weights
        )
        return states, None if attention is None else attention[..., :-1]  # without the null token

    def inputs(self, towers: TowerBatch) -> tuple[Tensor, Tensor | None]:
        """-> first states [B, Q, D'] and the mask of self-attention (None: all see all)."""
        return self.queries.expand(len(towers), -1, -1), None


class TextQFormer(QFormer):
    """InstructBLIP's Q-Former: the metadata takes part in self-attention, and so steers."""

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, shape, text=True)
        self.text_project = nn.Sequential(
            nn.LayerNorm(shape.text), nn.Linear(shape.text, config.width)
        )

    def inputs(self, towers: TowerBatch) -> tuple[Tensor, Tensor | None]:
        """-> [B, Q + T, D'], and a mask [B, 1, 1, Q + T] that hides the padding."""
        queries, _ = super().inputs(towers)
        states = torch.cat([queries, self.text_project(towers.text)], dim=1)
        return states, F.pad(towers.text_mask, (self.num_tokens, 0), value=True)[:, None, None, :]


def notellm2(config: ConnectorConfig, shape: ConnectorShape) -> QFormer:
    """The connector of NoteLLM-2 (Zhang et al., arXiv 2405.16789, KDD 2025), as in its public code.

    A BLIP-2 Q-Former without text, `config.notellm2_layers` deep, six layers with cross-attention
    at 0, 2 and 4, then Linear-GELU-Linear to the width of the backbone. Departures: the queries
    start random (in the public code at zero, where they can never part from one another), and those
    of this file.

    What is no part of a connector stands elsewhere, and NoteLLM-2 in full is all four: this kind;
    the prompt in two parts (mICL), `language.NOTELLM2_PROMPT`; `embedder.fusion=late`; and the loss
    over all 2B vectors, (9 L_m + 1 L_v) / 10, which is `training.loss.visual=1/9` with
    `training.loss.both_sides`. Kind "notellm2" by itself is its connector inside this project's own
    pipeline, and must be reported as that.

    It has no alignment stage of its own. With `training.alignment_steps` its connector is trained
    in that stage as every rival's is, on the mean of its states.
    """
    project = FeedForward(config.width, shape.output, shape.output)
    return QFormer(config, shape, layers=config.notellm2_layers, project=project)

"""TGQ-Former (KDD 2026, arXiv 2605.17366): text-guided queries with reliability-aware gates.

From the abstract: two groups of queries, one anchored in the item's metadata and one exploratory,
attend to the visual tokens, and gates weigh the two by how far photo and title agree. From public
summaries: the gates' form and inputs, and the regulariser (`objectives.redundancy`). Ours: the
compressor of the metadata, pre-norm layers, the block-diagonal self-attention, the null token
(`blocks.Memory`), presence flags, and the token-level agreement that steers all queries
(`grounding.py`; `grounding="none"` is the paper's connector).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.blocks import Attention, Memory, QFormerLayer, photo_grid
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.grounding import Grounded, build_grounding

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch


class TGQFormer(Connector):
    """Metadata-anchored and exploratory queries over the visual tokens, gated by reliability."""

    is_anchored: Tensor

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        c, width = config, config.width
        self.config, self.width = config, width
        self.num_tokens = c.anchored + c.exploratory
        sizes = {"anchored": c.anchored, "exploratory": c.exploratory}
        self.stream_names = tuple(name for name, size in sizes.items() if size)
        self.memory = Memory(shape.visual, width, photo_tokens=photo_grid(config, shape))
        self.anchored = AnchoredQueries(config, shape) if c.anchored else None
        self.exploratory = ExploratoryQueries(config) if c.exploratory else None
        self.layers = nn.ModuleList(QFormerLayer(config) for _ in range(c.layers))
        self.norm = nn.LayerNorm(width)
        self.grounding = build_grounding(config, shape, looks=c.layers)
        self.agreement = self._build_agreement(shape)
        self.anchored_gate, self.exploratory_gate = self._build_gates(shape)
        self.project = nn.Linear(width, shape.output)
        is_anchored = (torch.arange(self.num_tokens) < c.anchored).float()
        self.register_buffer("is_anchored", is_anchored, persistent=False)
        self.register_buffer("self_mask", self._self_mask(), persistent=False)

    def forward(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        memory, memory_mask = self.memory(towers.visual, towers.visual_mask)
        states, read = self._queries(towers, weights=return_attention)
        grounded: Grounded = self.grounding(towers)
        biases = iter(self._steer(grounded))
        maps: list[Tensor] = []
        for layer in self.layers:
            bias = next(biases, None)
            states, attention = layer(
                states, memory, memory_mask, self.self_mask, bias, weights=return_attention
            )
            if attention is not None:
                maps.append(attention[..., :-1])  # without the null token
        states = self.norm(states)  # [B, K + L, D']
        anchored, exploratory = states.split([self.config.anchored, self.config.exploratory], dim=1)
        streams = self._summaries(anchored, exploratory)
        agreement, projections = self._agree(towers, grounded)
        gates = self._gates(towers, streams, agreement)
        if "anchored" in gates:
            anchored = modulate(anchored, gates["anchored"])
        if "exploratory" in gates:
            exploratory = modulate(exploratory, gates["exploratory"])
        return ConnectorOutput(
            tokens=self.project(torch.cat([anchored, exploratory], dim=1)),
            streams=self._summaries(anchored, exploratory),
            gates=gates,
            attention=self._split_attention(maps),
            text_attention={} if read is None else {"anchored": read},
            agreement=agreement,
            projections=projections,
        )

    def _queries(self, towers: TowerBatch, *, weights: bool) -> tuple[Tensor, Tensor | None]:
        """-> first states [B, K + L, D'], and the attention over the metadata where asked for."""
        states: list[Tensor] = []
        read: Tensor | None = None
        if self.anchored is not None:
            own, read = self.anchored(towers.text, towers.text_mask, weights=weights)
            states.append(own)
        if self.exploratory is not None:
            states.append(self.exploratory(len(towers)))
        return torch.cat(states, dim=1), read

    def _steer(self, grounded: Grounded) -> Sequence[Tensor]:
        """Of each layer what is added to its scores: [B, H, 1 or Q, P + 1]."""
        if self.config.steered == "anchored":
            return [bias * self.is_anchored[:, None] for bias in grounded.bias]
        return grounded.bias

    def _self_mask(self) -> Tensor | None:
        k, n = self.config.anchored, self.num_tokens
        if self.config.mixing or k in (0, n):
            return None
        is_anchored = torch.arange(n) < k
        return is_anchored[:, None] == is_anchored[None, :]

    def _build_agreement(self, shape: ConnectorShape) -> Agreement | None:
        c = self.config
        if not (c.anchored and c.anchored_gate and c.agreement_input) or c.steered != "none":
            return None
        return Agreement(c, shape)

    def _build_gates(
        self, shape: ConnectorShape
    ) -> tuple[ReliabilityGate | None, ReliabilityGate | None]:
        c = self.config
        streams = [self.width] * (bool(c.anchored) + bool(c.exploratory))
        anchored = exploratory = None
        if c.anchored and c.anchored_gate:
            agreement = [1] if c.agreement_input else []
            anchored = ReliabilityGate([*agreement, shape.image_global, *streams, 2], self.width)
        if c.exploratory and c.exploratory_gate:
            exploratory = ReliabilityGate([shape.image_global, self.width, 2], self.width)
        return anchored, exploratory

    def _agree(
        self, towers: TowerBatch, grounded: Grounded
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        if self.agreement is None:
            return grounded.agreement, grounded.projections
        cosine, projections = self.agreement(towers)
        return cosine, projections

    def _gates(
        self, towers: TowerBatch, streams: dict[str, Tensor], agreement: Tensor | None
    ) -> dict[str, Tensor]:
        image = towers.image_global
        flags = towers.presence.to(image.dtype)
        gates: dict[str, Tensor] = {}
        if self.anchored_gate is not None:
            asked = self.config.agreement_input
            seen = [agreement] if asked and agreement is not None else []
            gates["anchored"] = self.anchored_gate([*seen, image, *streams.values(), flags])
        if self.exploratory_gate is not None:
            gates["exploratory"] = self.exploratory_gate([image, streams["exploratory"], flags])
        return gates

    def _summaries(self, anchored: Tensor, exploratory: Tensor) -> dict[str, Tensor]:
        pairs = {"anchored": anchored, "exploratory": exploratory}
        return {name: z.mean(dim=1) for name, z in pairs.items() if z.shape[1]}

    def _split_attention(self, maps: list[Tensor]) -> dict[str, Tensor]:
        if not maps:
            return {}
        k = self.config.anchored
        mean = torch.stack(maps).mean(dim=0)  # [B, K + L, P]
        split = {"anchored": mean[:, :k], "exploratory": mean[:, k:]}
        return {name: a for name, a in split.items() if a.shape[1]}


class AnchoredQueries(nn.Module):
    """K queries of what the metadata speaks of (abstract).

    The compressor is ours: one cross-attention from K learned slots to the token states of the
    frozen text tower. The paper says only that the queries are initialised from title, brand and
    category.
    """

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        width = config.width
        self.slots = nn.Parameter(torch.randn(config.anchored, width) * 0.02)
        self.memory = Memory(shape.text, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)

    def forward(
        self, text: Tensor, text_mask: Tensor, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Read the metadata.

        Args:
            text: [B, T, Dt]. text_mask: [B, T].
            weights: also return which tokens were read.

        Returns:
            First states [B, K, D], each a slot and what it read; and where asked for the attention
            [B, K, T], averaged over heads, without what rests on the null token.
        """
        slots = self.slots.expand(len(text), -1, -1)
        memory, mask = self.memory(text, text_mask)
        asks = self.norm(slots)
        content, _ = self.attention(asks, memory, mask)
        states = slots + content
        if not weights:
            return states, None
        _, read = self.attention(asks, memory, mask, weights=True)  # to be asked changes no bit
        assert read is not None
        return states, read[..., :-1]


class ExploratoryQueries(nn.Module):
    """L learned queries of what the metadata leaves out (abstract), randomly initialised."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(config.exploratory, config.width) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> [B, L, D]."""
        return self.slots.expand(batch, -1, -1)


def csigmoid(x: Tensor) -> Tensor:
    """Centred sigmoid, odd, in (-1, 1)."""
    return 2 * torch.sigmoid(x) - 1


class ReliabilityGate(nn.Module):
    """A reliability-aware gate (abstract; formula from a public summary of the paper).

        z' = z * (1 + csigmoid(MLP(inputs)))      z: [B, Q, D], gate: [B, 1, D]

    One value per channel, from a few vectors about the item. Ours: the last layer of the MLP starts
    at zero, so that z' = z at the start, and the flags for a missing image and a missing text are
    inputs too.
    """

    def __init__(self, input_widths: list[int], width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.LayerNorm(w) if w > 2 else nn.Identity() for w in input_widths
        )
        self.hidden = nn.Linear(sum(input_widths), width)
        self.last = nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Vectors [B, Wi] -> gate [B, D] in (-1, 1). Wide ones are normalised first."""
        joined = torch.cat([norm(x) for norm, x in zip(self.norms, inputs, strict=True)], dim=-1)
        return csigmoid(self.last(nn.functional.gelu(self.hidden(joined))))


def modulate(states: Tensor, gate: Tensor) -> Tensor:
    """z [B, Q, D], gate [B, D] -> z * (1 + gate)."""
    return states * (1 + gate[:, None, :])


class Agreement(nn.Module):
    """How far photo and metadata agree: the cosine of their global vectors, in [-1, 1].

    Where the towers share a space (CLIP and kin) the vectors are taken as they are, as in the
    paper's summary. Elsewhere (ours) two learned projections make a space, trained by the
    image-text contrastive loss of `objectives`.
    """

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        self.shared_space = shape.shared_space
        if not self.shared_space:
            self.image = self._projection(shape.image_global, config.agreement_width)
            self.text = self._projection(shape.text_global, config.agreement_width)

    @staticmethod
    def _projection(width: int, output: int) -> nn.Sequential:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, output))

    def forward(self, towers: TowerBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-> cosine [B, 1], zero where either is missing, and the learned projections, if any."""
        image, text = towers.image_global, towers.compared
        if self.shared_space:
            projections = {}
            a, b = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        else:
            a = F.normalize(self.image(image), dim=-1)
            b = F.normalize(self.text(text), dim=-1)
            projections = {"image": a, "text": b}
        both = towers.presence.all(dim=-1, keepdim=True)
        cosine = (a * b).sum(dim=-1, keepdim=True)
        return torch.where(both, cosine, torch.zeros_like(cosine)), projections

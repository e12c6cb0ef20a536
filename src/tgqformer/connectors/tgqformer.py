"""TGQ-Former (KDD 2026, arXiv 2605.17366): text-guided queries with reliability-aware gates.

From the abstract: two groups of queries, one anchored in the item's metadata and one exploratory,
attend to the visual tokens, and gates weigh the two by how far photo and title agree. From public
summaries: the gates' form and inputs (`gates.py`) and the regulariser (`objectives.redundancy`).
Ours: the compressor (`queries.py`), pre-norm layers, the block-diagonal self-attention, the null
token (`blocks.Memory`), presence flags, `anchoring="guide"`, `reread`, and the token-level
agreement that steers all queries (`grounding.py`; `grounding="none"` is the paper's connector).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tgqformer.connectors.agreement import Agreement
from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.blocks import Memory, QFormerLayer
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.gates import ReliabilityGate, modulate
from tgqformer.connectors.grounding import Grounded, build_grounding
from tgqformer.connectors.positions import photo_grid
from tgqformer.connectors.queries import AnchoredQueries, ExploratoryQueries, ReadOnce, Reread


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
        self.anchored = (
            AnchoredQueries(shape.text, width, c.heads, c.anchored) if c.anchored else None
        )
        self.exploratory = ExploratoryQueries(width, c.exploratory) if c.exploratory else None
        self.layers = nn.ModuleList(
            QFormerLayer(width, c.heads, c.ffn, c.dropout) for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.grounding = build_grounding(config, shape, looks=c.layers)
        self.agreement = self._build_agreement(shape)
        self.anchored_gate, self.exploratory_gate = self._build_gates(shape)
        self.project = nn.Linear(width, shape.output)
        is_anchored = (torch.arange(self.num_tokens) < c.anchored).float()
        self.register_buffer("is_anchored", is_anchored, persistent=False)
        self.register_buffer("self_mask", self._self_mask(), persistent=False)
        rereads = c.reread and c.anchored > 0
        self.rereads = nn.ModuleList(
            Reread(shape.text, width, c.heads, c.anchored, c.dropout) if rereads else ReadOnce()
            for _ in range(c.layers)
        )

    def forward(
        self,
        visual: Tensor,
        visual_mask: Tensor,
        image_global: Tensor,
        text: Tensor,
        text_mask: Tensor,
        text_global: Tensor,
        presence: Tensor,
        *,
        return_attention: bool = False,
    ) -> ConnectorOutput:
        memory, memory_mask = self.memory(visual, visual_mask)
        states, guide, read = self._queries(text, text_mask, weights=return_attention)
        grounded: Grounded = self.grounding(visual, visual_mask, text_global, presence)
        biases = iter(self._steer(grounded))
        maps: list[Tensor] = []
        for layer, reread in zip(self.layers, self.rereads, strict=True):
            states, attention = layer(
                reread(states, text, text_mask),
                memory,
                memory_mask,
                self.self_mask,
                guide,
                next(biases, None),
                weights=return_attention,
            )
            if attention is not None:
                maps.append(attention[..., :-1])  # without the null token
        states = self.norm(states)  # [B, K + L, D']
        anchored, exploratory = states.split([self.config.anchored, self.config.exploratory], dim=1)
        streams = self._summaries(anchored, exploratory)
        agreement, projections = self._agree(image_global, text_global, presence, grounded)
        gates = self._gates(streams, image_global, agreement, presence)
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

    # -- parts ---------------------------------------------------------------------------------

    def _queries(
        self, text: Tensor, text_mask: Tensor, *, weights: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """-> first states [B, Q, D'], what steers them (anchoring "guide"), the text attention."""
        parts: list[Tensor] = []
        guides: list[Tensor] = []
        read: Tensor | None = None
        if self.anchored is not None:
            slots, content, read = self.anchored(text, text_mask, weights=weights)
            guided = self.config.anchoring == "guide"
            parts.append(slots if guided else slots + content)
            guides.append(content if guided else torch.zeros_like(content))
        if self.exploratory is not None:
            slots = self.exploratory(len(text))
            parts.append(slots)
            guides.append(torch.zeros_like(slots))
        steer = self.anchored is not None and self.config.anchoring == "guide"
        return torch.cat(parts, dim=1), torch.cat(guides, dim=1) if steer else None, read

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
        return Agreement(
            shape.image_global,
            shape.text_global,
            c.agreement_width,
            shared_space=shape.shared_space,
        )

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
        self, image: Tensor, text: Tensor, presence: Tensor, grounded: Grounded
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        if self.agreement is None:
            return grounded.agreement, grounded.projections
        cosine, projections = self.agreement(image, text, presence)
        return cosine, projections

    def _gates(
        self,
        streams: dict[str, Tensor],
        image: Tensor,
        agreement: Tensor | None,
        presence: Tensor,
    ) -> dict[str, Tensor]:
        flags = presence.to(image.dtype)
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

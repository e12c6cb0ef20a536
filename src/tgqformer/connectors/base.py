"""One call for every connector, so that a rival is a drop-in and an ablation is a flag.

A rival differs from TGQ-Former in how it makes its states, and in nothing else: the same towers,
the same number of visual tokens, the same visual auxiliary loss (its stream is the mean of its
states), the same backbone. Of what is ours, one whose queries attend to the photo can take the
grounding, where it is asked for; a comparison leaves it, and what the preset has of ours behind
the connector (`embedder.fusion`), to TGQ-Former and to rows of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tgqformer.connectors.config import ConnectorConfig
from tgqformer.connectors.grounding import Grounded, Grounding, Ungrounded

if TYPE_CHECKING:
    from tgqformer.towers.base import TowerBatch


@dataclass
class ConnectorOutput:
    """What a connector hands on.

    Attributes:
        tokens: [B, Q, D] visual tokens in the width of the backbone.
        streams: name to [B, D'] summary (mean over the stream's tokens) in the connector's width.
        gates: name to [B, D'] gate value in (-1, 1); empty where there is no gate.
        attention: name to [B, Qs, P] attention over the visual tokens, averaged over heads and
            layers; filled only on request.
        text_attention: name to [B, Qs, T] attention over the metadata's tokens by which a stream's
            queries were made, averaged over heads; filled only on request.
        agreement: [B, 1] how far photo and metadata agree, a cosine; None where nobody asks.
        projections: "image" and "text" to [B, Da] unit vectors of the agreement head, for its
            contrastive loss; empty where the towers share a space.
    """

    tokens: Tensor
    streams: dict[str, Tensor] = field(default_factory=dict)
    gates: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)
    text_attention: dict[str, Tensor] = field(default_factory=dict)
    agreement: Tensor | None = None
    projections: dict[str, Tensor] = field(default_factory=dict)


class Connector(nn.Module, ABC):
    """Frozen tower states in, visual tokens for the backbone out.

    Attributes:
        num_tokens: Q, the number of visual tokens that it emits for an item.
        width: D', the width of its own states and of the stream summaries.
        stream_names: the keys of `ConnectorOutput.streams`, in order; none of them where the
            photo is not read.
        prompt_text: the backbone reads the metadata beside the visual tokens.
        needs_backbone: a backbone reads the tokens; else the streams alone are the embedding.
    """

    num_tokens: int
    width: int
    stream_names: tuple[str, ...]
    prompt_text: bool = True
    needs_backbone: bool = True

    def stream_width(self, name: str) -> int:
        """Width of a stream's summary."""
        return self.width

    @abstractmethod
    def forward(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        """Map tower states to visual tokens.

        Args:
            towers: both towers' output for B items, tokens in float32.
            return_attention: also fill `ConnectorOutput.attention` and `text_attention`.
        """


class Rival(Connector):
    """A connector with the one stream "visual" and no gates.

    Attributes:
        project: states [B, Q, D'] to tokens [B, Q, D].
        grounding: what steers the attention; nothing, unless a rival builds it.
    """

    stream_names = ("visual",)
    project: nn.Module
    grounding: Grounding | Ungrounded

    def __init__(self, config: ConnectorConfig, width: int) -> None:
        super().__init__()
        self.config, self.width, self.num_tokens = config, width, config.tokens
        self.grounding = Ungrounded()

    def forward(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        grounded: Grounded = self.grounding(towers)
        states, attention = self.states(towers, grounded.bias, weights=return_attention)
        return ConnectorOutput(
            tokens=self.project(states),
            streams={"visual": states.mean(dim=1)},
            attention={} if attention is None else {"visual": attention},
            agreement=grounded.agreement,
            projections=grounded.projections,
        )

    @abstractmethod
    def states(
        self, towers: TowerBatch, bias: Sequence[Tensor] = (), *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Tower states to the connector's own.

        Args:
            towers: of B items; most rivals do not look at the text.
            bias: of each look at the photo what is added to its scores, [B, H, 1, P + 1], the null
                token's last; none where nothing steers, or nothing attends.
            weights: also return the attention over the visual tokens.

        Returns:
            States [B, Q, D'], and the attention [B, Q, P] averaged over heads and layers, None
            where it was not asked for or there is none.
        """

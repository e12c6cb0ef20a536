"""What the rivals have in common: one stream of visual states, one projection to the backbone.

A rival differs from TGQ-Former in how it makes its states, and in nothing else: the same towers,
the same number of visual tokens, the same visual auxiliary loss (its stream is the mean of its
states), the same backbone. Of what is ours, one whose queries attend to the photo can take the
grounding, where it is asked for; a comparison leaves it, and what the preset has of ours behind the
connector (`embedder.fusion`), to TGQ-Former and to rows of their own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.config import ConnectorConfig
from tgqformer.connectors.grounding import Grounded, Grounding, Ungrounded


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
        grounded: Grounded = self.grounding(visual, visual_mask, text_global, presence)
        states, attention = self.states(
            visual, visual_mask, text, text_mask, grounded.bias, weights=return_attention
        )
        return ConnectorOutput(
            tokens=self.project(states),
            streams={"visual": states.mean(dim=1)},
            attention={} if attention is None else {"visual": attention},
            agreement=grounded.agreement,
            projections=grounded.projections,
        )

    @abstractmethod
    def states(
        self,
        visual: Tensor,
        visual_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        bias: Sequence[Tensor] = (),
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Tower states to the connector's own.

        Args:
            visual: [B, P, Dv].
            visual_mask: [B, P] bool.
            text: [B, T, Dt]; most rivals do not look at it.
            text_mask: [B, T] bool.
            bias: of each look at the photo what is added to its scores, [B, H, 1, P + 1], the null
                token's last; none where nothing steers, or nothing attends.
            weights: also return the attention over the visual tokens.

        Returns:
            States [B, Q, D'], and the attention [B, Q, P] averaged over heads and layers, None
            where it was not asked for or there is none.
        """

"""What the rivals have in common: one stream of visual states, one projection to the backbone.

A rival differs from TGQ-Former in how it makes its states, and in nothing else: the same towers,
the same number of visual tokens, the same visual auxiliary loss (its stream is the mean of its
states), the same backbone. What the preset has of ours behind the connector (`embedder.fusion`), a
comparison leaves to TGQ-Former.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.config import ConnectorConfig


class Rival(Connector):
    """A connector with the one stream "visual", no gates and no agreement head.

    Attributes:
        project: states [B, Q, D'] to tokens [B, Q, D].
    """

    stream_names = ("visual",)
    project: nn.Module

    def __init__(self, config: ConnectorConfig, width: int) -> None:
        super().__init__()
        self.config, self.width, self.num_tokens = config, width, config.tokens

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
        states, attention = self.states(
            visual, visual_mask, text, text_mask, weights=return_attention
        )
        return ConnectorOutput(
            tokens=self.project(states),
            streams={"visual": states.mean(dim=1)},
            attention={} if attention is None else {"visual": attention},
        )

    @abstractmethod
    def states(
        self,
        visual: Tensor,
        visual_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        *,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Tower states to the connector's own.

        Args:
            visual: [B, P, Dv].
            visual_mask: [B, P] bool.
            text: [B, T, Dt]; most rivals do not look at it.
            text_mask: [B, T] bool.
            weights: also return the attention over the visual tokens.

        Returns:
            States [B, Q, D'], and the attention [B, Q, P] averaged over heads and layers, None
            where it was not asked for or there is none.
        """

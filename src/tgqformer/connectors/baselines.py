"""What the parts are worth alone: metadata only, photo only, and the two frozen vectors summed.

They are trained like every other connector, with the same loss and in the same call, and differ in
what the embedding may be made of.
"""

from __future__ import annotations

from torch import Tensor, nn

from tgqformer.connectors.base import Connector, ConnectorOutput
from tgqformer.connectors.config import ConnectorConfig, ConnectorShape
from tgqformer.connectors.projectors import GridProjector


class TextOnly(Connector):
    """No visual token and no stream: the backbone reads the metadata, and nothing of the photo."""

    num_tokens = 0
    stream_names = ()

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        self.config, self.width, self.output = config, config.width, shape.output

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
        return ConnectorOutput(visual.new_zeros(len(visual), 0, self.output))


class ImageOnly(GridProjector):
    """The linear projector (LLaVA) before a backbone that reads its tokens and no metadata."""

    prompt_text = False

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__(config, shape, nn.Linear(shape.visual, shape.output))


class ClipSum(Connector):
    """CLIP-style sum: the two frozen global vectors, each projected, added up; no backbone.

    The streams are the frozen vectors as they are. The embedder gives each stream a head, layer
    norm and linear, and adds the heads' outputs up: those are the trained projections. A part that
    an item lacks is a vector of zeros, which its head turns into a learned constant.
    """

    num_tokens = 0
    stream_names = ("image", "text")
    prompt_text = False
    needs_backbone = False

    def __init__(self, config: ConnectorConfig, shape: ConnectorShape) -> None:
        super().__init__()
        self.config, self.width, self.output = config, config.width, shape.output
        self.widths = {"image": shape.image_global, "text": shape.text_global}

    def stream_width(self, name: str) -> int:
        """Width of a frozen vector."""
        return self.widths[name]

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
        shown = presence.to(image_global.dtype)
        return ConnectorOutput(
            visual.new_zeros(len(visual), 0, self.output),
            streams={"image": image_global * shown[:, :1], "text": text_global * shown[:, 1:]},
        )

"""The trained part: connector, backbone, head. The one place where the arrow is drawn.

    tower states -> connector -> visual tokens -> backbone (with the metadata) -> head -> embedding
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors import ConnectorShape, build_connector
from tgqformer.connectors.base import ConnectorOutput
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.language import Backbone, PromptBatch, load_backbone
from tgqformer.towers.base import TowerBatch


@dataclass
class ItemBatch:
    """Model input for B items.

    Attributes:
        towers: what the frozen towers say of them.
        prompt: what the backbone reads.
    """

    towers: TowerBatch
    prompt: PromptBatch

    def to(self, device: torch.device | str) -> ItemBatch:
        """The same batch on `device`."""
        return ItemBatch(self.towers.to(device), self.prompt.to(device))


@dataclass
class ItemOutput:
    """Model output for B items.

    Attributes:
        embedding: [B, D] unit vectors; None where only the connector ran.
        visual: [B, D] unit vectors from the connector's streams alone, for the visual auxiliary
            loss and to see whether the photo is neglected.
        connector: everything that the connector says.
    """

    embedding: Tensor | None
    visual: Tensor
    connector: ConnectorOutput


@dataclass(frozen=True)
class TowerShape:
    """Widths of the towers, which a model must know and a saved one remembers."""

    visual: int
    image_global: int
    text: int
    text_global: int
    shared_space: bool = False


class EmbedderModel(nn.Module):
    """Connector, backbone and head over given tower states."""

    def __init__(self, config: EmbedderConfig, shape: TowerShape) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = load_backbone(config.language)
        self.connector = build_connector(
            config.connector,
            ConnectorShape(
                visual=shape.visual,
                image_global=shape.image_global,
                text=shape.text,
                text_global=shape.text_global,
                output=self.backbone.width,
                shared_space=shape.shared_space,
            ),
        )
        self.head = nn.Linear(self.backbone.width, config.dims)
        width = self.connector.width
        self.visual_head = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.dims))
                for name in self.connector.stream_names
            }
        )
        # In nats of similarity: learned, as in CLIP; exp(log 20) is a temperature of 0.05.
        self.log_scale = nn.Parameter(torch.tensor(20.0).log())
        self.log_visual_scale = nn.Parameter(torch.tensor(20.0).log())
        self.log_agreement_scale = nn.Parameter(torch.tensor(14.0).log())

    def forward(
        self, batch: ItemBatch, *, connector_only: bool = False, return_attention: bool = False
    ) -> ItemOutput:
        """Embed a batch.

        Args:
            connector_only: leave the backbone out, for the alignment stage.
            return_attention: fill `ConnectorOutput.attention`.
        """
        t = batch.towers
        out = self.connector(
            t.visual,
            t.visual_mask,
            t.image_global,
            t.text,
            t.text_mask,
            t.text_global,
            t.presence,
            return_attention=return_attention,
        )
        visual = self._visual(out)
        unit = F.normalize(visual, dim=-1)
        if connector_only:
            return ItemOutput(None, unit, out)
        state = self.head(self.backbone(batch.prompt, out.tokens))
        if self.config.visual_residual:
            has_image = t.presence[:, :1].to(visual.dtype)
            state = state + visual * has_image
        return ItemOutput(F.normalize(state, dim=-1), unit, out)

    def _visual(self, out: ConnectorOutput) -> Tensor:
        """Sum of the heads over the streams: [B, D']s -> [B, D]."""
        views = [head(out.streams[name]) for name, head in self.visual_head.items()]
        return torch.stack(views).sum(dim=0)

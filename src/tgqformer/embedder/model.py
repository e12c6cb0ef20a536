"""The trained part: connector, backbone, head. The one place where the arrow is drawn.

tower states -> connector -> visual tokens -> backbone (with the metadata) -> head -> embedding
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors import ConnectorShape, build_connector
from tgqformer.connectors.base import ConnectorOutput
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.frozen_view import FrozenView, join
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
        embedding: [B, D] unit vectors, with the frozen view's dimensions behind them where there is
            one and the model does not train; None where only the connector ran.
        visual: [B, D] unit vectors from the connector's streams alone, for the visual auxiliary
            loss and to see whether the photo is neglected.
        connector: everything that the connector says.
        complete: [B, 1] float, 1 where the item has photo and metadata.
        scales: name to [B, 1], the learned 1 / temperature of each contrastive loss, repeated for
            each item: so every gradient of a loss flows through per-item outputs, and a gradient
            cache or a gather across processes needs no exception for them.
    """

    embedding: Tensor | None
    visual: Tensor
    connector: ConnectorOutput
    complete: Tensor
    scales: dict[str, Tensor]


@dataclass(frozen=True)
class TowerShape:
    """Widths of the towers, which a model must know and a saved one remembers."""

    visual: int
    image_global: int
    text: int
    text_global: int
    shared_space: bool = False


INITIAL_SCALES = {"embedding": 20.0, "visual": 20.0, "agreement": 14.0}
"""1 / temperature at the start, of each contrastive loss; learned, as in CLIP."""

MAX_SCALE = 100.0
"""1 / temperature is clamped to it, as in CLIP."""


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
        self.frozen_view = (
            FrozenView(shape.visual, shape.image_global, config.frozen_view)
            if config.frozen_view
            else None
        )
        self.log_scales = nn.ParameterDict(
            {name: torch.tensor(value).log() for name, value in INITIAL_SCALES.items()}
        )

    @property
    def output_dims(self) -> int:
        """Width of an embedding: the trained dimensions and those of the frozen view."""
        return self.config.dims + self.config.frozen_view

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
        unit = F.normalize(self._visual(out), dim=-1)
        scales = {
            name: log.exp().clamp(max=MAX_SCALE).expand(len(unit), 1)
            for name, log in self.log_scales.items()
        }
        complete = t.presence.all(dim=-1, keepdim=True).float()
        if connector_only:
            return ItemOutput(None, unit, out, complete, scales)
        state = self.head(self.backbone(batch.prompt, out.tokens))
        embedding = F.normalize(state, dim=-1)
        if self.frozen_view is not None and not self.training:  # the losses see the trained part
            embedding = join(embedding, self.frozen_view(t), self.config.frozen_share)
        return ItemOutput(embedding, unit, out, complete, scales)

    def _visual(self, out: ConnectorOutput) -> Tensor:
        """Sum of the heads over the streams: [B, D']s -> [B, D]."""
        views = [head(out.streams[name]) for name, head in self.visual_head.items()]
        return torch.stack(views).sum(dim=0)


@torch.no_grad()
def initialise_head(model: EmbedderModel, batch: ItemBatch) -> None:
    """Standardise what the head sees, from one batch of items (ours).

    Pooled states of an untrained stack are nearly parallel (mean cosine 0.87 after two layers of
    MiniLM), so a random head maps all items to one point and learning starts slowly. The head's
    weight is divided by the states' deviation and its bias takes their mean away: data-dependent
    initialisation, arXiv 1602.07868, section 3.
    """
    out = model.connector(**batch.towers.__dict__)
    states = model.backbone(batch.prompt, out.tokens)  # [B, D]
    if len(states) > 1:
        model.head.weight.div_(states.std(dim=0).clamp(min=1e-3))
        model.head.bias.copy_(-model.head.weight @ states.mean(dim=0))

"""The trained part: connector, backbone, head. The one place where the arrow is drawn.

tower states -> connector -> visual tokens -> backbone (with the metadata) -> head -> embedding

With a base (ours, `base.py`) the embedding starts as the frozen towers' vectors, and what is
learned is added to it, all of it zero at the start:

    b = w_photo base_i + w_metadata base_t
    embedding = unit(b + A b + s sum_j w_j stream_j / |sum_j stream_j| + head(backbone))

A is a linear map, s a number, w the weights of `Reliability`. Without a base the embedding is what
the backbone says, or, without a backbone, the sum of the streams.

NoteLLM-2 (arXiv 2405.16789) in full is the connector "notellm2", a prompt in two parts and
`fusion="late"`. Its embedding is made of h_m, its `visual` of h_v, by one gate and one head; so a
visual loss of weight 1/9 is its (9 L_m + L_v) / 10, but for the scale of the whole, which AdamW
does not see and the clipping of gradients does. The two losses have a temperature each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.connectors import ConnectorShape, build_connector
from tgqformer.connectors.base import ConnectorOutput
from tgqformer.embedder.base import FrozenBase, Reliability
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.errors import ConfigError
from tgqformer.language import Backbone, PromptBatch, load_backbone
from tgqformer.towers.base import TowerBatch

INITIAL_SCALES = {"embedding": 20.0, "visual": 20.0, "agreement": 14.0}
"""1 / temperature at the start, of each contrastive loss; learned, as in CLIP."""

MAX_LOG_SCALE = math.log(100.0)
"""Of 1 / temperature, which is clamped to 100, as in CLIP."""

STRENGTH_UNIT = 10.0
"""The strength of the streams is this times a weight, which learns at the rate of all weights."""

SHORTEST = 0.1
"""A vector below this length is not stretched to length 1 but to its tenfold: what is said of an
item of which nothing is known is zero at the start, and its gradient would have no bound."""


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
        embedding: [B, D] unit vectors; None where only the connector ran and there is no base.
        visual: [B, D] unit vectors from the connector's streams alone, or, where the prompt has two
            parts, from what the backbone says of the first (the photo), for the visual auxiliary
            loss and to see whether the photo is neglected. The embedding where there are neither.
        stream_views: name to [B, D] unit vectors from each of the connector's streams alone; their
            unnormalised sum is what `visual` is made of.
        connector: everything that the connector says.
        complete: [B, 1] float, 1 where the item has photo and metadata.
        base: [B, D] unit vectors, what the frozen base alone says; None without one.
        said: [B, D], what the streams add to the embedding before it is scaled to unit length, and
        rest: [B, D], all else of it; None without a base or without streams.
        weights: name to [B, 1], how much each part counts (`Reliability`); empty without.
        scales: name to [B, 1], the learned 1 / temperature of each contrastive loss, repeated for
            each item: so every gradient of a loss flows through per-item outputs, and a gradient
            cache or a gather across processes needs no exception for them.
    """

    embedding: Tensor | None
    visual: Tensor
    stream_views: dict[str, Tensor]
    connector: ConnectorOutput
    complete: Tensor
    scales: dict[str, Tensor]
    base: Tensor | None = None
    said: Tensor | None = None
    rest: Tensor | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TowerShape:
    """Widths of the towers, which a model must know and a saved one remembers."""

    visual: int
    image_global: int
    text: int
    text_global: int
    shared_space: bool = False
    photo_tokens: int | None = None
    words: int = 0


class EmbedderModel(nn.Module):
    """Connector, backbone, base and head over given tower states."""

    token_scale: Tensor

    def __init__(
        self,
        config: EmbedderConfig,
        shape: TowerShape,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build on the CPU; `device` is where the model will run (see `load_backbone`)."""
        super().__init__()
        self.config = config
        self.backbone: Backbone | None = (
            load_backbone(config.language, device) if config.has_backbone else None
        )
        width = config.connector.width if self.backbone is None else self.backbone.width
        widths = asdict(shape)
        del widths["words"]  # they are for the base alone
        self.connector_shape = ConnectorShape(**widths, output=width)
        self.connector = build_connector(config.connector, self.connector_shape)
        late = config.fusion == "late"
        self.head: nn.Linear | None = (
            nn.Linear(width, config.dims, bias=not late) if self.backbone is not None else None
        )
        self.two_parts = config.language.prompt.two_parts and self.connector.num_tokens > 0
        self.visual_head = nn.ModuleDict(
            {name: self._view(name) for name in self.connector.stream_names}
        )
        self.fusion = LateFusion(shape.image_global, width) if late else None
        self.base: FrozenBase | None = None
        self.adapt: nn.Linear | None = None
        self.strength: nn.Parameter | None = None
        self.reliability: Reliability | None = None
        if config.base != "none":
            self._build_base(shape)
        elif self.backbone is None and not self.visual_head:
            raise ConfigError(
                f"connector.kind '{config.connector.kind}' says nothing by itself; give it a "
                "backbone (language.kind) or a base (embedder.base)."
            )
        self.log_scales = nn.ParameterDict(
            {name: torch.tensor(value).log() for name, value in INITIAL_SCALES.items()}
        )
        if self.backbone is not None and self.connector.num_tokens:
            self.register_buffer("token_scale", torch.ones(()))
            self.scale_tokens(_drawn_towers(shape))

    @property
    def aligns(self) -> bool:
        """Whether `connector_only` leaves out something, and something is left then."""
        return self.backbone is not None and len(self.visual_head) > 0

    def _build_base(self, shape: TowerShape) -> None:
        c = self.config
        self.base = FrozenBase(shape.image_global, shape.text_global, c.dims, words=shape.words)
        if c.base == "trained":
            self.adapt = nn.Linear(c.dims, c.dims, bias=False)
            nn.init.zeros_(self.adapt.weight)
        if self.head is not None:
            for weight in self.head.parameters():
                nn.init.zeros_(weight)
        if self.visual_head:
            self.strength = nn.Parameter(torch.zeros(()))
        if c.reliability:
            parts = 2 + len(self.visual_head)
            self.reliability = Reliability(shape.image_global, shape.text_global, parts)

    def forward(
        self, batch: ItemBatch, *, connector_only: bool = False, return_attention: bool = False
    ) -> ItemOutput:
        """Embed a batch.

        Args:
            connector_only: leave the backbone out, for the alignment stage; without a base there is
                no embedding then. A connector without streams has nothing to align: its backbone
                is asked all the same, and `visual` is what it says.
            return_attention: fill `ConnectorOutput.attention`.
        """
        t = batch.towers
        out = self.connect(t, return_attention=return_attention)
        scales = {
            name: log.clamp(max=MAX_LOG_SCALE).exp().expand(len(t), 1)
            for name, log in self.log_scales.items()
        }
        complete = t.presence.all(dim=-1, keepdim=True).float()
        heads = {name: head(out.streams[name]) for name, head in self.visual_head.items()}
        streams = torch.stack(list(heads.values())).sum(dim=0) if heads else None
        photo, state = self._read(batch, out, skip=connector_only and self.aligns)
        weights: dict[str, Tensor] = {}
        said = rest = None
        if self.base is not None:
            rest, said, weights = self._around(t, out, heads, streams)
            rest = rest if state is None else state.float() + rest
            state = rest if said is None else rest + said
        elif state is None and self.backbone is None:
            state = streams
        visual = next(x for x in (photo, streams, state) if x is not None)
        return ItemOutput(
            None if state is None else _unit(state),
            _unit(visual),
            {name: _unit(x) for name, x in heads.items()},
            out,
            complete,
            scales,
            None if self.base is None else self.base_alone(t),
            said,
            None if said is None else rest,
            weights,
        )

    def connect(self, towers: TowerBatch, *, return_attention: bool = False) -> ConnectorOutput:
        """What the connector says of B items; the backbone reads `visual_tokens` of it."""
        out: ConnectorOutput = self.connector(towers.whole(), return_attention=return_attention)
        return out

    def _read(
        self, batch: ItemBatch, out: ConnectorOutput, *, skip: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """What the backbone says of a prompt's first part and of the whole, through the head."""
        if self.head is None or skip:
            return None, None
        photo, whole = self.read(batch, out)
        return None if photo is None else self.head(photo), self.head(whole)

    def _around(
        self,
        towers: TowerBatch,
        out: ConnectorOutput,
        heads: dict[str, Tensor],
        streams: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """The base as it is weighed and trained [B, D], what the streams add, and the weights."""
        assert self.base is not None
        photo, metadata = self.base(towers)
        weights: dict[str, Tensor] = {}
        if self.reliability is not None:
            names = ["photo", "metadata", *heads]
            columns = self.reliability(towers, out.agreement).split(1, dim=-1)
            weights = dict(zip(names, columns, strict=True))
            photo, metadata = weights["photo"] * photo, weights["metadata"] * metadata
        state: Tensor = photo + metadata
        if self.adapt is not None:
            state = state + self.adapt(state).float()
        if streams is None or self.strength is None:
            return state, None, weights
        length = streams.float().norm(dim=-1, keepdim=True).clamp(min=1e-6)
        said = sum(weights.get(name, 1.0) * x.float() for name, x in heads.items())
        return state, STRENGTH_UNIT * self.strength * said / length, weights

    def base_alone(self, towers: TowerBatch) -> Tensor:
        """[B, D] unit vectors of the frozen base: what the model says before it is trained."""
        assert self.base is not None
        return _unit(torch.stack(self.base(towers)).sum(dim=0))

    @contextmanager
    def strengthened(self, factor: float) -> Iterator[None]:
        """Inside this block the streams count `factor` times as much beside the base."""
        before = None if self.strength is None else self.strength.detach().clone()
        try:
            if self.strength is not None:
                self.strength.data.mul_(factor)
            yield
        finally:
            if self.strength is not None and before is not None:
                self.strength.data.copy_(before)

    @torch.no_grad()
    def clamp_scales(self) -> None:
        """Take scales back to their limit, above which no gradient would: after every step."""
        for log in self.log_scales.values():
            log.clamp_(max=MAX_LOG_SCALE)

    def read(self, batch: ItemBatch, out: ConnectorOutput) -> tuple[Tensor | None, Tensor]:
        """What the backbone says, with the tower's global vector where `fusion` is "late".

        Returns:
            Its states [B, D'] of the prompt's first part, None where there is one part alone, and
            of the whole.
        """
        assert self.backbone is not None
        t, photo = batch.towers, None
        tokens = self.visual_tokens(out)
        if self.two_parts:
            photo, whole = self.backbone.parts(batch.prompt, tokens)
        else:
            whole = self.backbone(batch.prompt, tokens)
        if self.fusion is None:
            return photo, whole
        has_image = t.presence[:, :1]
        if photo is not None:
            photo = self.fusion(photo, t.image_global, has_image)
        return photo, self.fusion(whole, t.image_global, has_image)

    def visual_tokens(self, out: ConnectorOutput) -> Tensor:
        """[B, Q, D] the connector's tokens at the scale of the backbone's own embeddings (ours).

        They start at the mean norm of those: a token of another scale is either a whisper beside
        the words or drowns them (Gemma's are 40 times as long as those of most models). The factor
        is no weight: it is set before the first step and stays.
        """
        return out.tokens * self.token_scale if self.connector.num_tokens else out.tokens

    @torch.no_grad()
    def scale_tokens(self, towers: TowerBatch) -> None:
        """Set the factor of `visual_tokens` by a batch of items; those without a photo are passed.

        Nothing changes on the meta device, or where no item has a photo.
        """
        if self.backbone is None or not self.connector.num_tokens or towers.presence.is_meta:
            return
        own = self.connect(towers).tokens[towers.presence[:, 0]].float()
        if not own.numel():
            return
        norm = float(own.norm(dim=-1).mean())
        if norm > 0:
            self.token_scale.fill_(self.backbone.embedding_norm() / norm)

    def _view(self, name: str) -> nn.Sequential:
        """The head of one stream."""
        width = self.connector.stream_width(name)
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.config.dims))


def _drawn_towers(shape: TowerShape, items: int = 8) -> TowerBatch:
    """Random tower states, the same ones every time: what is known before there is a catalog."""
    generator = torch.Generator(device="cpu").manual_seed(0)

    def drawn(*size: int) -> Tensor:
        on_cpu = torch.randn(items, *size, generator=generator, device="cpu")
        return torch.empty(on_cpu.shape).copy_(on_cpu)  # on the device that is being built on

    def all_real(*size: int) -> Tensor:
        return torch.ones(items, *size, dtype=torch.bool)

    photo, words = shape.photo_tokens or 16, 8
    return TowerBatch(
        drawn(1, shape.visual).expand(-1, photo, -1),  # alike, as neighbours in a photo are
        all_real(photo),
        drawn(shape.image_global),
        drawn(words, shape.text),
        all_real(words),
        drawn(shape.text_global),
        all_real(2),
        drawn(shape.words),
    )


def _unit(vectors: Tensor) -> Tensor:
    """[B, D] of any precision -> float32 of length 1, which bfloat16 misses by up to 0.4 %."""
    return F.normalize(vectors.float(), dim=-1, eps=SHORTEST)


@torch.no_grad()
def initialise_head(model: EmbedderModel, batch: ItemBatch) -> None:
    """Set the head to where it starts: to standardise what it sees of a batch of items (ours).

    The factor of the visual tokens is set by the same items (`EmbedderModel.visual_tokens`).

    Pooled states of an untrained stack are nearly parallel (mean cosine 0.87 after two layers of
    MiniLM), so a random head maps all items to one point and learning starts slowly. The head's
    weight is divided by the states' deviation and its bias takes their mean away: data-dependent
    initialisation, arXiv 1602.07868, section 3. A head without bias loses the mean's direction from
    its weight. Without a backbone the heads of the streams are treated so, over the items that have
    the part. With a base the head stays where it is, at zero: the embedding is the base then.
    """
    out = model.connect(batch.towers)
    model.scale_tokens(batch.towers)
    if model.head is not None and model.base is not None:
        return
    if model.head is not None:
        standardise(model.head, model.read(batch, out)[1])
        return
    for name in model.connector.stream_names:
        stream = out.streams[name]
        present = stream[stream.any(dim=-1)]
        norm, linear = model.visual_head[name].children()
        assert isinstance(linear, nn.Linear)
        standardise(linear, norm(present))


def standardise(head: nn.Linear, states: Tensor) -> None:
    """Make a head's outputs for the states [B, D] centred, with every channel of equal weight.

    Nothing changes where there are fewer than two states.
    """
    if len(states) < 2:
        return
    bias: Tensor | None = head.bias
    mean, deviation = states.mean(dim=0), states.std(dim=0).clamp(min=1e-3)
    if bias is None:
        along = F.normalize(mean / deviation, dim=0)
        head.weight.sub_(torch.outer(head.weight @ along, along))
    head.weight.div_(deviation)
    if bias is not None:
        bias.copy_(-head.weight @ mean)


class LateFusion(nn.Module):
    """The tower's global vector beside the backbone's state (NoteLLM-2, arXiv 2405.16789).

        v = W_p g;   z = sigmoid(W [h; v]);   e = z * h + (1 - z) * v          no biases

    h is the backbone's pooled state and g CLIP's class token in the paper. Departures: g is the
    tower's global vector, because not every tower has a class token, and is normalised first,
    because towers differ in scale by orders; an item without a photo has nothing to fuse, so there
    e = h.
    """

    def __init__(self, image_global: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(image_global)
        self.project = nn.Linear(image_global, width, bias=False)
        self.gate = nn.Linear(2 * width, width, bias=False)

    def forward(self, state: Tensor, image_global: Tensor, has_image: Tensor) -> Tensor:
        """Fuse.

        Args:
            state: [B, D], h.
            image_global: [B, Dg], g.
            has_image: [B, 1] bool.

        Returns:
            [B, D], e.
        """
        seen = self.project(self.norm(image_global))  # [B, Dg] -> [B, D]
        gate = torch.sigmoid(self.gate(torch.cat([state, seen], dim=-1)))
        return torch.where(has_image, gate * state + (1 - gate) * seen, state)

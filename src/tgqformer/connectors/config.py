"""Options of the connectors. Every part of TGQ-Former is a switch, so an ablation is a flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tgqformer.errors import ConfigError


@dataclass
class ConnectorConfig:
    """Options of a connector.

    Attributes:
        kind: which connector: a key of `tgqformer.connectors.build.CONNECTORS`.
        width: width of the query states.
        heads: attention heads; must divide `width`.
        layers: layers of the Q-Formers and the Perceiver resampler; blocks on each side of the
            C-Abstractor's pooling.
        ffn: width of the feed-forward layers, as a multiple of `width`.
        dropout: dropout after attention and feed-forward.
        anchored: number of metadata-anchored queries, K; 0 removes the stream.
        exploratory: number of exploratory queries, L; 0 removes the stream. A rival has one stream
            of K + L tokens.
        mixing: let the two streams see each other in self-attention (off: block-diagonal).
        anchored_gate: scale the anchored stream by its reliability gate.
        exploratory_gate: scale the exploratory stream by its gate.
        metadata: what the connector reads of it. "all" (ours): every field anchors the queries, and
            the photo is compared with all of them. "paper": title, brand and category anchor, and
            the agreement is of the photo and the title; grounding, where it is on, is by the title
            too.
        agreement_input: show the image-text agreement to the anchored gate. Grounding tells it all
            the same, for whoever inspects the model.
        agreement_width: width of the learned agreement projections, where the towers share no
            space.
        grounding: steer attention by token-level agreement with the metadata (`grounding.py`,
            ours): of "all" queries, of the "anchored" ones, or of "none" (the paper). "auto" is
            "all" in TGQ-Former and "none" in a rival; a rival whose queries attend to the photo
            takes "all" too. It takes the place of the global agreement.
        abstain: let grounding steer less the less photo and metadata agree at all.
        positions: tell where each visual token lies in its photo (ours), where the tower's tokens
            are a grid; for every connector whose queries attend to them.
        cross_every: the rivals "qformer", "qformer_text" and "notellm2" look at the photo in the
            first layer and every so many layers after it; 2 is published, 1 is TGQ-Former's own.
        notellm2_layers: layers of the rival "notellm2", in place of `layers`; 6 is published.
    """

    kind: str = "tgqformer"
    width: int = 256
    heads: int = 8
    layers: int = 2
    ffn: int = 4
    dropout: float = 0.0
    anchored: int = 4
    exploratory: int = 4
    mixing: bool = False
    anchored_gate: bool = True
    exploratory_gate: bool = True
    metadata: Literal["all", "paper"] = "all"
    agreement_input: bool = True
    agreement_width: int = 128
    grounding: Literal["auto", "none", "anchored", "all"] = "auto"
    abstain: bool = True
    positions: bool = True
    cross_every: int = 2
    notellm2_layers: int = 6

    dropped: ClassVar[dict[str, object]] = {"anchoring": "initial", "reread": False}

    def __post_init__(self) -> None:
        for name in ("width", "layers", "ffn", "agreement_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"connector.{name} ({getattr(self, name)}) must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"connector.dropout ({self.dropout}) must lie in [0, 1).")
        if self.heads < 1 or self.width % self.heads:
            raise ConfigError(
                f"connector.heads ({self.heads}) must divide connector.width ({self.width})."
            )
        if min(self.anchored, self.exploratory) < 0 or self.anchored + self.exploratory == 0:
            raise ConfigError(
                f"connector.anchored ({self.anchored}) and connector.exploratory "
                f"({self.exploratory}) must not be negative, and one of them must be positive."
            )
        for name in ("cross_every", "notellm2_layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"connector.{name} ({getattr(self, name)}) must be 1 or more.")
        if self.grounding == "anchored" and self.kind != "tgqformer":
            raise ConfigError(
                f"connector.grounding 'anchored' asks for anchored queries, and connector.kind "
                f"'{self.kind}' has none; choose all or none."
            )

    @property
    def steered(self) -> Literal["none", "anchored", "all"]:
        """Which queries grounding steers: `grounding` with "auto" decided."""
        if self.grounding == "auto":
            return "all" if self.kind == "tgqformer" else "none"
        return self.grounding

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The fields of an item that anchor: see `metadata`."""
        anchoring = ("title", "brand", "category")
        return anchoring if self.metadata == "paper" else (*anchoring, "attributes")

    @property
    def tokens(self) -> int:
        """Q, the visual tokens that every connector emits for an item: K + L."""
        return self.anchored + self.exploratory


@dataclass(frozen=True)
class ConnectorShape:
    """Widths around a connector, known once the towers and the backbone are.

    Attributes:
        visual: Dv, width of the visual tokens.
        image_global: Dg, width of the global image vector.
        text: Dt, width of the text tokens.
        text_global: Dtg, width of the global text vector.
        output: D, width of the backbone's input embeddings.
        shared_space: the two global vectors live in one space, so their cosine is meaningful.
        photo_tokens: visual tokens of a photo; None where it varies from photo to photo.
    """

    visual: int
    image_global: int
    text: int
    text_global: int
    output: int
    shared_space: bool = False
    photo_tokens: int | None = None

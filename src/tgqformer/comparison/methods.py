"""Which methods are compared: each a name and what it changes of the preset.

An assignment may hold `{tokens}`, the number of visual tokens of the preset (K + L), so that every
method hands on as many as ours. A Q-Former of two layers that looks at the photo in every second
one, as published, looks once, while ours looks in every layer: the rivals here look in every layer
too, the stronger reading; the published one is named beside them and not part of "all".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tgqformer.comparison.metadata import Metadata
from tgqformer.config import override
from tgqformer.errors import ConfigError
from tgqformer.language import NOTELLM2_PROMPT
from tgqformer.training.config import RunConfig

Group: TypeAlias = Literal["ours", "rival", "simple", "frozen", "ablation"]

OURS = "tgqformer"


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        label: as tables show it.
        group: "frozen" methods are not trained.
        overrides: assignments over the preset, as for --set.
        note: one sentence on what it is.
        metadata: what its metadata is in training and in evaluation, where not the items' own.
        frozen: of a frozen method, the towers whose vectors stand side by side.
    """

    label: str
    group: Group
    overrides: tuple[str, ...] = ()
    note: str = ""
    metadata: Metadata | None = None
    frozen: tuple[Literal["image", "text"], ...] = ()

    def assignments(self, config: RunConfig) -> tuple[str, ...]:
        """`overrides` with the preset's number of tokens put in."""
        tokens = str(config.embedder.connector.tokens)
        return tuple(a.replace("{tokens}", tokens) for a in self.overrides)

    def configure(self, config: RunConfig) -> RunConfig:
        """The configuration of this method over a preset's.

        Raises:
            ConfigError: an assignment is unknown here, or breaks a rule.
        """
        return override(config, self.assignments(config))


def _kind(name: str, *more: str) -> tuple[str, ...]:
    return (f"embedder.connector.kind={name}", *more)


def _rival(name: str, *more: str, fusion: str = "none", grounding: str = "none") -> tuple[str, ...]:
    """As published: without our grounding and our path around the backbone, but where asked for."""
    return _kind(
        name, f"embedder.connector.grounding={grounding}", f"embedder.fusion={fusion}", *more
    )


def _grounded(label: str, name: str, *more: str) -> Method:
    return Method(
        f"{label}, with grounding",
        "rival",
        _rival(name, *more, grounding="all"),
        "token-level agreement of photo and metadata steers its attention, as in ours",
    )


_TWO_PARTS = tuple(f"embedder.language.prompt.{k}={v}" for k, v in NOTELLM2_PROMPT.items())
_EVERY_LAYER = "embedder.connector.cross_every=1"
_EVERY_SECOND = "embedder.connector.cross_every=2"

METHODS: dict[str, Method] = {
    OURS: Method("TGQ-Former", "ours", _kind("tgqformer"), "anchored and exploratory, gated"),
    "notellm2": Method(
        "NoteLLM-2",
        "rival",
        _rival("notellm2", "training.loss.visual=0.111111", *_TWO_PARTS, fusion="late"),
        "in full: a Q-Former of six layers with three looks, a prompt in two parts, late fusion, "
        "9 : 1 loss",
    ),
    "qformer_text": Method(
        "Q-Former + text",
        "rival",
        _rival("qformer_text", _EVERY_LAYER),
        "InstructBLIP's: queries and metadata share self-attention; a look in every layer",
    ),
    "qformer": Method(
        "Q-Former",
        "rival",
        _rival("qformer", _EVERY_LAYER),
        "BLIP-2's, without text; a look in every layer",
    ),
    "perceiver": Method("Perceiver resampler", "rival", _rival("perceiver"), "Flamingo's"),
    "cabstractor": Method("C-Abstractor", "rival", _rival("cabstractor"), "Honeybee's"),
    "mlp": Method("MLP projector", "rival", _rival("mlp"), "LLaVA's, over pooled regions"),
    "linear": Method("linear projector", "rival", _rival("linear"), "over pooled regions"),
    "mean": Method("mean pooling", "simple", _rival("mean"), "the mean of the photo's tokens"),
    "clip_sum": Method(
        "CLIP-style sum",
        "simple",
        _rival("clip_sum"),
        "the two frozen vectors, each projected, summed; no backbone",
    ),
    "image_only": Method(
        "photo only", "simple", _rival("image_only"), "the backbone reads no metadata"
    ),
    "text_only": Method("text only", "simple", _rival("text_only"), "the backbone reads no photo"),
    "frozen_text": Method(
        "text (frozen)", "frozen", note="the text tower's vector", frozen=("text",)
    ),
    "frozen_image": Method(
        "photo (frozen)", "frozen", note="the image tower's vector", frozen=("image",)
    ),
    "frozen_both": Method(
        "photo + text (frozen)", "frozen", note="the two side by side", frozen=("image", "text")
    ),
}
"""What `--connectors all` compares, in the order of the tables."""

EXTRA: dict[str, Method] = {
    "notellm2_connector": Method(
        "NoteLLM-2's connector",
        "rival",
        _rival("notellm2"),
        "its Q-Former inside our pipeline: our prompt and losses, no fusion",
    ),
    "qformer_published": Method(
        "Q-Former, as published",
        "rival",
        _rival("qformer", _EVERY_SECOND),
        "a look in every second layer",
    ),
    "qformer_text_published": Method(
        "Q-Former + text, as published",
        "rival",
        _rival("qformer_text", _EVERY_SECOND),
        "a look in every second layer",
    ),
    "perceiver_streams": Method(
        "Perceiver resampler, with our path",
        "rival",
        _rival("perceiver", fusion="streams"),
        "what its stream says is added behind the backbone, as in ours",
    ),
    "qformer_text_streams": Method(
        "Q-Former + text, with our path",
        "rival",
        _rival("qformer_text", _EVERY_LAYER, fusion="streams"),
        "what its stream says is added behind the backbone, as in ours",
    ),
    "qformer_grounded": _grounded("Q-Former", "qformer", _EVERY_LAYER),
    "qformer_text_grounded": _grounded("Q-Former + text", "qformer_text", _EVERY_LAYER),
    "perceiver_grounded": _grounded("Perceiver resampler", "perceiver"),
    "notellm2_connector_grounded": _grounded("NoteLLM-2's connector", "notellm2"),
}
"""Other readings of a rival than the one in METHODS; compared when named."""


def find_methods(names: Sequence[str], *, ablations: bool = False) -> dict[str, Method]:
    """Methods by name; "all" stands for METHODS, and `ablations` adds those of ours.

    Raises:
        ConfigError: a name is unknown, or there is none.
    """
    from tgqformer.comparison.ablations import ABLATIONS

    known = METHODS | EXTRA | ABLATIONS
    chosen: dict[str, Method] = {}
    for name in [name.strip() for name in names if name.strip()]:
        if name != "all" and name not in known:
            raise ConfigError(
                f"method '{name}' is unknown; choose from all, {', '.join(known)}, joined by "
                "commas."
            )
        chosen |= METHODS if name == "all" else {name: known[name]}
    if ablations:
        chosen |= {OURS: METHODS[OURS]} | ABLATIONS
    if not chosen:
        raise ConfigError('no method is named; give --connectors names, or "all".')
    return chosen

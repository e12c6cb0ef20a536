"""Which methods are compared: each a name and what it changes of the preset.

Every rival stands in the table twice. As published: without the frozen base, reliability, noise
views and grounding, which are ours, and with a backbone that reads its tokens, behind an alignment
stage. With everything (`<name>_full`): with all of these that it can take, and a backbone only
where the preset has one, so that its connector is all in which it differs from ours.

An assignment may hold `{tokens}`, the number of visual tokens of the preset (K + L), so that every
method hands on as many as ours; and `{backbone}`, the preset's kind of backbone, "hf" where it has
none. A Q-Former of two layers that looks at the photo in every second one, as in its paper, looks
once, while ours looks in every layer: the rivals here look in every layer too, the stronger
reading; the other one is named beside them and not part of "all".
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
        fitted: they do so as the frozen base has them, fitted to the catalog.
        collaborative: scores by the catalog's training pairs alone, without content: a name of
            `evaluation.collaborative.REFERENCES`.
    """

    label: str
    group: Group
    overrides: tuple[str, ...] = ()
    note: str = ""
    metadata: Metadata | None = None
    frozen: tuple[Literal["image", "text"], ...] = ()
    fitted: bool = False
    collaborative: str | None = None

    @property
    def untrained(self) -> bool:
        """No run of ours, and so no seeds and no rates."""
        return bool(self.frozen) or self.collaborative is not None

    def assignments(self, config: RunConfig) -> tuple[str, ...]:
        """`overrides` with the preset's number of tokens and kind of backbone put in."""
        tokens, backbone = str(config.embedder.connector.tokens), config.embedder.language.kind
        known = {"{tokens}": tokens, "{backbone}": "hf" if backbone == "none" else backbone}
        found = self.overrides
        for name, value in known.items():
            found = tuple(assignment.replace(name, value) for assignment in found)
        return found

    def configure(self, config: RunConfig) -> RunConfig:
        """The configuration of this method over a preset's.

        Raises:
            ConfigError: an assignment is unknown here, or breaks a rule.
        """
        return override(config, self.assignments(config))


def _kind(name: str, *more: str) -> tuple[str, ...]:
    return (f"embedder.connector.kind={name}", *more)


def _published(kind: str, *more: str, fusion: str = "none") -> tuple[str, ...]:
    """As its paper has it: nothing of ours, and a backbone behind an alignment stage."""
    return _kind(
        kind,
        *NOTHING_OF_OURS,
        f"embedder.fusion={fusion}",
        "embedder.language.kind={backbone}",
        "training.alignment_steps=-1",
        *more,
    )


def _full(
    label: str,
    kind: str,
    *more: str,
    group: Group = "rival",
    steered: bool = True,
    note: str = "",
) -> Method:
    """With everything of ours that it can take; `steered` where there is attention to steer."""
    grounding = "all" if steered else "none"
    return Method(
        f"{label}, with everything",
        group,
        _kind(kind, f"{_C}.grounding={grounding}", "embedder.fusion=none", *more),
        note + "with our base, reliability, noise views" + " and grounding" * steered,
    )


_C = "embedder.connector"
NOTHING_OF_OURS = (
    "embedder.base=none",
    "embedder.reliability=false",
    "training.noise.views=0",
    "training.popularity=0",
    f"{_C}.grounding=none",
)
_TWO_PARTS = tuple(f"embedder.language.prompt.{k}={v}" for k, v in NOTELLM2_PROMPT.items())
_EVERY_LAYER = f"{_C}.cross_every=1"
_EVERY_SECOND = f"{_C}.cross_every=2"

METHODS: dict[str, Method] = {
    OURS: Method("TGQ-Former", "ours", _kind("tgqformer"), "anchored and exploratory, gated"),
    "qformer_text": Method(
        "Q-Former + text",
        "rival",
        _published("qformer_text", _EVERY_LAYER),
        "InstructBLIP's: queries and metadata share self-attention; a look in every layer",
    ),
    "qformer_text_full": _full("Q-Former + text", "qformer_text", _EVERY_LAYER),
    "perceiver": Method("Perceiver resampler", "rival", _published("perceiver"), "Flamingo's"),
    "perceiver_full": _full("Perceiver resampler", "perceiver"),
    "qformer": Method(
        "Q-Former",
        "rival",
        _published("qformer", _EVERY_LAYER),
        "BLIP-2's, without text; a look in every layer",
    ),
    "qformer_full": _full("Q-Former", "qformer", _EVERY_LAYER),
    "notellm2": Method(
        "NoteLLM-2",
        "rival",
        _published("notellm2", "training.loss.visual=0.111111", *_TWO_PARTS, fusion="late"),
        "in full: a Q-Former of six layers with three looks, a prompt in two parts, late fusion, "
        "9 : 1 loss",
    ),
    "notellm2_full": _full(
        "NoteLLM-2", "notellm2", note="its connector, our base in the place of its late fusion; "
    ),
    "cabstractor": Method("C-Abstractor", "rival", _published("cabstractor"), "Honeybee's"),
    "mlp": Method("MLP projector", "rival", _published("mlp"), "LLaVA's, over pooled regions"),
    "linear": Method("linear projector", "rival", _published("linear"), "over pooled regions"),
    "mean": Method("mean pooling", "simple", _published("mean"), "the mean of the photo's tokens"),
    "clip_sum": Method(
        "CLIP-style sum",
        "simple",
        _kind("clip_sum", *NOTHING_OF_OURS, "embedder.fusion=none"),
        "the two frozen vectors, each projected, summed; no backbone",
    ),
    "clip_sum_full": _full("CLIP-style sum", "clip_sum", group="simple", steered=False),
    "image_only": Method(
        "photo only", "simple", _published("image_only"), "the backbone reads no metadata"
    ),
    "text_only": Method(
        "text only", "simple", _published("text_only"), "the backbone reads no photo"
    ),
    "frozen_text": Method(
        "text (frozen)", "frozen", note="the text tower's vector", frozen=("text",)
    ),
    "frozen_image": Method(
        "photo (frozen)", "frozen", note="the image tower's vector", frozen=("image",)
    ),
    "frozen_both": Method(
        "photo + text (frozen)", "frozen", note="the two side by side", frozen=("image", "text")
    ),
    "base": Method(
        "frozen base",
        "frozen",
        _kind("clip_sum", "embedder.base=frozen", "embedder.fusion=none"),
        "what a run of ours starts as: photo, text and words, half whitened, as wide as it",
        frozen=("image", "text"),
        fitted=True,
    ),
}
"""What `--connectors all` compares, in the order of the tables."""

EXTRA: dict[str, Method] = {
    "notellm2_connector": Method(
        "NoteLLM-2's connector",
        "rival",
        _published("notellm2"),
        "its Q-Former alone: our prompt and losses, no fusion",
    ),
    "qformer_every_second": Method(
        "Q-Former, a look in every second layer", "rival", _published("qformer", _EVERY_SECOND)
    ),
    "qformer_text_every_second": Method(
        "Q-Former + text, a look in every second layer",
        "rival",
        _published("qformer_text", _EVERY_SECOND),
    ),
    "cabstractor_full": _full("C-Abstractor", "cabstractor", steered=False),
}
"""Other readings of a rival than those in METHODS; compared when named."""


COLLABORATIVE: dict[str, Method] = {
    name: Method(label, "frozen", note=note, collaborative=name)
    for name, label, note in (
        ("popularity", "popularity", "the items of most training pairs, whatever is asked"),
        ("item_cosine", "item-to-item cosine", "the co-view table of the training pairs"),
        ("ease", "EASE", "Steck's, on the training pairs"),
    )
}
"""What a shop has without content; compared when named, as a cold query tells nothing of them."""


def find_methods(names: Sequence[str], *, ablations: bool = False) -> dict[str, Method]:
    """Methods by name; "all" stands for METHODS, and `ablations` adds those of ours.

    Raises:
        ConfigError: a name is unknown, or there is none.
    """
    from tgqformer.comparison.ablations import ABLATIONS

    known = METHODS | EXTRA | COLLABORATIVE | ABLATIONS
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

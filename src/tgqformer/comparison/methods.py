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

ABLATIONS are what TGQ-Former is without each of its parts, with those that a preset leaves out, and
trained with other metadata; each has the sweep and the seeds of every other method, and one that a
preset is already is left out (`plan.Plan.chosen`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tgqformer.catalog.items import Item
from tgqformer.catalog.text import TEXT_FIELDS, item_text
from tgqformer.config import override
from tgqformer.errors import ConfigError
from tgqformer.language import NOTELLM2_PROMPT
from tgqformer.training.config import RunConfig

Group: TypeAlias = Literal["ours", "rival", "simple", "frozen", "ablation"]
OURS = "tgqformer"
_SEED = 5
_C = "embedder.connector"
_REGULARISER = "training.loss.redundancy"
_EXPLORATORY = "training.loss.exploratory"
_NOISE = "training.noise"


@dataclass(frozen=True)
class Metadata:
    """What takes the place of the items' own metadata.

    Attributes:
        label: as tables show it.
        fields: of which the text is made; none of them is no metadata at all.
        shuffle: each item that has a text is given another one's.
        backbone: the backbone reads it too, not only the connector.
        note: one sentence.
    """

    label: str
    fields: tuple[str, ...] = TEXT_FIELDS
    shuffle: bool = False
    backbone: bool = False
    note: str = ""

    def texts(self, items: Sequence[Item]) -> dict[str, str]:
        """Item id to text; the same for the same items in the same order."""
        told = {item.item_id: item_text(item, fields=self.fields) for item in items}
        if self.shuffle:
            known = [item_id for item_id, text in told.items() if text]
            order = np.random.default_rng(_SEED).permutation(len(known))
            moved = {known[i]: told[known[j]] for i, j in zip(order, np.roll(order, 1))}
            told |= moved
        return told


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


def find_methods(names: Sequence[str], *, ablations: bool = False) -> dict[str, Method]:
    """Methods by name; "all" stands for METHODS, and `ablations` adds those of ours.

    Raises:
        ConfigError: a name is unknown, or there is none.
    """
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


def _kind(name: str, *more: str) -> tuple[str, ...]:
    return (f"embedder.connector.kind={name}", *more)


def _published(kind: str, *more: str, fusion: str = "none") -> tuple[str, ...]:
    """As its paper has it: nothing of ours, and a backbone behind an alignment stage."""
    return _kind(
        kind,
        *_NOTHING_OF_OURS,
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


def _without(label: str, *overrides: str, note: str = "") -> Method:
    return Method(label, "ablation", overrides, note)


def _queries(anchored: int, exploratory: int) -> Method:
    return _without(
        f"{anchored} + {exploratory} queries",
        f"{_C}.anchored={anchored}",
        f"{_C}.exploratory={exploratory}",
        note="anchored + exploratory",
    )


def _gates(anchored: bool, exploratory: bool) -> tuple[str, ...]:
    return (
        f"{_C}.anchored_gate={str(anchored).lower()}",
        f"{_C}.exploratory_gate={str(exploratory).lower()}",
    )


def _trained_with(metadata: Metadata) -> Method:
    return Method(f"{metadata.label}, trained so", "ablation", (), metadata.note, metadata)


SHUFFLED = Metadata(
    "shuffled for the connector",
    shuffle=True,
    note="the connector is guided by another item's metadata; the backbone reads the right one",
)
SHUFFLED_BOTH = Metadata(
    "shuffled for both", shuffle=True, backbone=True, note="connector and backbone are misled"
)
TITLE_ONLY = Metadata(
    "title only for the connector", fields=("title",), note="the backbone reads all"
)
CATEGORY_ONLY = Metadata(
    "category only for the connector", fields=("category",), note="the backbone reads all"
)
NO_METADATA = Metadata(
    "no metadata for the connector", fields=(), note="the backbone reads all of it"
)
CONDITIONS: dict[str, Metadata] = {
    "judged_title": TITLE_ONLY,
    "judged_category": CATEGORY_ONLY,
    "judged_no_metadata": NO_METADATA,
    "judged_shuffled": SHUFFLED,
    "judged_shuffled_both": SHUFFLED_BOTH,
}
_NOTHING_OF_OURS = (
    "embedder.base=none",
    "embedder.reliability=false",
    "training.noise.views=0",
    "training.popularity=0",
    f"{_C}.grounding=none",
)
_TWO_PARTS = tuple(f"embedder.language.prompt.{k}={v}" for k, v in NOTELLM2_PROMPT.items())
_EVERY_LAYER = f"{_C}.cross_every=1"
_EVERY_SECOND = f"{_C}.cross_every=2"
_AGREEMENT = f"{_C}.agreement_input"
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
        _kind("clip_sum", *_NOTHING_OF_OURS, "embedder.fusion=none"),
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
ABLATIONS: dict[str, Method] = {
    "no_base": _without(
        "no frozen base",
        "embedder.base=none",
        "embedder.reliability=false",
        note="the embedding is what is learned and nothing else; nothing for reliability to weigh",
    ),
    "frozen_base": _without(
        "base without a trained map", "embedder.base=frozen", note="the towers' vectors as they are"
    ),
    "no_reliability": _without(
        "no reliability", "embedder.reliability=false", note="base and streams count alike for all"
    ),
    "no_noise": _without("no noise views", f"{_NOISE}.views=0", note="trained on pairs alone"),
    "no_metadata_faults": _without(
        "no faults of metadata",
        f"{_NOISE}.metadata=0",
        note="noise views have noisy photos, and metadata that is right",
    ),
    "no_anchored": _without(
        "no anchored queries",
        f"{_C}.anchored=0",
        f"{_C}.exploratory={{tokens}}",
        note="as many queries, all exploratory",
    ),
    "no_exploratory": _without(
        "no exploratory queries",
        f"{_C}.anchored={{tokens}}",
        f"{_C}.exploratory=0",
        note="as many queries, all anchored",
    ),
    "no_gates": _without("no gates", *_gates(False, False)),
    "anchored_gate_only": _without("anchored gate only", *_gates(True, False)),
    "exploratory_gate_only": _without("exploratory gate only", *_gates(False, True)),
    "no_agreement": _without(
        "gates without the agreement",
        *_gates(True, True),
        f"{_AGREEMENT}=false",
        note="the anchored gate does not see how far photo and metadata agree",
    ),
    "with_agreement": _without(
        "gates with the agreement",
        *_gates(True, True),
        f"{_AGREEMENT}=true",
        note="the anchored gate sees how far photo and metadata agree, the paper's",
    ),
    "no_regulariser": _without(
        "no regulariser", f"{_REGULARISER}=0", note="the streams may say the same"
    ),
    "with_regulariser": _without("with the regulariser", f"{_REGULARISER}=0.1", note="the paper's"),
    "regulariser_only": _without(
        "regulariser without gates", *_gates(False, False), f"{_REGULARISER}=0.1"
    ),
    "no_exploratory_loss": _without(
        "no exploratory loss",
        f"{_EXPLORATORY}=0",
        note="nothing is asked of the exploratory stream by itself",
    ),
    "with_exploratory_loss": _without(
        "with the exploratory loss",
        f"{_EXPLORATORY}=0.5",
        note="the exploratory stream has to tell items apart by itself, which is ours",
    ),
    "mixed_streams": _without(
        "streams mixed", f"{_C}.mixing=true", note="one self-attention over both streams"
    ),
    "no_grounding": _without(
        "no grounding",
        f"{_C}.grounding=none",
        note="attention is not steered by token-level agreement, which is ours",
    ),
    "anchored_grounding": _without(
        "grounding of the anchored queries only", f"{_C}.grounding=anchored"
    ),
    "no_abstain": _without(
        "grounding that does not abstain",
        f"{_C}.abstain=false",
        note="it steers as much where photo and metadata do not agree",
    ),
    "with_backbone": _without(
        "with a backbone",
        "embedder.language.kind={backbone}",
        note="a language model reads the connector's tokens and the metadata",
    ),
    "no_backbone": _without("no backbone", "embedder.language.kind=none", "embedder.fusion=none"),
    "no_positions": _without("no positions", f"{_C}.positions=false"),
    "tgqformer_paper": _without(
        "TGQ-Former as the paper has it",
        *_NOTHING_OF_OURS,
        f"{_C}.positions=false",
        f"{_C}.metadata=paper",
        *_gates(True, True),
        f"{_AGREEMENT}=true",
        f"{_REGULARISER}=0.1",
        f"{_EXPLORATORY}=0",
        "training.loss.visual=0",
        "training.alignment_steps=0",
        "embedder.fusion=none",
        "embedder.language.kind={backbone}",
        note="all that is in the paper and nothing of ours, a backbone behind it",
    ),
    "queries_2_2": _queries(2, 2),
    "queries_4_4": _queries(4, 4),
    "queries_8_8": _queries(8, 8),
    "queries_6_2": _queries(6, 2),
    "queries_2_6": _queries(2, 6),
    "trained_title": _trained_with(TITLE_ONLY),
    "trained_category": _trained_with(CATEGORY_ONLY),
    "trained_no_metadata": _trained_with(NO_METADATA),
    "trained_shuffled": _trained_with(SHUFFLED),
    "trained_shuffled_both": _trained_with(SHUFFLED_BOTH),
}

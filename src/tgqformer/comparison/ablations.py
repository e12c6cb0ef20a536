"""What TGQ-Former is without each of its parts, with those that a preset leaves out, and with other
metadata. An ablation that a preset is already is left out (`plan.Plan.chosen`).

ABLATIONS are trained, each with the sweep and the seeds of every other method. CONDITIONS train
nothing: the model of ours is judged with other metadata than it was trained with.
"""

from __future__ import annotations

from tgqformer.comparison.metadata import Metadata
from tgqformer.comparison.methods import NOTHING_OF_OURS, Method

_C = "embedder.connector"
_AGREEMENT = f"{_C}.agreement_input"
_REGULARISER = "training.loss.redundancy"
_EXPLORATORY = "training.loss.exploratory"
_NOISE = "training.noise"


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
    "reread": _without(
        "metadata read again",
        f"{_C}.reread=true",
        note="by anchored queries, before each layer",
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
        *NOTHING_OF_OURS,
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

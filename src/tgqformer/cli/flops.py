"""``tgqformer flops``: what embedding one item costs, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import json_option, preset_option, print_json, set_option, size, table

if TYPE_CHECKING:
    from tgqformer.embedder.config import EmbedderConfig
    from tgqformer.embedder.flops import Cost, Part
    from tgqformer.mllm.flops import MLLMCost

_GIGA = 1e9
_COLUMNS = ("part", "tokens", "G multiply-adds", "G FLOP", "M parameters", "M trained")
_READINGS = (
    "The paper's figures are of a public summary, which names neither convention, resolution nor "
    "lengths. As multiply-adds of the whole they fit one tile and 14 other tokens (InternVL3-2B), "
    "and a photo of 320 px and 23 others or of 256 px and 73 others (Qwen3-VL-4B). As FLOP without "
    "the backbone InternVL3-2B fits with no guess (723.6), and Qwen3-VL-4B needs an unusual 453 "
    "px. Which is meant is not known; FLOP of the whole is excluded, since InternVL3-2B's vision "
    "tower alone takes 723.6."
)
_MEMORY = (
    "Memory is of one item: weights in bfloat16 (what is trained in float32), and the most that "
    "the tensors of one part take at once, entered in a ledger while a network without storage "
    "runs; attention scores are held in full there, and what kernels need for themselves is not "
    "seen. The architectures were written from what was published and not downloaded."
)


@click.command(short_help="Count what embedding one item costs.")
@preset_option
@click.option(
    "--connector", metavar="KIND", help='A connector in place of the preset\'s; or "all".'
)
@click.option(
    "--mllm",
    "mllms",
    metavar="NAME",
    multiple=True,
    help='A vision-language model beside it: InternVL3-2B, Qwen3-VL-4B, Qwen2.5-VL-3B, "all" three '
    "of them, a hub id or a folder.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    default=448,
    show_default=True,
    help="Side of the photo in pixels that a Qwen-VL reads.",
)
@click.option(
    "--text-tokens",
    type=click.IntRange(1),
    help="Metadata tokens of the item.  [default: as many as the preset's text tower reads]",
)
@set_option
@json_option
def flops(
    preset: str,
    connector: str | None,
    mllms: tuple[str, ...],
    image_size: int,
    text_tokens: int | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Count multiply-adds and parameters of one item with one photo, part by part.

    Everything is counted from configurations, without trained weights. With --connector all, the
    connectors are compared at the preset's widths. With --mllm, end-to-end models stand beside it,
    with the memory that they need. Training memory is that of the preset's training.chunk_size.
    """
    from tgqformer.cli.shared import run_config
    from tgqformer.embedder.flops import count_cost, text_budget, training_memory

    chosen = [] if connector in (None, "all") else [f"embedder.connector.kind={connector}"]
    run = run_config(preset, [*assignments, *chosen], None)
    config, training = run.embedder, run.training
    text_tokens = text_budget(config) if text_tokens is None else text_tokens
    cost = count_cost(config, text_tokens=text_tokens)
    rivals = _every_connector(config, cost) if connector == "all" else {}
    counted = _count(mllms, image_size, text_tokens)
    memory = training_memory(config, cost)
    at_once = min(training.chunk_size or 2 * training.batch_size, 2 * training.batch_size)
    needs = memory.of(at_once, checkpointing=training.gradient_checkpointing)
    notes = _notes(preset, config, cost)
    less = (
        f"{size(memory.item)} of each item are kept for the backward pass, or "
        f"{size(memory.checkpointed)} with training.gradient_checkpointing"
    )
    notes.insert(1, f"Training takes {size(needs)} with {at_once} items at a time: {less}.")
    if as_json:
        told = _told(preset, config, text_tokens, cost, rivals, notes)
        told["training"] = {
            "items": at_once,
            "bytes": needs,
            "bytes_an_item": memory.item,
            "bytes_an_item_checkpointed": memory.checkpointed,
        }
        print_json(told | _told_of_mllms(counted, cost))
        return
    rows = [_row(part.name, part) for part in cost.parts]
    table(f"One item, preset {preset}", _COLUMNS, [*rows, _total(cost)])
    if rivals:
        table("Connectors", ("connector", *_COLUMNS[1:]), [_row(k, p) for k, p in rivals.items()])
    for note in notes:
        click.echo(click.wrap_text(note, 96))
    _print_mllms(preset, cost, counted)


def _every_connector(config: EmbedderConfig, cost: Cost) -> dict[str, Part]:
    from dataclasses import replace

    from tgqformer.connectors import CONNECTORS
    from tgqformer.embedder.flops import count_connector
    from tgqformer.errors import ConfigError

    visual, text = cost.part("image tower").tokens, cost.part("text tower").tokens
    found = {}
    for kind in CONNECTORS:
        try:
            found[kind] = count_connector(
                replace(config.connector, kind=kind), cost.shape, visual, text
            )
        except ConfigError:  # no square grid for the C-Abstractor
            continue
    return found


def _count(names: Sequence[str], image_size: int, text_tokens: int) -> dict[str, MLLMCost]:
    """Name to cost; "all" stands for the models that are shipped."""
    if not names:
        return {}
    from tgqformer.mllm.flops import MLLMS, count_mllm

    wanted = [n for name in names for n in (MLLMS if name == "all" else (name,))]
    return {
        name: count_mllm(name, image_side=image_size, text_tokens=text_tokens)
        for name in dict.fromkeys(wanted)
    }


def _notes(preset: str, config: EmbedderConfig, cost: Cost) -> list[str]:
    from tgqformer.embedder.flops import REPORTED

    notes = []
    memory = f"Peak memory of one item: {size(cost.weights)} of weights (bfloat16, what is trained "
    memory += f"in float32) and {size(cost.activations)} of activations, counted without storage."
    notes.append(memory)
    if cost.lora:
        share = f"{cost.lora / _GIGA:.3g} G multiply-adds of the backbone are LoRA's, not merged."
        notes.append(share)
    target = REPORTED["TGQ-Former"]
    paper = (
        f"The paper reports {target / _GIGA:.2f} G for one item, by a public summary, which names "
        "neither convention nor lengths"
    )
    if preset != "paper":
        return [*notes, f"{paper}; --preset paper counts its setting."]
    meets = cost.backbone_tokens_for(target)
    alone = cost.backbone_tokens_for(target, text_tower=False)
    tower = 2 * cost.part("image tower").multiply_adds
    return [
        *notes,
        f"{paper}. Here it is {cost.multiply_adds / _GIGA:.2f} G multiply-adds, with "
        f"{cost.part('backbone').tokens} tokens in the backbone, of which "
        f"{config.connector.tokens} are visual.",
        f"As multiply-adds their figure is ours at about {meets:.0f} tokens in the backbone, or "
        f"about {alone:.0f} where the text tower is left out. As FLOP it is the image tower "
        f"({tower / _GIGA:.2f} G) and {(target - tower) / _GIGA:.2f} G of connector, without any "
        "backbone. Which of the two is meant is not known.",
    ]


def _row(name: str, part: Part) -> list[Any]:
    return [name, part.tokens, *_in_units(part)]


def _total(of: Cost | MLLMCost) -> list[Any]:
    return ["total", None, *_in_units(of)]


def _in_units(of: Part | Cost | MLLMCost) -> list[float]:
    """The columns of `_COLUMNS` behind the tokens."""
    giga = of.multiply_adds / _GIGA
    return [giga, 2 * giga, of.parameters / 1e6, of.trained / 1e6]


def _print_mllms(preset: str, cost: Cost, counted: dict[str, MLLMCost]) -> None:
    """A table for each model, one of all beside the preset, and how to read them."""
    if not counted:
        return
    from tgqformer.embedder.flops import REPORTED

    for name, mllm in counted.items():
        others = mllm.part("backbone").tokens - mllm.image_tokens - mllm.text_tokens
        title = (
            f"One item, {name}: photo {mllm.image_side} px ({mllm.image_tokens} tokens), "
            f"{mllm.text_tokens} of metadata, {others} of chat and instruction"
        )
        rows = [_row(part.name, part) for part in mllm.parts]
        table(title, _COLUMNS, [*rows, _total(mllm)])
    columns = (
        "model",
        "G multiply-adds",
        "G FLOP",
        "G FLOP without backbone",
        "M parameters",
        "weights",
        "activations",
        "paper reports",
    )
    tower = cost.part("image tower").multiply_adds + cost.part("connector").multiply_adds
    ours = [cost.multiply_adds / _GIGA, 2 * cost.multiply_adds / _GIGA, 2 * tower / _GIGA]
    reported = REPORTED["TGQ-Former"] / _GIGA if preset == "paper" else None
    memory = [size(cost.weights), size(cost.activations)]
    rows = [[f"preset {preset}", *ours, cost.parameters / 1e6, *memory, reported]]
    for name, mllm in counted.items():
        figures = [mllm.multiply_adds, 2 * mllm.multiply_adds, 2 * mllm.without_backbone]
        told = REPORTED.get(name)
        rows.append(
            [
                name,
                *(figure / _GIGA for figure in figures),
                mllm.parameters / 1e6,
                size(mllm.weights),
                size(mllm.activations),
                None if told is None else told / _GIGA,
            ]
        )
    table("Beside one another", columns, rows)
    for note in (_READINGS, _MEMORY):
        click.echo(click.wrap_text(note, 96))


def _told(
    preset: str,
    config: EmbedderConfig,
    text_tokens: int,
    cost: Cost,
    rivals: dict[str, Part],
    notes: list[str],
) -> dict[str, Any]:
    from tgqformer.embedder.flops import REPORTED

    told: dict[str, Any] = {
        "preset": preset,
        "connector": config.connector.kind,
        "text_tokens": text_tokens,
        "parts": {part.name: _plain(part) for part in cost.parts},
        "total": {
            **_figures(cost),
            "weight_bytes": cost.weights,
            "activation_bytes": cost.activations,
        },
        "lora_multiply_adds": cost.lora,
        "reported_by_the_paper": REPORTED,
        "notes": notes,
    }
    if rivals:
        told["connectors"] = {kind: _plain(part) for kind, part in rivals.items()}
    return told


def _told_of_mllms(counted: dict[str, MLLMCost], cost: Cost) -> dict[str, Any]:
    """The same for machines; nothing where no model was asked for."""
    if not counted:
        return {}
    return {
        "mllms": {
            name: {
                "image_side": mllm.image_side,
                "image_tokens": mllm.image_tokens,
                "text_tokens": mllm.text_tokens,
                "parts": {part.name: _figures(part) for part in mllm.parts},
                "total": _figures(mllm),
                "flops_without_backbone": 2 * mllm.without_backbone,
                "weight_bytes": mllm.weights,
                "activation_bytes": mllm.activations,
            }
            for name, mllm in counted.items()
        },
        "times_the_preset": {
            name: mllm.multiply_adds / cost.multiply_adds for name, mllm in counted.items()
        },
        "readings": _READINGS,
        "memory": _MEMORY,
    }


def _plain(part: Part) -> dict[str, int]:
    return {
        "tokens": part.tokens,
        **_figures(part),
        "weight_bytes": part.weights,
        "activation_bytes": part.activations,
    }


def _figures(of: Part | Cost | MLLMCost) -> dict[str, int]:
    return {
        "multiply_adds": of.multiply_adds,
        "flops": 2 * of.multiply_adds,
        "parameters": of.parameters,
        "trained": of.trained,
    }

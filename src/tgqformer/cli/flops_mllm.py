"""The part of ``tgqformer flops`` that tells of end-to-end vision-language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.output import size, table

if TYPE_CHECKING:
    from tgqformer.embedder.flops import Cost, Part
    from tgqformer.mllm.flops import MLLMCost

GIGA = 1e9
COLUMNS = ("part", "tokens", "G multiply-adds", "G FLOP", "M parameters", "M trained")
READINGS = (
    "The paper's figures are of a public summary, which names neither convention, resolution nor "
    "lengths. As multiply-adds of the whole they fit one tile and 14 other tokens (InternVL3-2B), "
    "and a photo of 320 px and 23 others or of 256 px and 73 others (Qwen3-VL-4B). As FLOP without "
    "the backbone InternVL3-2B fits with no guess (723.6), and Qwen3-VL-4B needs an unusual 453 "
    "px. Which is meant is not known; FLOP of the whole is excluded, since InternVL3-2B's vision "
    "tower alone takes 723.6."
)
MEMORY = (
    "Memory is of one item: weights in bfloat16 (what is trained in float32), and the most that "
    "the tensors of one part take at once, entered in a ledger while a network without storage "
    "runs; attention scores are held in full there, and what kernels need for themselves is not "
    "seen. The architectures were written from what was published and not downloaded."
)


def count(names: Sequence[str], image_size: int, text_tokens: int) -> dict[str, MLLMCost]:
    """Name to cost; "all" stands for the models that are shipped."""
    if not names:
        return {}
    from tgqformer.mllm.flops import MLLMS, count_mllm

    wanted = [n for name in names for n in (MLLMS if name == "all" else (name,))]
    return {
        name: count_mllm(name, image_side=image_size, text_tokens=text_tokens)
        for name in dict.fromkeys(wanted)
    }


def print_mllms(preset: str, cost: Cost, counted: dict[str, MLLMCost]) -> None:
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
        rows = [_cells(part.name, part.tokens, part.multiply_adds, part) for part in mllm.parts]
        table(title, COLUMNS, [*rows, _cells("total", None, mllm.multiply_adds, mllm)])
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
    ours = [cost.multiply_adds / GIGA, 2 * cost.multiply_adds / GIGA, 2 * tower / GIGA]
    reported = REPORTED["TGQ-Former"] / GIGA if preset == "paper" else None
    memory = [size(cost.weights), size(cost.activations)]
    rows = [[f"preset {preset}", *ours, cost.parameters / 1e6, *memory, reported]]
    for name, mllm in counted.items():
        figures = [mllm.multiply_adds, 2 * mllm.multiply_adds, 2 * mllm.without_backbone]
        told = REPORTED.get(name)
        rows.append(
            [
                name,
                *(figure / GIGA for figure in figures),
                mllm.parameters / 1e6,
                size(mllm.weights),
                size(mllm.activations),
                None if told is None else told / GIGA,
            ]
        )
    table("Beside one another", columns, rows)
    for note in (READINGS, MEMORY):
        click.echo(click.wrap_text(note, 96))


def told_of(counted: dict[str, MLLMCost], cost: Cost) -> dict[str, Any]:
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
        "readings": READINGS,
        "memory": MEMORY,
    }


def _figures(of: Part | MLLMCost) -> dict[str, int]:
    return {
        "multiply_adds": of.multiply_adds,
        "flops": 2 * of.multiply_adds,
        "parameters": of.parameters,
        "trained": of.trained,
    }


def _cells(name: str, tokens: int | None, cost: int, of: Part | MLLMCost) -> list[Any]:
    return [name, tokens, cost / GIGA, 2 * cost / GIGA, of.parameters / 1e6, of.trained / 1e6]

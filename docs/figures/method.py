"""Draw the figures of docs/method.md that need no trained model, from the code itself.

    .venv/bin/python docs/figures/method.py docs/images

The shapes are those of a forward pass of the `offline` preset's connector, the mask is the one that
its self-attention uses, and the curve is the function that its gates call.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tgqformer.connectors import ConnectorShape, build_connector
from tgqformer.connectors.tgqformer import csigmoid
from tgqformer.presets import load_preset
from tgqformer.towers.base import TowerBatch

# Text stays text, and the same figure has the same bytes.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tgqformer",
    "font.family": "sans-serif",
    "font.size": 8,
}
FROZEN, PAPER, OURS = "#e3e5e8", "#b9dfd6", "#f7d3a6"
INK, AROUND = "#222222", "#c56a00"
OFFLINE = ConnectorShape(
    visual=112, image_global=1280, text=384, text_global=384, output=384, photo_tokens=196
)
"""Widths around the connector in the `offline` preset: EfficientNet-Lite0 at stride 16, MiniLM-L6;
a test holds them against the towers."""

TEXT_TOKENS = 64


def shapes() -> dict[str, str]:
    """What passes through the connector, as text: name to "[P, Dv]", the batch left out."""
    config = load_preset("offline").embedder
    torch.manual_seed(0)
    connector = build_connector(config.connector, OFFLINE).eval()
    seen: dict[str, Any] = {}
    for name in ("memory", "anchored", "exploratory", "grounding"):
        module = connector.get_submodule(name)
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    photo_tokens = OFFLINE.photo_tokens or 0
    with torch.inference_mode():
        towers = TowerBatch(
            visual=torch.randn(1, photo_tokens, OFFLINE.visual),
            visual_mask=torch.ones(1, photo_tokens, dtype=torch.bool),
            image_global=torch.randn(1, OFFLINE.image_global),
            text=torch.randn(1, TEXT_TOKENS, OFFLINE.text),
            text_mask=torch.ones(1, TEXT_TOKENS, dtype=torch.bool),
            text_global=torch.randn(1, OFFLINE.text_global),
            presence=torch.ones(1, 2, dtype=torch.bool),
            words=torch.zeros(1, 0),
        )
        out = connector(towers, return_attention=True)
    found = {
        "visual": (photo_tokens, OFFLINE.visual),
        "image_global": (OFFLINE.image_global,),
        "text": (TEXT_TOKENS, OFFLINE.text),
        "text_global": (OFFLINE.text_global,),
        "memory": seen["memory"][0].shape[1:],
        "anchored": seen["anchored"][0].shape[1:],
        "exploratory": seen["exploratory"].shape[1:],
        "relevance": seen["grounding"].relevance.shape[1:],
        "agreement": out.agreement.shape[1:],
        "gate": out.gates["anchored"].shape[1:],
        "tokens": out.tokens.shape[1:],
        "embedding": (config.dims,),
        "layers": (config.connector.layers,),
    }
    return {name: "[" + ", ".join(map(str, shape)) + "]" for name, shape in found.items()}


def data_flow() -> plt.Figure:
    """From photo and metadata to an embedding."""
    s = shapes()
    layers = s["layers"].strip("[]")
    figure, axes = plt.subplots(figsize=(11.4, 5.6))
    axes.set(xlim=(0, 114), ylim=(0, 56))
    axes.axis("off")
    _box(axes, 1, 37, 13, 6, "photo", "white")
    _box(axes, 1, 11, 13, 6, "metadata", "white")
    _box(axes, 18, 36, 14, 8, "image tower\nfrozen", FROZEN)
    _box(axes, 18, 10, 14, 8, "text tower\nfrozen", FROZEN)
    _box(axes, 39.5, 35.5, 15.5, 9, f"visual memory\n{s['memory']}, with\npositions (ours)", PAPER)
    _box(
        axes,
        39.5,
        23,
        15.5,
        9,
        f"grounding: where?\nrelevance {s['relevance']}\nand agreement",
        OURS,
    )
    _box(axes, 39.5, 12, 15.5, 6, f"anchored queries\n{s['anchored']}", PAPER)
    _box(axes, 39.5, 2, 15.5, 6, f"exploratory queries\n{s['exploratory']}", PAPER)
    _box(axes, 60.5, 14, 16, 29, "", PAPER)
    axes.text(68.5, 40.2, f"{layers} Q-Former layers", ha="center", va="center", weight="bold")
    for y, text in (
        (31, "cross-attention\nto the photo"),
        (24, "self-attention\nwithin a stream"),
    ):
        _box(axes, 61.75, y, 13.5, 6, text, "white")
    _box(axes, 61.75, 16, 13.5, 6, "feed-forward", "white")
    _box(axes, 79.5, 33, 14, 8, f"anchored gate\n1 + {s['gate']}", PAPER)
    _box(axes, 79.5, 17, 14, 8, f"exploratory gate\n1 + {s['gate']}", PAPER)
    _box(axes, 96.5, 24, 16, 10, f"visual tokens\n{s['tokens']}\nto the backbone", PAPER)
    _box(axes, 96.5, 8, 16, 9, f"backbone + LoRA,\nhead, + streams\n{s['embedding']}", FROZEN)
    for start, end, text in (
        ((14, 40), (18, 40), ""),
        ((14, 14), (18, 14), ""),
        ((32, 41), (39.5, 41), s["visual"]),
        ((32, 38), (39.5, 29), ""),
        ((32, 16.5), (39.5, 26), s["text_global"]),
        ((32, 13), (39.5, 14), s["text"]),
        ((55, 40), (61, 37), ""),
        ((55, 28), (61, 32), "bias"),
        ((55, 15), (61, 18), ""),
        ((55, 5), (61, 15.5), ""),
        ((76, 34), (80, 36), ""),
        ((76, 24), (80, 22), ""),
        ((93, 36), (97, 31), ""),
        ((93, 22), (97, 27), ""),
        ((104.5, 24), (104.5, 17), ""),
    ):
        _arrow(axes, start, end, text)
    axes.plot([93.5, 95, 95], [37.5, 37.5, 12.5], color=AROUND, lw=1)
    axes.plot([93.5, 95], [19, 19], color=AROUND, lw=1)
    _arrow(axes, (95, 12.5), (97, 12.5), "", AROUND)
    axes.text(95, 7, "both streams' means,\naround the backbone (ours)", ha="right", color=AROUND)
    grey = {"color": "#777777", "lw": 1}
    axes.plot([25, 25, 86.5], [44, 48, 48], **grey)
    _arrow(axes, (86.5, 48), (86.5, 41), "")
    axes.text(
        60,
        49,
        f"global image vector {s['image_global']}, to both gates",
        ha="center",
        color="#555555",
    )
    axes.plot([7.5, 7.5, 104.5], [11, 0.4, 0.4], **grey)
    _arrow(axes, (104.5, 0.4), (104.5, 8), "")
    axes.text(
        81, 1.2, "the metadata's text, as the backbone's prompt", ha="center", color="#555555"
    )
    for number, (colour, text) in enumerate(
        ((PAPER, "the paper's"), (OURS, "ours"), (FROZEN, "frozen, but for LoRA and the head"))
    ):
        axes.add_patch(plt.Rectangle((1 + 24 * number, 53), 3, 2, fc=colour, ec=INK, lw=0.6))
        axes.text(5 + 24 * number, 54, text, va="center")
    return figure


def streams() -> plt.Figure:
    """Which query sees which in self-attention, as built and with `connector.mixing`."""
    config = load_preset("offline").embedder.connector
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 2.9))
    k, n = config.anchored, config.tokens
    for axes, mixing in zip(panels, (False, True)):
        config.mixing = mixing
        mask = build_connector(config, OFFLINE).self_mask
        seen = np.ones((n, n)) if mask is None else mask.numpy().astype(float)
        axes.pcolormesh(seen, cmap="GnBu", vmin=0, vmax=1.6, edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        middles, names = [k / 2, (k + n) / 2], ["anchored", "exploratory"]
        axes.set_xticks(middles, names)
        axes.set_yticks(middles, names, rotation=90, va="center")
        axes.tick_params(length=0)
        axes.set_title("connector.mixing=true" if mixing else "the default", fontsize=8)
    figure.supylabel("who looks", fontsize=8)
    figure.supxlabel("who is seen", fontsize=8)
    figure.tight_layout()
    return figure


def gates() -> plt.Figure:
    """What a channel is scaled by, over what the gate's last layer says."""
    figure, axes = plt.subplots(figsize=(4.6, 2.6))
    x = torch.linspace(-6, 6, 241)
    axes.plot(x.numpy(), (1 + csigmoid(x)).numpy(), color="#14796b", lw=2)
    axes.axhline(1, color="#999999", lw=0.8, ls=":")
    axes.plot([0], [1], "o", color="#c56a00")
    axes.annotate("at the start: nothing changes", (0, 1), (0.6, 0.45), color="#c56a00")
    axes.set(
        xlabel="x, the last layer's output", ylabel="1 + csigmoid(x)", ylim=(0, 2), xlim=(-6, 6)
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, fill: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, "round,pad=0,rounding_size=1", fc=fill, ec=INK, lw=0.8
        )
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", linespacing=1.35)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str,
    colour: str = INK,
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, lw=0.9)
    )
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 1.1)
    axes.text(*middle, text, ha="center", fontsize=7, color="#555555")


FIGURES = {"connector": data_flow, "streams": streams, "gates": gates}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))

"""The connector alone beside transformers' `Blip2QFormerModel` of the same size: time and memory.

    python benchmarks/connector.py [--rounds 5] [--out connector.json]

Both get the same visual tokens, with as many queries, layers and heads of the same width, and look
at the photo in every layer. Ours also reads the metadata, gates its streams and, in the offline
preset, steers attention by token agreement. Memory is what the operations of one pass hold at once,
counted tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from measuring import in_turns, options, put, ratios, told
from torch import Tensor, nn

from tgqformer.connectors import ConnectorConfig, ConnectorShape, build_connector
from tgqformer.embedder.memory import ActivationLedger
from tgqformer.presets import load_preset

TEXT = 24  # tokens of metadata
SIZES = {"offline": (196, 112, 1280, 384, 384, 64), "paper": (197, 768, 768, 768, 1024, 16)}
"""Preset to visual tokens, widths of visual tokens, image vector, text, backbone; and batch."""


def inputs(preset: str) -> dict[str, Tensor]:
    photo, visual, image, text, _, batch = SIZES[preset]
    return {
        "visual": torch.randn(batch, photo, visual),
        "visual_mask": torch.ones(batch, photo, dtype=torch.bool),
        "image_global": torch.randn(batch, image),
        "text": torch.randn(batch, TEXT, text),
        "text_mask": torch.ones(batch, TEXT, dtype=torch.bool),
        "text_global": torch.randn(batch, text),
        "presence": torch.ones(batch, 2, dtype=torch.bool),
    }


def ours(preset: str, config: ConnectorConfig) -> nn.Module:
    photo, visual, image, text, output, _ = SIZES[preset]
    shape = ConnectorShape(visual, image, text, text, output, photo_tokens=photo)
    if preset == "paper":
        shape = ConnectorShape(visual, image, text, text, output, shared_space=True)
    return build_connector(config, shape)


class Blip2(nn.Module):
    """transformers' Q-Former with its queries and the projection to the backbone."""

    def __init__(self, preset: str, config: ConnectorConfig) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        super().__init__()
        _, visual, _, _, output, _ = SIZES[preset]
        self.queries = nn.Parameter(torch.randn(1, config.tokens, config.width) * 0.02)
        self.model = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.ffn * config.width,
                cross_attention_frequency=1,
                encoder_hidden_size=visual,
            )
        )
        self.project = nn.Linear(config.width, output)

    def forward(self, visual: Tensor, **rest: Tensor) -> Tensor:
        asks = self.queries.expand(len(visual), -1, -1)
        out = self.model(query_embeds=asks, encoder_hidden_states=visual)
        tokens: Tensor = self.project(out.last_hidden_state)
        return tokens


def tokens(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    out = model(**given)
    return out if isinstance(out, Tensor) else out.tokens


def forward(model: nn.Module, given: dict[str, Tensor]) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        tokens(model.eval(), given)

    return run


def backward(model: nn.Module, given: dict[str, Tensor]) -> Callable[[], None]:
    def run() -> None:
        tokens(model.train(), given).square().mean().backward()
        model.zero_grad()

    return run


def peak(run: Callable[[], None]) -> float:
    """MB that the tensors of a run hold at once."""
    ledger = ActivationLedger()
    with ledger:
        run()
    return ledger.peak / 1e6


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    for preset, (*_, batch) in SIZES.items():
        told(preset)
        torch.manual_seed(0)
        config, given = load_preset(preset).embedder.connector, inputs(preset)
        models = {
            "tgqformer": ours(preset, config),
            "Blip2QFormerModel": Blip2(preset, config),
        }
        found: dict[str, Any] = {"batch": batch, "queries": config.tokens, "layers": config.layers}
        found["width"] = config.width
        found["parameters"] = {
            name: sum(p.numel() for p in model.parameters()) for name, model in models.items()
        }
        for what, make in (("forward", forward), ("forward and backward", backward)):
            ways = {name: make(model, given) for name, model in models.items()}
            timed = in_turns(ways, batch, asked.rounds)
            held = {name: peak(way) for name, way in ways.items()}
            found[what] = {
                "ways": timed,
                "ratios": ratios(timed, "tgqformer"),
                "megabytes": held,
                "memory": held["tgqformer"] / held["Blip2QFormerModel"],
            }
        figures[preset] = found
    put({"text_tokens": TEXT, "presets": figures}, asked.out)


if __name__ == "__main__":
    main()

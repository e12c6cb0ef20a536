"""Tower states of random items, for connectors that need torch and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tgqformer.connectors import ConnectorConfig, ConnectorShape, TGQFormer, build_connector

torch.set_num_threads(1)

SHAPE = ConnectorShape(visual=12, image_global=10, text=8, text_global=6, output=20)
SHARED = ConnectorShape(
    visual=12, image_global=10, text=8, text_global=10, output=20, shared_space=True
)
States = dict[str, Tensor]


@pytest.fixture
def states() -> Callable[..., States]:
    """Fields of a `TowerBatch`: B items, P visual and T text tokens, all real and present."""

    def make(
        items: int = 5, visual: int = 7, text: int = 6, seed: int = 0, shape: ConnectorShape = SHAPE
    ) -> States:
        g = torch.Generator().manual_seed(seed)
        return {
            "visual": torch.randn(items, visual, shape.visual, generator=g),
            "visual_mask": torch.ones(items, visual, dtype=torch.bool),
            "image_global": torch.randn(items, shape.image_global, generator=g),
            "text": torch.randn(items, text, shape.text, generator=g),
            "text_mask": torch.ones(items, text, dtype=torch.bool),
            "text_global": torch.randn(items, shape.text_global, generator=g),
            "presence": torch.ones(items, 2, dtype=torch.bool),
            "words": torch.zeros(items, 0),
        }

    return make


@pytest.fixture
def build() -> Callable[..., TGQFormer]:
    """A connector with every weight moved off its start, so that nothing hides behind a zero."""

    def make(
        *, shape: ConnectorShape = SHAPE, seed: int = 0, stirred: bool = True, **options: object
    ) -> TGQFormer:
        small = {"width": 16, "heads": 4, "layers": 2, "anchored": 3, "exploratory": 2}
        config = ConnectorConfig(**{**small, "agreement_width": 4, **options})  # type: ignore[arg-type]
        torch.manual_seed(seed)
        connector = build_connector(config, shape)
        if stirred:
            with torch.no_grad():
                for weight in connector.parameters():
                    weight.add_(0.3 * torch.randn_like(weight))
        assert isinstance(connector, TGQFormer)
        return connector.eval()

    return make


@pytest.fixture
def shared() -> ConnectorShape:
    """Widths around towers whose global vectors share a space."""
    return SHARED

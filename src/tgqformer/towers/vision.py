"""Any Hugging Face vision model as the image tower: ViT, DINOv2 and 3, Swin, MobileNet, ConvNeXt.

A transformer's states are the tokens (with CLS and registers where it has them); a CNN's map is
flattened in raster order. The model's own pooler is not used: many checkpoints lack its weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from tgqformer.errors import ConfigError
from tgqformer.hub import load_network
from tgqformer.towers.base import ImageTower, PixelInputs, TextTower, TowerOutput, Window
from tgqformer.towers.load import ImageTowerConfig
from tgqformer.towers.processors import Preprocessor

T = TypeVar("T")


class VisionTower(ImageTower):
    """Tokens: one layer's states (layer 0 the embeddings, -1 the last), or a CNN stage's cells.

    Global: the last layer's class token where there is one, else the mean of the last tokens.
    """

    def __init__(self, config: ImageTowerConfig) -> None:
        from transformers import AutoModel

        module = load_network(
            AutoModel, config.name, config.revision, random_weights=config.random_weights
        )
        self.has_class_token = _has_class_token(module)
        if self.has_class_token and isinstance(getattr(module, "pooler", None), nn.Module):
            module.pooler = None
        self.layer = config.layer
        self.preprocess_photo = Preprocessor(config, module.config)
        self.image_size = self.preprocess_photo.image_size
        self._options: dict[str, Any] = {"return_dict": True}
        accepts = inspect.signature(module.forward).parameters
        if not self.preprocess_photo.native and "interpolate_pos_encoding" in accepts:
            self._options["interpolate_pos_encoding"] = True
        super().__init__(module, dtype=config.dtype)
        probe(self)

    def spec(self) -> dict[str, Any]:
        return {"layer": self.layer, **self.preprocess_photo.spec()}

    def preprocess(self, image: Image.Image) -> PixelInputs:
        return self.preprocess_photo(image)

    def window(self, width: int, height: int) -> Window:
        return self.preprocess_photo.window(width, height)

    @torch.inference_mode()
    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        pixels = self.collate(inputs)["pixel_values"]
        need_all = self.layer is not None
        out = self.module(pixels, output_hidden_states=need_all, **self._options)
        last = as_tokens(out.last_hidden_state)
        tokens = last
        if self.layer is not None:
            tokens = as_tokens(hidden_layer(out.hidden_states, self.layer, "the image tower"))
        pooled = last[:, 0] if self.has_class_token else last.mean(1)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return TowerOutput(tokens, mask, pooled)


def as_tokens(states: Tensor) -> Tensor:
    """A CNN's map [B, C, h, w] as tokens [B, h*w, C]; token states pass unchanged."""
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


def _has_class_token(module: nn.Module) -> bool:
    return any(name.split(".")[-1] == "cls_token" for name, _ in module.named_parameters())


def hidden_layer(states: Sequence[T], layer: int | str, owner: str) -> T:
    """Pick `states[layer]`; 0 is the embedding output, -1 the last layer."""
    count = len(states)
    if isinstance(layer, str) or not -count <= layer < count:
        raise ConfigError(
            f"layer {layer!r} of {owner} does not exist; choose {-count} to {count - 1}, "
            "where 0 is the embeddings and -1 the last layer."
        )
    return states[layer]


def probe(tower: ImageTower | TextTower) -> None:
    """Set a tower's `dim`, `global_dim` and token counts by encoding a blank input.

    Raises:
        ConfigError: the layer does not exist, or the network refuses the image size.
    """
    if isinstance(tower, TextTower):
        out = tower.encode(["blank"])
    else:
        from PIL import Image

        blank = Image.new("RGB", (tower.image_size, tower.image_size), (255, 255, 255))
        try:
            out = tower.encode([tower.preprocess(blank)])
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"The network cannot take photos of {tower.image_size} px ({reason}); leave "
                "image_size out to use the model's own."
            ) from error
        tower.max_tokens = out.tokens.shape[1]
        tower.num_tokens = out.tokens.shape[1]
    tower.dim, tower.global_dim = out.tokens.shape[-1], out.pooled.shape[-1]

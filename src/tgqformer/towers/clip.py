"""Any Hugging Face CLIP-like pair: CLIP, Chinese-CLIP, SigLIP and SigLIP 2 (fixed size or NaFlex).

Both halves give token states and a projected global vector; the globals of the two halves share a
space, so their cosine is the image-title agreement of the paper's anchored gate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn

from tgqformer.errors import ModelError
from tgqformer.hub import build_random, load, load_network, load_settings, tokenizer_digest
from tgqformer.towers.base import ImageTower, PixelInputs, TextTower, TowerOutput, Window
from tgqformer.towers.hashing import count_special, count_tokens, token_spans
from tgqformer.towers.load import ImageTowerConfig, TextTowerConfig
from tgqformer.towers.processors import Preprocessor
from tgqformer.towers.vision import hidden_layer, probe


class ClipImageTower(ImageTower):
    """Tokens: a layer of the vision transformer, CLS (where it has one) and patches.

    Global: the vector that the model itself compares with texts. `None` as layer is the vision
    model's last hidden state.
    """

    def __init__(self, config: ImageTowerConfig) -> None:
        module, self.space = load_half(config, keep="vision")
        self.network: Any = module
        self.layer = config.layer
        self.preprocess_photo = Preprocessor(config, module.config)
        self.image_size = self.preprocess_photo.image_size
        self._options: dict[str, Any] = {"return_dict": True}
        if not self.preprocess_photo.native:
            self._options["interpolate_pos_encoding"] = True
        super().__init__(module, dtype=config.dtype)
        probe(self)
        if module.config.model_type == "siglip2":
            self.num_tokens = None  # NaFlex: as many patches as the photo's shape gives

    def spec(self) -> dict[str, Any]:
        return {"layer": self.layer, **self.preprocess_photo.spec()}

    def preprocess(self, image: Image.Image) -> PixelInputs:
        return self.preprocess_photo(image)

    def window(self, width: int, height: int) -> Window:
        return self.preprocess_photo.window(width, height)

    @torch.inference_mode()
    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        batch = self.collate(inputs)
        need_all = self.layer is not None
        out = self.network.get_image_features(
            **batch, output_hidden_states=need_all, **self._options
        )
        tokens = out.last_hidden_state
        if self.layer is not None:
            tokens = hidden_layer(out.hidden_states, self.layer, "the image tower")
        mask = batch.get("pixel_attention_mask")  # NaFlex pads its patches, on the right
        if mask is None:
            mask = torch.ones(tokens.shape[:2], device=tokens.device)
        return TowerOutput(tokens, mask.bool(), out.pooler_output)


class ClipTextTower(TextTower):
    """Tokens: a layer of the text transformer. Global: the projected text vector."""

    num_tokens = None

    def __init__(self, config: TextTowerConfig) -> None:
        module, self.space = load_half(config, keep="text")
        self.network: Any = module
        settings = module.config.text_config
        # SigLIP was trained on lower-case texts, padded to full length, without attention mask
        self.padded = module.config.model_type in ("siglip", "siglip2")
        self.positions = int(settings.max_position_embeddings)
        self.max_tokens = min(config.max_tokens, self.positions)
        self.layer = config.layer
        self.tokenizer: Any
        if config.random_weights:
            from tgqformer.towers.hashing import HashTokenizer

            self.tokenizer = HashTokenizer.for_settings(settings)
        else:
            from transformers import AutoTokenizer

            self.tokenizer = load(AutoTokenizer, config.name, config.revision)
        self._tokenizer_digest = tokenizer_digest(self.tokenizer)
        self.special_tokens = count_special(self.tokenizer)
        super().__init__(module, dtype=config.dtype)
        probe(self)

    def spec(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "max_tokens": self.max_tokens,
            "tokenizer": self._tokenizer_digest,
            "siglip": self.padded,
        }

    def count(self, text: str) -> int:
        return count_tokens(self.tokenizer, text.lower() if self.padded else text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return token_spans(self.tokenizer, text, self.max_tokens)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TowerOutput:
        batch = self.tokenizer(
            [text.lower() for text in texts] if self.padded else list(texts),
            padding="max_length" if self.padded else True,
            truncation=True,
            max_length=self.positions if self.padded else self.max_tokens,
            padding_side="right",
            return_attention_mask=True,
            return_tensors="pt",
        )
        batch = {name: x.to(self.device) for name, x in batch.items()}
        mask = batch["attention_mask"].bool()
        if self.padded:
            batch = {"input_ids": batch["input_ids"]}
        out = self.network.get_text_features(
            **batch, output_hidden_states=self.layer is not None, return_dict=True
        )
        tokens = out.last_hidden_state
        if self.layer is not None:
            tokens = hidden_layer(out.hidden_states, self.layer, "the text tower")
        width = min(self.max_tokens, int(mask.sum(1).max()))
        return TowerOutput(tokens[:, :width], mask[:, :width], out.pooler_output)


def load_half(config: ImageTowerConfig | TextTowerConfig, keep: str) -> tuple[Any, str]:
    """Load a CLIP-like model, drop the half that is not kept ("vision" or "text").

    Returns:
        The network, and the name of the space of its global vectors.
    """
    from transformers import AutoModel

    drop = "text" if keep == "vision" else "vision"
    if config.random_weights:
        settings = load_settings(config.name, config.revision)
        other = getattr(settings, f"{drop}_config", None)
        if other is not None:  # it is dropped at once: build little of it
            other.num_hidden_layers = 1
            if drop == "text":
                other.vocab_size = 64
        network = build_random(AutoModel, settings)
    else:
        network = load_network(AutoModel, config.name, config.revision)
    if not hasattr(network, "get_image_features") or not hasattr(network, f"{keep}_model"):
        raise ModelError(
            f"The model {config.name!r} is a {type(network).__name__}, not a pair like CLIP; "
            "use kind 'vision' for its photos or 'sentence' for its texts."
        )
    space = f"random {config.name}" if config.random_weights else space_of(network)
    dropped = {
        "text": ("text_model", "text_projection"),
        "vision": ("vision_model", "visual_projection"),
    }
    for part in dropped[drop]:
        if hasattr(network, part):
            setattr(network, part, None)
    return network, space


def space_of(network: nn.Module) -> str:
    """Names the space of a pair's global vectors: equal for the two halves of one checkpoint.

    A few bits of every weight of the whole pair are enough to tell two checkpoints apart.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(network.named_parameters()):
        digest.update(name.encode())
        digest.update(weight.detach().reshape(-1)[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:20]

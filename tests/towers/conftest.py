"""Photos, items and tiny Hugging Face folders that the tests of the towers share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.items import Item

torch.set_num_threads(1)

WORDS = ["red", "blue", "shoe", "boot", "lamp", "of", "the", "large", "small", "leather"]
TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
SQUARE = {"height": 32, "width": 32}


def draw_photo(seed: int, width: int = 48, height: int = 40) -> bytes:
    """An encoded PNG of coarse random colours."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def photo() -> Callable[..., bytes]:
    return draw_photo


@pytest.fixture
def items() -> list[Item]:
    """Ten items with a photo and a title each."""
    return [
        Item(f"i{n}", title=f"{WORDS[n]} shoe number {n}", images=(draw_photo(n),))
        for n in range(10)
    ]


def save_tokenizer(folder: Path) -> None:
    """A word tokenizer: <pad> 0, <s> 1, </s> 2, <unk> 3, then WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: n for n, word in enumerate(special + WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",  # the towers must pad on the right all the same
    ).save_pretrained(folder)


def settings_of(kind: str) -> Any:
    """The config of a tiny network of a family."""
    import transformers as t

    text = {
        **TRANSFORMER,
        "vocab_size": 20,
        "max_position_embeddings": 12,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {**TRANSFORMER, "image_size": 32, "patch_size": 8}
    siglip_text = {**text, "projection_size": 32}
    naflex = {**TRANSFORMER, "patch_size": 8, "num_patches": 16}
    mobile = {"image_size": 32, "depth_multiplier": 0.35, "min_depth": 4}
    made: dict[str, Callable[[], Any]] = {
        "bert": lambda: t.BertConfig(**TRANSFORMER, vocab_size=20, max_position_embeddings=12),
        "clip": lambda: t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16),
        "chinese_clip": lambda: t.ChineseCLIPConfig(
            text_config=text, vision_config=vision, projection_dim=16
        ),
        "siglip": lambda: t.SiglipConfig(text_config=siglip_text, vision_config=vision),
        "siglip2": lambda: t.Siglip2Config(text_config=siglip_text, vision_config=naflex),
        "vit": lambda: t.ViTConfig(**vision),
        "dinov2": lambda: t.Dinov2Config(**vision),
        "dinov3": lambda: t.DINOv3ViTConfig(**vision, num_register_tokens=2),
        "mobilenet": lambda: t.MobileNetV2Config(**mobile, depth_divisible_by=4),
    }
    return made[kind]()


def processor_of(kind: str) -> Any:
    """The Pillow processor that such a checkpoint comes with."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    if kind == "siglip2":
        return Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    if kind == "siglip":
        return SiglipImageProcessorPil(size=SQUARE)
    if kind == "clip":
        return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    if kind == "dinov2":
        return BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=SQUARE)
    return ViTImageProcessorPil(size=SQUARE)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make (once) a folder with a tiny checkpoint of a family: weights, processor, tokenizer."""
    from transformers import AutoModel
    from transformers.utils import logging

    made: dict[tuple[str, int], str] = {}

    def make(kind: str, seed: int = 0) -> str:
        if (kind, seed) not in made:
            folder = tmp_path_factory.mktemp(kind)
            logging.disable_progress_bar()
            torch.manual_seed(seed)
            network = AutoModel.from_config(settings_of(kind))
            with torch.no_grad():  # ViT starts its class token at zero, CLIP its biases
                for weight in network.parameters():
                    weight.add_(0.02 * torch.randn_like(weight))
            network.save_pretrained(folder)
            processor_of(kind).save_pretrained(folder)
            save_tokenizer(folder)
            made[kind, seed] = str(folder)
        return made[kind, seed]

    return make

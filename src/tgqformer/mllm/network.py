"""The network behind an MLLM embedder: loading, LoRA on its language model, pooling, head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.errors import ConfigError, ModelError
from tgqformer.hub import (
    add_lora,
    build_random,
    linear_names,
    load_network,
    load_settings,
    without_dropout,
)
from tgqformer.language.backbone import byte_tokenizer, pool
from tgqformer.mllm.config import MLLMConfig
from tgqformer.mllm.processing import processor_class, without_video
from tgqformer.numerics import resolve_dtype
from tgqformer.packaged import quiet_loading

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 257,
}

TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

QWEN_MARKS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

INTERNVL_MARKS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}

INITIAL_SCALE = 20.0
MAX_LOG_SCALE = math.log(100.0)


class MLLMModel(nn.Module):
    """Chat turn in, unit vector out: the last token's state, a linear head, L2.

    Attributes:
        backbone: vision tower, projector and language model, as transformers has them.
        scale: 1 / temperature of the contrastive loss, learned.
    """

    def __init__(self, config: MLLMConfig, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.backbone = load_backbone(config, torch.device(device))
        width = int(self.backbone.config.get_text_config().hidden_size)
        self.head = nn.Linear(width, config.dims)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`ChatProcessor.batch` of B items -> [B, D] float32 unit vectors."""
        return F.normalize(self.head(self.states(inputs)), dim=-1)

    def states(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, W] float32, the state of each turn's last token."""
        out = self.backbone(**inputs, use_cache=False, return_dict=True)
        return pool(out.last_hidden_state, inputs["attention_mask"], "last")

    @property
    def scale(self) -> Tensor:
        """The learned scale, clamped as in CLIP."""
        return self.log_scale.clamp(max=MAX_LOG_SCALE).exp()

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Take the scale back to its limit, above which no gradient would: after every step."""
        self.log_scale.clamp_(max=MAX_LOG_SCALE)


def load_backbone(config: MLLMConfig, device: torch.device) -> Any:
    """Load without the language-model head, freeze, and add LoRA as the config says.

    Raises:
        ConfigError: LoRA finds no layer.
        ModelError: it cannot be loaded, lacks weights, or is no vision-language model.
    """
    from transformers import AutoModelForImageTextToText

    settings = load_mllm_settings(config)
    _require_vision_language(config, settings)
    dtype = resolve_dtype(config.dtype, device)
    whole = load_network(
        AutoModelForImageTextToText,
        config.name,
        config.revision,
        random_weights=config.random_weights,
        dtype=torch.float32 if config.random_weights else dtype,
        unread=("lm_head",),
    ).to(dtype)
    network = whole.base_model
    language = getattr(network, "language_model", None)
    if not isinstance(language, nn.Module) or network is whole:
        raise ModelError(
            f"The model {config.name!r} is a {type(whole).__name__}, whose language model is not "
            "to be found; choose a Qwen-VL, an InternVL (-hf) or another that is built like them."
        )
    network.requires_grad_(False)
    without_dropout(language)
    if config.train == "full":
        language.requires_grad_(True)
    elif config.train == "lora":
        _add_lora(language, config)
    return network


def load_mllm_settings(config: MLLMConfig) -> Any:
    """The model's config (see `hub.load_settings`)."""
    return load_settings(config.name, config.revision)


def _require_vision_language(config: MLLMConfig, settings: Any) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN,
    )

    if settings.model_type not in KNOWN:
        raise ModelError(
            f"The model {config.name!r} is a {settings.model_type!r}, which does not read photos "
            "and text together; choose a vision-language model such as Qwen3-VL or InternVL3 (-hf)."
        )


def _add_lora(language: nn.Module, config: MLLMConfig) -> None:
    targets = linear_names(language)
    if not targets:
        raise ConfigError(
            f"mllm.train is 'lora', and the language model of {config.name!r} has no linear layer "
            "to put LoRA on; set mllm.train to 'full' or 'frozen'."
        )
    add_lora(language, config, targets)


def save_tiny_mllm(path: Path | str, family: Literal["qwen3_vl", "internvl"]) -> Path:
    """Write a random model of a family to `path`, the same one every time.

    The fake beside the real: a folder with config, weights, byte tokenizer, chat template and
    Pillow image processor, of which everything goes the way of the published models: nothing in the
    embedder knows that it is small.

    The Qwen3-VL has patches of 8 px and merges four: a photo of 64 x 32 px is 8 image tokens. The
    InternVL reads tiles of 32 px as 4 image tokens.

    Raises:
        ConfigError: the family is another.
    """
    makers = {"qwen3_vl": _qwen, "internvl": _internvl}
    if family not in makers:
        raise ConfigError(f"There is no tiny {family!r}; choose one of {', '.join(makers)}.")
    settings, processor = makers[family]()
    from transformers import AutoModelForImageTextToText

    path = Path(path)
    with quiet_loading():
        build_random(AutoModelForImageTextToText, settings).save_pretrained(path)
        processor.save_pretrained(path)
    return path


def _qwen() -> tuple[Any, Any]:
    from transformers import Qwen3VLConfig
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = byte_tokenizer(QWEN_MARKS, closed=False)
    mark = dict(zip(QWEN_MARKS, tokenizer.convert_tokens_to_ids(QWEN_MARKS), strict=True))
    settings = Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "num_position_embeddings": 16,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 2, 2],
            },
        },
        image_token_id=mark["<|image_pad|>"],
        video_token_id=mark["<|video_pad|>"],
        vision_start_token_id=mark["<|vision_start|>"],
        vision_end_token_id=mark["<|vision_end|>"],
    )
    processor = without_video(processor_class("tiny", "qwen3_vl"))(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=8, size={"shortest_edge": 256, "longest_edge": 16384}
        ),
        tokenizer=tokenizer,
        chat_template=TURNS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return settings, processor


def _internvl() -> tuple[Any, Any]:
    from transformers import InternVLConfig
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        GotOcr2ImageProcessorPil,
    )

    tokenizer = byte_tokenizer(
        ["<|im_start|>", "<|im_end|>", *INTERNVL_MARKS.values()],
        closed=False,
        extra_special_tokens=INTERNVL_MARKS,
    )
    settings = InternVLConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [32, 32],
            "patch_size": [8, 8],
        },
        text_config={"model_type": "qwen2", **TEXT, "vocab_size": len(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    processor = without_video(processor_class("tiny", "internvl"))(
        image_processor=GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=TURNS.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    return settings, processor

"""The network behind an MLLM embedder: loading, LoRA on its language model, pooling, head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgqformer.errors import ConfigError, ModelError
from tgqformer.language.backbone import linear_names, pool
from tgqformer.mllm.config import MLLMConfig
from tgqformer.precision import resolve_dtype
from tgqformer.towers.hub import build_random, load, load_settings, locate

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
    dtype = resolve_dtype(config.dtype, device)
    whole = _random(config).to(dtype) if config.random_weights else _pretrained(config, dtype)
    network = whole.base_model
    language = getattr(network, "language_model", None)
    if not isinstance(language, nn.Module) or network is whole:
        raise ModelError(
            f"The model {config.name!r} is a {type(whole).__name__}, whose language model is not "
            "to be found; choose a Qwen-VL, an InternVL (-hf) or another that is built like them."
        )
    network.requires_grad_(False)
    for module in language.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if config.train == "full":
        language.requires_grad_(True)
    elif config.train == "lora":
        _add_lora(language, config)
    return network


def load_mllm_settings(config: MLLMConfig) -> Any:
    """The model's config (see `towers.hub.load_settings`)."""
    return load_settings(config.name, config.revision)


def _random(config: MLLMConfig) -> Any:
    from transformers import AutoModelForImageTextToText

    settings = load_mllm_settings(config)
    _require_vision_language(config, settings)
    return build_random(AutoModelForImageTextToText, settings)


def _pretrained(config: MLLMConfig, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForImageTextToText

    _require_vision_language(config, load_mllm_settings(config))
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    if Path(locate(config.name)).is_dir():
        options["use_safetensors"] = True
    whole, info = load(AutoModelForImageTextToText, config.name, config.revision, **options)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("lm_head"))
    if missing:
        raise ModelError(
            f"The model {config.name!r} lacks {len(missing)} weights ({missing[0]} first) of a "
            f"{type(whole).__name__}; choose a checkpoint of that architecture."
        )
    return whole


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
    from peft import LoraConfig, inject_adapter_in_model

    targets = linear_names(language)
    if not targets:
        raise ConfigError(
            f"mllm.train is 'lora', and the language model of {config.name!r} has no linear layer "
            "to put LoRA on; set mllm.train to 'full' or 'frozen'."
        )
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        bias="none",
    )
    inject_adapter_in_model(lora, language)
    for name, parameter in language.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()

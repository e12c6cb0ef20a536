"""The backbone that reads visual tokens and metadata text, and pools what it understood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tgqformer.errors import ConfigError
from tgqformer.hub import add_lora, linear_names, without_dropout
from tgqformer.language.config import LanguageConfig
from tgqformer.language.pretrained import load_bare
from tgqformer.language.prompt import PromptBatch


class Backbone(nn.Module):
    """A Hugging Face model behind one call: prompt and visual tokens in, pooled state out.

    Attributes:
        width: D, of input embeddings and of pooled states.
        causal: a token sees those before it alone, as in a decoder; an encoder's see all.
        positions: longest prompt that the model reads; None where it does not say.
    """

    def __init__(self, model: nn.Module, width: int, pooling: str, *, causal: bool) -> None:
        super().__init__()
        self.model, self.width, self.pooling, self.causal = model, width, pooling, causal
        self.positions: int | None = getattr(model.config, "max_position_embeddings", None)

    def forward(self, prompt: PromptBatch, visual: Tensor) -> Tensor:
        """Read a batch.

        Args:
            prompt: B prompts; rows with an image have Q visual slots.
            visual: [B, Q, D] visual tokens; those of rows without slots are left out.

        Returns:
            [B, D] float32 pooled last hidden state.
        """
        states = self._states(prompt, visual, prompt.attention_mask)
        return pool(states, prompt.attention_mask, self.pooling)

    def parts(self, prompt: PromptBatch, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Read a batch of prompts in two parts (mICL of NoteLLM-2, arXiv 2405.16789) in one pass.

        The first part does not see the second, and the second sees both. In a decoder that is so
        anyway, and with pooling "last" the two states are NoteLLM-2's own: h_v just before the
        answer, h_m at the end. In an encoder (ours) a mask makes it so, and each part is pooled
        over its own tokens, the opening ones with the first part and the closing with the second.

        Returns:
            h_v and h_m, [B, D] float32 each.
        """
        mask = prompt.attention_mask
        seen = mask if self.causal else block_mask(prompt, self._dtype)
        states = self._states(prompt, visual, seen)
        second = mask.bool() & ~prompt.first_part
        return pool(states, prompt.first_part, self.pooling), pool(states, second, self.pooling)

    def _states(self, prompt: PromptBatch, visual: Tensor, mask: Tensor) -> Tensor:
        """[B, S, D]."""
        embeds = self.model.get_input_embeddings()(prompt.input_ids)  # type: ignore[operator]
        embeds = splice(embeds, visual, prompt.visual_slots)
        states: Tensor = self.model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        return states

    def checkpoint(self) -> None:
        """Keep of each layer its input alone, and run the layer again in the backward pass.

        Raises:
            ConfigError: the network cannot.
        """
        if not getattr(self.model, "supports_gradient_checkpointing", False):
            raise ConfigError(
                f"The backbone is a {type(self.model).__name__}, which knows no gradient "
                "checkpointing; set training.gradient_checkpointing=false and lower "
                "training.chunk_size."
            )
        older = getattr(self.model, "gradient_checkpointing_enable", None)  # transformers 5.3
        enable: Any = getattr(self.model, "activation_checkpointing_enable", older)
        enable({"use_reentrant": False})

    @torch.no_grad()
    def embedding_norm(self) -> float:
        """The mean norm of its own input embeddings, as its first layer reads them.

        Some models (Gemma) multiply their embeddings inside the embedding layer, so it is asked,
        and not its table.
        """
        embeddings: Any = self.model.get_input_embeddings()  # type: ignore[operator]
        weight: Tensor = embeddings.weight
        total = weight.new_zeros((), dtype=torch.float64)
        every = torch.arange(len(weight), device=weight.device)
        for ids in torch.split(every, 1 << 14):
            total += embeddings(ids).float().norm(dim=-1).sum()
        return float(total) / len(weight)

    @property
    def _dtype(self) -> torch.dtype:
        weight: Tensor = self.model.get_input_embeddings().weight  # type: ignore[operator]
        return weight.dtype


def block_mask(prompt: PromptBatch, dtype: torch.dtype) -> Tensor:
    """What an attention adds to its scores so that the first part does not see the second.

    Returns:
        [B, 1, S, S] of `dtype`: 0 where row i may see column j, else the least number. Padding is
        seen by nobody, and sees what the second part sees.
    """
    first, real = prompt.first_part, prompt.attention_mask.bool()
    hidden = (first[:, :, None] & ~first[:, None, :]) | ~real[:, None, :]
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill(hidden, torch.finfo(dtype).min)[:, None]


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


def load_backbone(config: LanguageConfig, device: torch.device | str = "cpu") -> Backbone:
    """Load, cut to `config.layers`, freeze, and add LoRA as the config says.

    Args:
        device: where it will run, which decides what "auto" dtypes are; it stays on the CPU here.

    Raises:
        ConfigError: an option does not fit the model.
        ModelError: the model cannot be loaded or takes no `inputs_embeds`.
    """
    model = load_bare(config, device)
    width, causal = int(model.config.hidden_size), _is_causal(model)
    pooling = config.pooling if config.pooling != "auto" else ("last" if causal else "mean")
    model.requires_grad_(config.train == "full")
    without_dropout(model)
    if config.train == "lora":
        _add_lora(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:  # the steps of an optimiser are lost in bfloat16
            parameter.data = parameter.data.float()
    model.config.use_cache = False  # nothing is generated
    return Backbone(model, width, pooling, causal=causal)


def _add_lora(model: Any, config: LanguageConfig) -> None:
    targets = config.lora_targets
    names = linear_names(model) if targets == "all-linear" else targets.split(",")
    try:
        add_lora(model, config, names)
    except ValueError as error:
        raise ConfigError(
            f"language.lora_targets ({targets!r}) names no layer of '{config.name}'; give names "
            "of its linear layers, separated by commas, or 'all-linear'."
        ) from error


def _is_causal(model: Any) -> bool:
    """Decoders mask the future; BERT and its kin do not."""
    return any(
        bool(getattr(module, "is_causal", False))
        for module in model.modules()
        if "Attention" in type(module).__name__
    ) and not getattr(model.config, "is_encoder_decoder", False)

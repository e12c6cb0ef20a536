"""The backbone: its network and tokenizer, and how it reads visual tokens and metadata text.

The network comes from a folder, a package or the hub, or is built at random; it is frozen but for
LoRA, and what it understood of a prompt is pooled into one state.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tgqformer.errors import ConfigError, ModelError
from tgqformer.hub import (
    Part,
    add_lora,
    build_random,
    linear_names,
    load,
    load_network,
    load_settings,
    without_dropout,
)
from tgqformer.language.config import LanguageConfig
from tgqformer.language.prompt import PromptBatch
from tgqformer.numerics import resolve_dtype
from tgqformer.packaged import packaged_folder

_ELSEWHERE = (
    "give a local folder or a reachable hub id as language.name, install the [offline] extra for "
    "'all-MiniLM-L6-v2', or set language.random_weights=true to build it without weights"
)
BACKBONE = Part("backbone", _ELSEWHERE, _ELSEWHERE)
_FOLDER = "give a local folder or a reachable hub id as language.name"
TOKENIZER = Part("tokenizer of the backbone", _FOLDER, _FOLDER)


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
    model = _load_network(config, device)
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


def _load_network(config: LanguageConfig, device: torch.device | str = "cpu") -> Any:
    """The bare network of `config`, cut to its first layers, without dropout in its attention.

    Args:
        device: where it will run, which decides what "auto" dtypes are; it stays on the CPU here.

    Raises:
        ConfigError: more layers are asked for than there are.
        MissingDependencyError: it comes in pip packages, and one is absent.
        ModelError: it cannot be loaded, lacks weights, or takes no `inputs_embeds`.
    """
    from transformers import AutoModel

    if config.kind == "tiny":
        return _tiny_model()
    random = config.random_weights
    packaged_folder(config.name, assemble=not random)  # says which package is absent
    settings = load_settings(config.name, config.revision, shipped=random, part=BACKBONE)
    _cut(settings, config)
    model = load_network(
        AutoModel,
        config.name,
        config.revision,
        random_weights=random,
        settings=settings,
        dtype=_dtype(config, device),
        safetensors=True,
        part=BACKBONE,
    )
    if settings.is_encoder_decoder or not _takes_embeds(model):
        raise ModelError(
            f"The backbone '{config.name}' is a {type(model).__name__}, which cannot read visual "
            "tokens (it takes no inputs_embeds by themselves); choose a decoder or an encoder."
        )
    return model


def _cut(settings: Any, config: LanguageConfig) -> None:
    """Leave dropout and the layers beyond `config.layers` out of a network's config."""
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        if hasattr(settings, name):
            setattr(settings, name, 0.0)
    if config.layers is None:
        return
    if config.layers > settings.num_hidden_layers:
        raise ConfigError(
            f"language.layers ({config.layers}) is more than the "
            f"{settings.num_hidden_layers} layers of '{config.name}'."
        )
    settings.num_hidden_layers = config.layers
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[: config.layers]


def _takes_embeds(model: nn.Module) -> bool:
    return "inputs_embeds" in inspect.signature(model.forward).parameters


def _dtype(config: LanguageConfig, device: torch.device | str) -> torch.dtype:
    if config.dtype == "auto" and config.train == "full":
        return torch.float32  # weights that are trained are not to be rounded first
    return resolve_dtype(config.dtype, device)


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
    return build_random(AutoModel, config, dtype=torch.float32)


def load_tokenizer(config: LanguageConfig) -> Any:
    """The tokenizer of `config.name`; bytes for "tiny", and for random weights of a hub's model.

    With random weights no hub is asked, so that the same configuration reads the same tokens on
    every machine.

    Raises:
        ModelError: where it cannot be loaded.
    """
    packaged = packaged_folder(config.name, assemble=not config.random_weights)
    source = packaged or Path(config.name)
    if config.kind == "tiny" or (config.random_weights and not source.is_dir()):
        return byte_tokenizer()
    from transformers import AutoTokenizer

    return load(AutoTokenizer, config.name, config.revision, part=TOKENIZER)


def byte_tokenizer(marks: Sequence[str] = (), *, closed: bool = True, **named: Any) -> Any:
    """One token a byte, ids 0-255, then <pad> 256, <eos> 257 and the special tokens `marks`.

    Args:
        closed: <eos> closes each text.
        named: special tokens that the tokenizer knows by a name.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: i for i, symbol in enumerate(alphabet)} | {"<pad>": 256, "<eos>": 257}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if closed:
        backend.post_processor = processors.TemplateProcessing(
            single="$A <eos>", pair=None, special_tokens=[("<eos>", 257)]
        )
    if marks:
        backend.add_special_tokens([*marks])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        **named,
    )

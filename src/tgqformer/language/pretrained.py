"""The backbone's network and tokenizer: from a folder, a package or the hub, or random ones."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tgqformer.errors import ConfigError, ModelError
from tgqformer.hub import Part, build_random, load, load_network, load_settings
from tgqformer.language.config import LanguageConfig
from tgqformer.packaged import packaged_folder
from tgqformer.precision import resolve_dtype

_ELSEWHERE = (
    "give a local folder or a reachable hub id as language.name, install the [offline] extra for "
    "'all-MiniLM-L6-v2', or set language.random_weights=true to build it without weights"
)
BACKBONE = Part("backbone", _ELSEWHERE, _ELSEWHERE)
_FOLDER = "give a local folder or a reachable hub id as language.name"
TOKENIZER = Part("tokenizer of the backbone", _FOLDER, _FOLDER)


def load_bare(config: LanguageConfig, device: torch.device | str = "cpu") -> Any:
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

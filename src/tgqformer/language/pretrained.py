"""Loading the backbone's network: from a folder, a package or the hub, or with random weights."""

from __future__ import annotations

import inspect
import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tgqformer.errors import ConfigError, ModelError
from tgqformer.language.config import LanguageConfig
from tgqformer.packaged import packaged_folder, quiet_loading
from tgqformer.precision import resolve_dtype


def load_network(config: LanguageConfig, device: torch.device | str = "cpu") -> Any:
    """The bare network of `config`, cut to its first layers, without dropout in its attention.

    Args:
        device: where it will run, which decides what "auto" dtypes are; it stays on the CPU here.

    Raises:
        ConfigError: more layers are asked for than there are.
        ModelError: it cannot be loaded, lacks weights, or takes no `inputs_embeds`.
    """
    if config.kind == "tiny":
        return _tiny_model()
    source = packaged_folder(config.name, assemble=not config.random_weights) or config.name
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
    if config.random_weights:
        model = _random_model(hf_config, _dtype(config, device))
    else:
        model = _pretrained_model(config, source, hf_config, _dtype(config, device))
    if hf_config.is_encoder_decoder or not _takes_embeds(model):
        raise ModelError(
            f"The backbone '{config.name}' is a {type(model).__name__}, which cannot read visual "
            "tokens (it takes no inputs_embeds by themselves); choose a decoder or an encoder."
        )
    return model


def _takes_embeds(model: nn.Module) -> bool:
    return "inputs_embeds" in inspect.signature(model.forward).parameters


def _pretrained_model(
    config: LanguageConfig, source: Any, hf_config: Any, dtype: torch.dtype
) -> Any:
    from transformers import AutoModel

    try:
        with quiet_loading():
            model, info = AutoModel.from_pretrained(
                source,
                config=hf_config,
                revision=config.revision,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers, the hub and safetensors share no base error
        raise _unreachable(config.name, source, error) from error
    # no backbone here uses a pooler: many checkpoints lack its weights
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key.split("."))
    if missing:
        raise ModelError(
            f"The backbone '{config.name}' lacks {len(missing)} weights ({missing[0]} first) of a "
            f"{type(model).__name__}; choose a checkpoint of that architecture."
        )
    return model


def _random_model(hf_config: Any, dtype: torch.dtype) -> Any:
    """The same weights on every call: a saved embedder holds none of them and must find them."""
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(0)
        return AutoModel.from_config(hf_config, dtype=dtype)


def _hf_config(config: LanguageConfig, source: Any) -> Any:
    from transformers import AutoConfig

    shipped = None if Path(source).is_dir() else _shipped_config(config.name)
    if config.random_weights and shipped is not None:
        return AutoConfig.for_model(**shipped)
    try:
        return AutoConfig.from_pretrained(source, revision=config.revision)
    except Exception as error:
        raise _unreachable(config.name, source, error) from error


def _shipped_config(name: str) -> dict[str, Any] | None:
    """Architectures of the presets' models, for `random_weights` where no hub is reached."""
    file = resources.files("tgqformer.presets") / "configs" / f"{name.replace('/', '--')}.json"
    if not file.is_file():
        return None
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _unreachable(name: str, source: Any, error: Exception) -> ModelError:
    if Path(source).is_dir():
        reason = " ".join(str(error).split())[:160]
        return ModelError(
            f"The backbone '{name}' cannot be loaded ({type(error).__name__}: {reason}); check "
            "that the folder holds a whole model, with safetensors weights."
        )
    return ModelError(
        f"The backbone '{name}' cannot be loaded; give a local folder or a reachable hub id as "
        "language.name, install the [offline] extra for 'all-MiniLM-L6-v2', or set "
        "language.random_weights=true to build it without weights."
    )


def _dtype(config: LanguageConfig, device: torch.device | str) -> torch.dtype:
    if config.dtype == "auto" and config.train == "full":
        return torch.float32  # weights that are trained are not to be rounded first
    return resolve_dtype(config.dtype, device)


def _tiny_model() -> Any:
    """A random 2-layer decoder of width 64 over bytes, the same on every call."""
    from transformers import Qwen3Config

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
    return _random_model(config, torch.float32)


# -- tokenizer -------------------------------------------------------------------------------------
# The backbone's tokenizer, and a byte tokenizer for backbones that have none at hand.


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

    where = source if source.is_dir() else config.name
    try:
        return AutoTokenizer.from_pretrained(where, revision=config.revision)
    except Exception as error:  # transformers, the hub and tokenizers share no base error
        raise ModelError(
            f"The tokenizer of the backbone '{config.name}' cannot be loaded; give a local folder "
            "or a reachable hub id as language.name."
        ) from error


def byte_tokenizer() -> Any:
    """One token a byte, ids 0-255, then <pad> 256 and <eos> 257, which closes each text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: i for i, symbol in enumerate(alphabet)} | {"<pad>": 256, "<eos>": 257}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair=None, special_tokens=[("<eos>", 257)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )

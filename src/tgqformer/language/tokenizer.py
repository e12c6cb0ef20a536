"""The backbone's tokenizer, and a byte tokenizer for backbones that have none at hand."""

from __future__ import annotations

from typing import Any

from tgqformer.errors import ModelError
from tgqformer.language.config import LanguageConfig
from tgqformer.packaged import packaged_folder


def load_tokenizer(config: LanguageConfig) -> Any:
    """The tokenizer of `config.name`; bytes for "tiny" and for random weights without a hub.

    Raises:
        ModelError: where it cannot be loaded.
    """
    if config.kind == "tiny":
        return byte_tokenizer()
    from transformers import AutoTokenizer

    source = packaged_folder(config.name) or config.name
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=config.revision)
    except (OSError, ValueError) as error:
        if config.random_weights:
            return byte_tokenizer()
        raise ModelError(
            f"The tokenizer of the backbone '{config.name}' cannot be loaded; give a local folder "
            "or a reachable hub id as language.name."
        ) from error
    return tokenizer


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

"""The backbone's tokenizer, and a byte tokenizer for backbones that have none at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tgqformer.errors import ModelError
from tgqformer.language.config import LanguageConfig
from tgqformer.packaged import packaged_folder


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

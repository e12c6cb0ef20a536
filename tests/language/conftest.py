"""Tiny Hugging Face folders (a network and its tokenizer), made by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)

WORDS = ["photo", "product", ":", "unknown", "red", "blue", "shoe", "lamp", "of", "the"]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
SIZES = {
    "vocab_size": 20,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def word_tokenizer(ends: str) -> Any:
    """Ids: [PAD] 0, [CLS] 1, [SEP] 2, [UNK] 3, then WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single=ends, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


def settings_of(kind: str) -> Any:
    import transformers as t

    grouped = {**SIZES, "num_key_value_heads": 1, "head_dim": 16}
    made: dict[str, Callable[[], Any]] = {
        "bert": lambda: t.BertConfig(**SIZES),
        "qwen3": lambda: t.Qwen3Config(**grouped),
        "llama": lambda: t.LlamaConfig(**grouped),
        "t5": lambda: t.T5Config(
            vocab_size=20, d_model=32, d_ff=48, num_layers=1, num_heads=2, d_kv=16
        ),
        "vit": lambda: t.ViTConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        ),
    }
    return made[kind]()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a tiny network of a family ("bert", "qwen3", "llama", ...) and a tokenizer."""
    from transformers import AutoModel
    from transformers.utils import logging

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            path = tmp_path_factory.mktemp(kind)
            logging.disable_progress_bar()
            torch.manual_seed(0)
            network = AutoModel.from_config(settings_of(kind))
            with torch.no_grad():  # larger than their start, so that layers leave a trace
                for weight in network.parameters():
                    weight.add_(0.1 * torch.randn_like(weight))
            network.save_pretrained(path)
            word_tokenizer("$A [SEP]" if kind != "bert" else "[CLS] $A [SEP]").save_pretrained(path)
            made[kind] = path
        return made[kind]

    return make

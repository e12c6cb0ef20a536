"""How many tokens a text has, and which of its characters each of them stands for."""

from __future__ import annotations

import re
from typing import Any

from tgqformer.towers.hashing import HashTokenizer

Spans = list[tuple[int, int]]


def word_spans(text: str) -> Spans:
    """First and last + 1 character of each word between white space."""
    return [found.span() for found in re.finditer(r"\S+", text)]


def count_tokens(tokenizer: Any, text: str) -> int:
    """Tokens of a text, special tokens left out."""
    if isinstance(tokenizer, HashTokenizer):
        return len(text.split())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    # The tokenizer may cut and pad, and another thread may be using it: its state stays as it is.
    whole = backend.encode(text, add_special_tokens=False)
    return sum(sum(part.attention_mask) for part in (whole, *whole.overflowing))


def count_special(tokenizer: Any) -> int:
    """Special tokens that stand around a text."""
    if isinstance(tokenizer, HashTokenizer):
        return 2
    return int(tokenizer.num_special_tokens_to_add())


def token_spans(tokenizer: Any, text: str, max_tokens: int) -> Spans:
    """The span of each token of a text, cut at `max_tokens`; empty ones are special tokens.

    No span at all where the tokenizer cannot tell (transformers' slow ones).
    """
    if isinstance(tokenizer, HashTokenizer):
        return [(0, 0), *word_spans(text)[: max_tokens - 2], (0, 0)]
    if not getattr(tokenizer, "is_fast", False):
        return []
    batch = tokenizer(text, truncation=True, max_length=max_tokens, return_offsets_mapping=True)
    return [(int(start), int(stop)) for start, stop in batch["offset_mapping"]]

"""Words by their hash, where there is no vocabulary.

`hashed_words` counts an item's words for the frozen base. `HashTokenizer` stands in for a tokenizer
where `random_weights=True` and no model hub is reached: its tokens have the right number and range,
and mean nothing. Trained weights never meet it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Spans = list[tuple[int, int]]

# Scripts that put no space between words: their words are taken as pairs of signs.
_WORDS = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f]+|[^\W_]+")
_UNSPACED = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f]")


def hashed_words(texts: Sequence[str], width: int) -> npt.NDArray[np.float32]:
    """Which words each text has: feature hashing (Weinberger et al., ICML 2009).

    A word adds +1 or -1 to one of `width` places, both chosen by its CRC-32; places are damped by
    log(1 + |count|), rows scaled to unit length. No vocabulary is kept, so that a word that no
    catalog had before counts like any other. Upper and lower case are one.

    Returns:
        [N, width]; zero for a text without words.
    """
    counts = np.zeros((len(texts), width), dtype=np.float32)
    for row, text in enumerate(texts if width else ()):
        for word in _words(text):
            place, sign = _place(word, width)
            counts[row, place] += sign
    damped = np.sign(counts) * np.log1p(np.abs(counts))
    lengths = np.linalg.norm(damped, axis=1, keepdims=True)
    np.divide(damped, lengths, out=damped, where=lengths > 0)
    return damped


def _words(text: str) -> list[str]:
    found: list[str] = []
    for word in _WORDS.findall(text.casefold()):
        if _UNSPACED.match(word) and len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            found.append(word)
    return found


@lru_cache(maxsize=1 << 16)
def _place(word: str, width: int) -> tuple[int, float]:
    code = zlib.crc32(word.encode("utf-8", "replace"))
    return (code >> 1) % width, 1.0 if code & 1 else -1.0


class HashTokenizer:
    """Words to ids by CRC-32, with a start and an end token.

    Args:
        vocab_size: ids are below this.
        start, end, pad: the model's special ids.
    """

    def __init__(self, vocab_size: int, *, start: int = 1, end: int = 2, pad: int = 0) -> None:
        self.vocab_size, self.start, self.end, self.pad = vocab_size, start, end, pad

    @classmethod
    def for_settings(cls, settings: Any) -> HashTokenizer:
        """With the special ids of a text model's config, as far as they lie in its vocabulary.

        CLIP finds the end of a text by the end id, or (old checkpoints) by the largest id.
        """
        size = int(settings.vocab_size)
        end = getattr(settings, "eos_token_id", None)
        start = getattr(settings, "bos_token_id", None)
        pad = getattr(settings, "pad_token_id", None)
        end = end if isinstance(end, int) and 2 < end < size else size - 1
        start = start if isinstance(start, int) and 0 <= start < size and start != end else size - 2
        pad = pad if isinstance(pad, int) and 0 <= pad < size and pad not in (start, end) else 0
        return cls(size, start=start, end=end, pad=pad)

    def ids(self, text: str, max_length: int) -> list[int]:
        """At most `max_length` ids, the start and end tokens included."""
        special = {self.start, self.end, self.pad}
        words = []
        for word in text.split()[: max_length - 2]:
            token = zlib.crc32(word.lower().encode("utf-8", "replace")) % self.vocab_size
            while token in special:
                token = (token + 1) % self.vocab_size
            words.append(token)
        return [self.start, *words, self.end]

    def __call__(
        self,
        texts: Sequence[str],
        *,
        max_length: int,
        padding: bool | str = True,
        **_: Any,
    ) -> Mapping[str, Tensor]:
        """`input_ids` and `attention_mask`, [B, T], padded on the right."""
        rows = [self.ids(text, max_length) for text in texts]
        width = max_length if padding == "max_length" else max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def get_vocab(self) -> dict[str, int]:
        """The special ids: all that tells two of these apart."""
        return {"size": self.vocab_size, "start": self.start, "end": self.end, "pad": self.pad}


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

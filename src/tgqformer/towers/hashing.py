"""A tokenizer without a vocabulary, for networks without trained weights.

It stands in where `random_weights=True` and no model hub is reached: the tokens have the right
number and range, and mean nothing. Trained weights never meet it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


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

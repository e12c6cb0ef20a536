"""Which words of the metadata the anchored queries are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.towers.spans import word_spans

SEPARATORS = ";:,"


@dataclass(frozen=True)
class Word:
    """A word of an item's text.

    Attributes:
        text: as it stands there, without what separates the fields behind it.
        start: its first character.
        weight: its share of the attention to all words, in [0, 1].
    """

    text: str
    start: int
    weight: float


def read_words(
    text: str, spans: Sequence[tuple[int, int]], attention: npt.NDArray[Any]
) -> tuple[Word, ...]:
    """Sum the attention to tokens over the words that they are part of, in the text's order.

    Special tokens, the null token and what the text tower cut off count for no word.

    Args:
        text: the metadata.
        spans: of its tokens, see `TextTower.spans`; none where the tower cannot tell.
        attention: [Q, T] over the tokens.

    Returns:
        Words whose weights sum to 1; empty where no token belongs to one.
    """
    words = word_spans(text)
    if not words or not spans:
        return ()
    starts = np.array([start for start, _ in words])
    sums = np.zeros(len(words))
    for (start, stop), weight in zip(spans, attention.mean(axis=0)):
        if start < stop:
            # a tokenizer may count the space before a word to it
            sums[np.searchsorted(starts, stop - 1, side="right") - 1] += weight
    total = sums.sum()
    if not total > 0:
        return ()
    return tuple(
        Word(text[start:stop].rstrip(SEPARATORS) or text[start:stop], start, float(weight))
        for (start, stop), weight in zip(words, sums / total)
    )

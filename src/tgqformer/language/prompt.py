"""From an item's text to token ids with slots for the visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgqformer.language.config import PromptConfig


@dataclass
class PromptBatch:
    """Token ids for a batch, padded on the right.

    Attributes:
        input_ids: [B, S] int64; the value inside a visual slot is the padding id.
        attention_mask: [B, S] int64, 1 where a token is real.
        visual_slots: [B, S] bool; row b has exactly Q of them, or none where it has no image.
    """

    input_ids: Tensor
    attention_mask: Tensor
    visual_slots: Tensor

    def to(self, device: torch.device | str) -> PromptBatch:
        """The same batch on `device`."""
        return PromptBatch(
            *(x.to(device) for x in (self.input_ids, self.attention_mask, self.visual_slots))
        )


class PromptBuilder:
    """Fill the templates of `PromptConfig`."""

    def __init__(self, tokenizer: Any, config: PromptConfig, num_visual: int) -> None:
        self.tokenizer, self.config, self.num_visual = tokenizer, config, num_visual
        self.opening, self.closing = _special_ends(tokenizer)
        self.padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._pieces: dict[str, list[int]] = {}

    def build(self, texts: Sequence[str], has_image: Sequence[bool]) -> PromptBatch:
        """Tokens for items with metadata `texts` ("" where there is none).

        Args:
            texts: B strings.
            has_image: B flags.
        """
        bodies = self._tokenize(texts)
        rows = [self._row(body, bool(image)) for body, image in zip(bodies, has_image, strict=True)]
        length = max(len(row) for row in rows)
        ids = torch.full((len(rows), length), self.padding, dtype=torch.long)
        mask = torch.zeros_like(ids)
        slots = torch.zeros_like(ids, dtype=torch.bool)
        for i, row in enumerate(rows):
            filled = torch.tensor([self.padding if t is None else t for t in row])
            ids[i, : len(row)], mask[i, : len(row)] = filled, 1
            slots[i, : len(row)] = torch.tensor([t is None for t in row])
        return PromptBatch(ids, mask, slots)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that `build` can make."""
        text: list[int] = [0] * self.config.max_tokens
        return max(len(self._row(body, image)) for body in (text, []) for image in (True, False))

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if not any(texts):
            return [[] for _ in texts]
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # a title may spell "[SEP]"; it is text, and stays text
            truncation=True,
            max_length=self.config.max_tokens,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _row(self, body: list[int], image: bool) -> list[int | None]:
        """None marks a visual slot."""
        c = self.config
        template = (
            (c.both if body else c.image_only) if image else (c.text_only if body else c.neither)
        )
        row: list[int | None] = [*self.opening]
        for piece in _split(template):
            if piece == "{image}":
                row += [None] * self.num_visual
            else:
                row += body if piece == "{text}" else self._piece(piece)
        return [*row, *self.closing]

    def _piece(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._pieces[text]


def _split(template: str) -> list[str]:
    """ "a {image} b" -> ["a ", "{image}", " b"], empty pieces left out."""
    pieces = [template]
    for mark in ("{image}", "{text}"):
        split: list[str] = []
        for piece in pieces:
            before, found, after = piece.partition(mark)
            split += [before, mark, after] if found else [piece]
        pieces = split
    return [piece for piece in pieces if piece.strip()]


def _special_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]

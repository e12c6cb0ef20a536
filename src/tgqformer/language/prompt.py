"""From an item's text to token ids with slots for the visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from tgqformer.catalog.text import TextLimit
from tgqformer.language.config import PromptConfig


@dataclass
class PromptBatch:
    """Token ids for a batch, padded on the right.

    Attributes:
        input_ids: [B, S] int64; the value inside a visual slot is the padding id.
        attention_mask: [B, S] int64, 1 where a token is real.
        visual_slots: [B, S] bool; row b has exactly Q of them, or none where it has no image.
        first_part: [B, S] bool, the tokens before `{answer}`, opening tokens too; none of them
            where the template has no such place.
    """

    input_ids: Tensor
    attention_mask: Tensor
    visual_slots: Tensor
    first_part: Tensor

    def to(self, device: torch.device | str) -> PromptBatch:
        """The same batch on `device`."""
        return PromptBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


class PromptBuilder:
    """Fill the templates of `PromptConfig`.

    Args:
        num_visual: Q; 0 makes every item one without a photo.
        reads_text: False makes every item one without metadata.

    Attributes:
        limit: how much metadata a prompt holds; longer metadata has its fields shortened.
    """

    def __init__(
        self, tokenizer: Any, config: PromptConfig, num_visual: int, *, reads_text: bool = True
    ) -> None:
        self.tokenizer, self.config, self.num_visual = tokenizer, config, num_visual
        self.reads_text = reads_text
        self.limit = TextLimit(self._count, config.max_tokens)
        self.opening, self.closing = _special_ends(tokenizer)
        self.padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._pieces: dict[str, list[int]] = {}

    def build(self, texts: Sequence[str], has_image: Sequence[bool]) -> PromptBatch:
        """Tokens for items with metadata `texts` ("" where there is none).

        Args:
            texts: B strings.
            has_image: B flags.
        """
        bodies = self.tokenize(texts)
        rows = [self._row(body, bool(image)) for body, image in zip(bodies, has_image, strict=True)]
        length = max(len(row) for row, _ in rows)
        ids = torch.full((len(rows), length), self.padding, dtype=torch.long)
        mask = torch.zeros_like(ids)
        slots = torch.zeros_like(ids, dtype=torch.bool)
        first = torch.zeros_like(slots)
        for i, (row, answer) in enumerate(rows):
            filled = torch.tensor([self.padding if t is None else t for t in row])
            ids[i, : len(row)], mask[i, : len(row)] = filled, 1
            slots[i, : len(row)] = torch.tensor([t is None for t in row])
            first[i, :answer] = True
        return PromptBatch(ids, mask, slots, first)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that `build` can make."""
        text: list[int] = [0] * self.config.max_tokens
        return max(len(self._row(body, image)[0]) for body in (text, []) for image in (True, False))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of the metadata in B prompts, at most `max_tokens` each."""
        if not (self.reads_text and any(texts)):
            return [[] for _ in texts]
        most = self.config.max_tokens
        bodies = self._ids(texts)
        long = [row for row, ids in enumerate(bodies) if len(ids) > most]
        if long:
            shorter = self._ids([self.limit.fit(texts[row]) for row in long])
            for row, ids in zip(long, shorter, strict=True):
                bodies[row] = ids
        return [ids[:most] for ids in bodies]

    def _count(self, text: str) -> int:
        return len(self._ids([text])[0])

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # a title may spell "[SEP]"; it is text, and stays text
            verbose=False,  # no word about texts longer than the model: they are shortened
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _row(self, body: list[int], image: bool) -> tuple[list[int | None], int]:
        """Tokens, None for a visual slot; and how many of them stand before the answer."""
        body, image = body if self.reads_text else [], image and self.num_visual > 0
        template = self.config.template(image=image, text=bool(body))
        row: list[int | None] = [*self.opening]
        answer = 0
        for piece in _split(template):
            if piece == "{image}":
                row += [None] * self.num_visual
            elif piece == "{answer}":
                answer = len(row)
            else:
                row += body if piece == "{text}" else self._piece(piece)
        return [*row, *self.closing], answer

    def _piece(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._pieces[text]


def _split(template: str) -> list[str]:
    """ "a {image} b" -> ["a ", "{image}", " b"], empty pieces left out."""
    pieces = [template]
    for mark in ("{image}", "{answer}", "{text}"):
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

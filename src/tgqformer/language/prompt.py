"""From an item's text to token ids with slots for the visual tokens."""

from __future__ import annotations

import re
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

    What stands between two marks, metadata included, is tokenized as the one text that it is, and
    as it goes on from the words before the photo: "product: Title" gives what a tokenizer makes of
    that text, whether it counts a space to the word behind it (BPE, SentencePiece) or drops it
    (WordPiece).

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
        self.opening, self.closing = _special_ends(tokenizer)
        self.padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        special = [token for token in tokenizer.get_added_vocab() if token.strip()]
        self._pieces = {
            (image, text): _split(config.template(image=image, text=text), special)
            for image in (True, False)
            for text in (True, False)
        }
        # the words around the metadata, which decide how its first and last tokens are cut
        [self._around] = re.findall(r"\S*\s*{text}\s*\S*", config.text_only)
        words = [word for word in self._around.replace("{text}", " ").split() if word]
        self._around_tokens = sum(map(len, self._ids(words))) if words else 0
        self.limit = TextLimit(self._count, config.max_tokens)

    def build(self, texts: Sequence[str], has_image: Sequence[bool]) -> PromptBatch:
        """Tokens for items with metadata `texts` ("" where there is none).

        Args:
            texts: B strings.
            has_image: B flags.
        """
        rows = self._rows(texts, has_image)
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

    def lengths(self, texts: Sequence[str], has_image: Sequence[bool]) -> list[int]:
        """Tokens of each of B prompts, visual slots and special tokens included."""
        return [len(row) for row, _ in self._rows(texts, has_image)]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that `build` can make."""
        bare = self.lengths(["", ""], [True, False])
        if not self.reads_text:
            return max(bare)
        around = max(self.lengths(["a", "a"], [True, False])) - self._count("a")
        return max(*bare, around + self.config.max_tokens)

    def _rows(
        self, texts: Sequence[str], has_image: Sequence[bool]
    ) -> list[tuple[list[int | None], int]]:
        """Of each prompt its tokens, None for a visual slot; how many stand before the answer."""
        told = [self.limit.fit(text) if self.reads_text and text else "" for text in texts]
        kinds = [
            (bool(image) and self.num_visual > 0, bool(text))
            for image, text in zip(has_image, told, strict=True)
        ]
        rows: dict[int, tuple[list[int | None], int]] = {}
        for kind in set(kinds):
            places = [place for place, own in enumerate(kinds) if own == kind]
            filled = self._fill(self._pieces[kind], [told[place] for place in places])
            rows |= dict(zip(places, filled, strict=True))
        return [rows[place] for place in range(len(kinds))]

    def _fill(
        self, pieces: Sequence[_Piece], texts: Sequence[str]
    ) -> list[tuple[list[int | None], int]]:
        rows: list[list[int | None]] = [[*self.opening] for _ in texts]
        answer = 0
        for piece in pieces:
            if piece.text == "{answer}":  # no metadata stands before it: all rows are as long
                answer = len(rows[0])
            elif piece.text == "{image}":
                rows = [[*row, *[None] * self.num_visual] for row in rows]
            elif piece.special:
                own = self.tokenizer.convert_tokens_to_ids(piece.text)
                rows = [[*row, own] for row in rows]
            else:
                ids = self._continued(piece, texts)
                rows = [[*row, *own] for row, own in zip(rows, ids, strict=True)]
        return [([*row, *self.closing], answer) for row in rows]

    def _continued(self, piece: _Piece, texts: Sequence[str]) -> list[list[int]]:
        """Ids of a piece with each text in it, as they go on from what stands before."""
        distinct = dict.fromkeys(piece.text.replace("{text}", text) for text in texts)
        head = self._ids([piece.before])[0] if piece.before else []
        whole = self._ids([piece.before + words for words in distinct])
        found = {}
        for words, ids in zip(distinct, whole, strict=True):
            goes_on = ids[: len(head)] == head  # or a token lies across the photo's place
            found[words] = ids[len(head) :] if goes_on else self._ids([words])[0]
        return [found[piece.text.replace("{text}", text)] for text in texts]

    def _count(self, text: str) -> int:
        """Tokens that a text adds between the words around it."""
        return len(self._ids([self._around.replace("{text}", text)])[0]) - self._around_tokens

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # a title may spell "[SEP]"; it is text, and stays text
            verbose=False,  # no word about texts longer than the model: they are shortened
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids


@dataclass(frozen=True)
class _Piece:
    """A part of a template: words with or without "{text}", another mark, or a special token.

    Attributes:
        before: the words that it goes on from, across the photo's place; "" where it begins anew.
    """

    text: str
    before: str = ""
    special: bool = False


def _split(template: str, special: Sequence[str]) -> list[_Piece]:
    """ "a {image} b" -> "a", "{image}", " b": a space before a photo is no word, and left out."""
    special = sorted((token for token in special if token in template), key=len, reverse=True)
    marks = ["{image}", "{answer}", *special]
    parts = re.split("(" + "|".join(map(re.escape, marks)) + ")", template)
    pieces: list[_Piece] = []
    before = ""
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if part in marks:
            pieces.append(_Piece(part, special=part in special))
            before = before if part == "{image}" else ""
        elif part.strip():
            words = part.rstrip() if following in ("{image}", "{answer}") else part
            pieces.append(_Piece(words, before))
            before += words
    return pieces


def _special_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]

"""From an item's metadata to the one line of text that a text tower or a prompt reads.

A reader takes so many tokens and no more. Where a text has more, its fields are shortened, each by
its share, so that a long title does not push the category out (`fit_text`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tgqformer.catalog.items import Item
from tgqformer.errors import ConfigError

_T = TypeVar("_T")

TEXT_FIELDS = ("title", "brand", "category", "attributes")
"""What an item's text may be made of, in reading order. Id, price and stock are never shown."""

STOCK = "in_stock"
"""The attribute that a store filters by. No model reads it: it changes from hour to hour."""

MAX_CHARS = 1_000
"""Enough for some 250 word pieces, twice what the text towers in use read."""

# Cc control, Cf format (zero-width and direction marks) but for the joiners that some scripts and
# emoji need.
_INVISIBLE = {"Cc", "Cf"}
_JOINERS = {"\u200c", "\u200d"}
_SPACES = re.compile(r"\s+")

_NEXT_FIELD = re.compile(r"; (?=[^;:]+: )")
_LABEL = re.compile(r"[^;:]{1,40}: ")
# A word, or a stretch of one longer than words are. Chinese, Japanese and emoji, which know no
# spaces, go sign by sign; Hangul (AC00 to D7AF) does know them.
_PIECE = re.compile(r"\s*(?:[^\s\u2e80-\uabff\ud7b0-\U0010ffff]{1,24}|\S)")
_REMEMBERED = 1 << 16  # texts, and pieces of texts
_PIECE_CHARS = 80


def replace_surrogates(text: str) -> str:
    """Return text that can be encoded as UTF-8: each lone surrogate becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_text(text: str, *, max_chars: int = MAX_CHARS) -> str:
    """Return text as NFC on one line: no lone surrogate, control or invisible character.

    Runs of white space become one space; what goes beyond max_chars is cut off.
    """
    # Look at no more than could matter: a megabyte costs a second in NFC.
    text = replace_surrogates(text[: 4 * max_chars])
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(_visible(text))
    return _SPACES.sub(" ", text).strip()[:max_chars].rstrip()


def _visible(text: str) -> Iterator[str]:
    for character in text:
        if character.isspace():
            yield " "
        elif character in _JOINERS or unicodedata.category(character) not in _INVISIBLE:
            yield character


def item_text(
    item: Item, *, fields: Sequence[str] = TEXT_FIELDS, max_chars: int = MAX_CHARS
) -> str:
    """Return an item's metadata as one line, "" where nothing is known.

    The title stands first and bare; the other fields follow with their names, ``"Desk lamp; brand:
    Lux; category: Home > Lighting; colour: red"``, so that a wrong title can be told from a brand.

    Args:
        item: the item.
        fields: which of TEXT_FIELDS to tell, in this order.
        max_chars: upper bound on the length of the result; a longer one has its fields shortened,
            as `fit_text` does.

    Raises:
        ConfigError: a field is not one of TEXT_FIELDS.
    """
    parts: list[str] = []
    for name in fields:
        if name == "title":
            parts.append(clean_text(item.title, max_chars=max_chars))
        elif name in ("brand", "category"):
            value = clean_text(getattr(item, name), max_chars=max_chars)
            parts.append(f"{name}: {value}" if value else "")
        elif name == "attributes":
            for key, raw in item.attributes.items():
                if key == STOCK:
                    continue
                value = clean_text(raw, max_chars=max_chars)
                if value:
                    parts.append(f"{clean_text(key, max_chars=max_chars)}: {value}")
        else:
            raise ConfigError(
                f"{name!r} is no field of an item's text; choose from {', '.join(TEXT_FIELDS)}."
            )
    return fit_text("; ".join(part for part in parts if part), len, max_chars)


def fit_text(text: str, count: Callable[[str], int], limit: int) -> str:
    """Shorten an item's text to `limit` tokens; one that fits comes back as it is.

    Title, brand, category and attributes each get an equal share, and what a short field leaves
    over goes to the others: the field that has least gets the next word, among attributes the one
    that has least. Fields keep their beginning, a category path its narrow end. A word is cut only
    where it is longer than 24 characters or alone too long. Ours; the paper says nothing of it.

    Every field has a word in the result if the first words of all of them fit. With a larger limit
    each field keeps what it had, or more.

    Args:
        text: as `item_text` makes it. The fields are told apart by their names in it, so that any
            other text is one long title.
        count: tokens of a text, special tokens left out.
        limit: tokens there is room for.

    Returns:
        A text of at most `limit` tokens; "" only where not even one character fits.
    """
    if count(text) <= limit:
        return text
    fields = _fields(text)
    parts = sorted((part for field in fields for part in field), key=lambda part: part.place)
    order = _in_turn(fields, count, limit)
    while order:
        shorter = "; ".join(part.text() for part in parts if part.kept)
        if count(shorter) <= limit:
            return shorter
        order.pop().kept -= 1  # the pieces together took more tokens than one by one
    head = parts[0].next_piece() if parts else ""
    cuts = (head[:end].rstrip() for end in range(len(head) - 1, 0, -1))
    return next((cut for cut in cuts if count(cut) <= limit), "")


def only_fields(text: str, fields: Sequence[str]) -> str:
    """An item's text without the fields that are not among `fields`, "" where none is left.

    The fields are told apart by their names in the text, as `fit_text` does: what stands first
    without a name that `item_text` gives is the title.

    Args:
        text: as `item_text` makes it.
        fields: which of TEXT_FIELDS to keep.
    """
    if all(field in fields for field in TEXT_FIELDS):
        return text
    parts = filter(str.strip, _NEXT_FIELD.split(text))
    kept = [part for place, part in enumerate(parts) if _field_of(part, place)[0] in fields]
    return "; ".join(kept)


class TextLimit:
    """How much text one reader takes, and each text shortened to it.

    Attributes:
        count: tokens of a text by the reader's own tokenizer, special tokens left out.
        tokens: how many of them it reads.
    """

    def __init__(self, count: Callable[[str], int], tokens: int) -> None:
        self.count, self.tokens = count, tokens
        self._pieces: dict[str, int] = {}
        self._fitted: dict[str, str] = {}

    def fits(self, text: str) -> bool:
        """Whether the reader takes the whole text."""
        # No tokenizer makes more tokens of ASCII than characters, but for one put in front.
        return (text.isascii() and len(text) < self.tokens) or self.count(text) <= self.tokens

    def fit(self, text: str) -> str:
        """The text as far as the reader takes it: see `fit_text`."""
        fitted = self._fitted.get(text)
        if fitted is None:
            fitted = text if self.fits(text) else fit_text(text, self._count, self.tokens)
            if len(text) <= MAX_CHARS:
                _remember(self._fitted, text, fitted)
        return fitted

    def _count(self, text: str) -> int:
        """As `count`; the words of a catalog come again and again."""
        if len(text) > _PIECE_CHARS:
            return self.count(text)
        tokens = self._pieces.get(text)
        if tokens is None:
            tokens = self.count(text)
            _remember(self._pieces, text, tokens)
        return tokens


def _remember(memory: dict[str, _T], text: str, value: _T) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[text] = value


@dataclass
class _Part:
    """A field, or one attribute, of a text that is being shortened."""

    place: int
    label: str
    pieces: list[str]  # in the order in which they are taken
    narrow_end: bool  # they are taken from the end
    kept: int = 0
    tokens: int = 0

    def next_piece(self) -> str:
        """What taking the next piece adds to the text."""
        piece = self.pieces[self.kept]
        if self.kept:
            return piece
        return ("; " if self.place else "") + self.label + piece.strip()

    def text(self) -> str:
        """What is left of it, without the separator that it was cut at."""
        pieces = self.pieces[: self.kept]
        body = "".join(reversed(pieces) if self.narrow_end else pieces).strip()
        if self.kept < len(self.pieces):
            body = (body.lstrip(" >") if self.narrow_end else body.rstrip(" ,;")) or body
        return self.label + body


def _fields(text: str) -> list[list[_Part]]:
    """The parts of title, brand, category and attributes."""
    fields: dict[str, list[_Part]] = {name: [] for name in TEXT_FIELDS}
    for place, part in enumerate(filter(str.strip, _NEXT_FIELD.split(text))):
        name, label = _field_of(part, place)
        pieces = _PIECE.findall(part, len(label))
        if not pieces:
            label, pieces = "", _PIECE.findall(part)
        if name == "category":
            pieces.reverse()
        fields[name].append(_Part(place, label, pieces, name == "category"))
    return list(fields.values())


def _field_of(part: str, place: int) -> tuple[str, str]:
    """Which of TEXT_FIELDS a part of a text is, and the name that it is told with."""
    found = _LABEL.match(part)
    label = found[0] if found else ""
    name = label[:-2] if label in ("brand: ", "category: ") else "attributes"
    return ("title", "") if place == 0 and name == "attributes" else (name, label)


def _in_turn(fields: list[list[_Part]], count: Callable[[str], int], limit: int) -> list[_Part]:
    """Take pieces until one does not fit any more; returns whose they were, in order.

    The order does not depend on the limit: a larger one takes the same pieces and then others.
    """
    taken: list[_Part] = []
    tokens = {number: 0 for number, field in enumerate(fields) if field}
    while tokens:
        number = min(tokens, key=tokens.__getitem__)
        left = [part for part in fields[number] if part.kept < len(part.pieces)]
        if not left:
            del tokens[number]
            continue
        part = min(left, key=lambda part: part.tokens)
        cost = max(1, count(part.next_piece()))
        limit -= cost
        if limit < 0:
            break
        part.kept += 1
        part.tokens += cost
        tokens[number] += cost
        taken.append(part)
    return taken


def is_cut(item: Item, limits: Sequence[TextLimit]) -> bool:
    """Whether an item has more metadata than one of its readers takes."""
    text = item_text(item, max_chars=2 * MAX_CHARS)  # to see whether MAX_CHARS cut anything
    return len(text) > MAX_CHARS or not all(limit.fits(text) for limit in limits)


def category_path(category: str) -> tuple[str, ...]:
    """Split ``"Home > Lighting > Lamp"`` into ``("Home", "Lighting", "Lamp")``."""
    return tuple(part.strip() for part in category.split(">") if part.strip())

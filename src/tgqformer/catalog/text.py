"""From an item's metadata to the one line of text that a text tower or a prompt reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from tgqformer.catalog.items import Item
from tgqformer.errors import ConfigError

TEXT_FIELDS = ("title", "brand", "category", "attributes")
"""What an item's text may be made of, in reading order. The id and the price are never shown."""

MAX_CHARS = 1_000
"""Enough for some 250 word pieces, twice what the text towers in use read."""

# Cc control, Cf format (zero-width and direction marks) but for the joiners that some scripts and
# emoji need.
_INVISIBLE = {"Cc", "Cf"}
_JOINERS = {"\u200c", "\u200d"}
_SPACES = re.compile(r"\s+")


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
        max_chars: upper bound on the length of the result.

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
                value = clean_text(raw, max_chars=max_chars)
                if value:
                    parts.append(f"{clean_text(key, max_chars=max_chars)}: {value}")
        else:
            raise ConfigError(
                f"{name!r} is no field of an item's text; choose from {', '.join(TEXT_FIELDS)}."
            )
    return "; ".join(part for part in parts if part)[:max_chars].rstrip()


def category_path(category: str) -> tuple[str, ...]:
    """Split ``"Home > Lighting > Lamp"`` into ``("Home", "Lighting", "Lamp")``."""
    return tuple(part.strip() for part in category.split(">") if part.strip())

"""Metadata that looks wrong by itself: empty, too short, priced oddly, or of odd characters."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.items import Item
from tgqformer.catalog.progress import track
from tgqformer.catalog.text import category_path, item_text
from tgqformer.retrieval.neighbours import NeighbourSearch, text_codes

SHORT_TITLE = 2
"""A title of fewer words than this says little; one in a script without spaces is never short."""

FEWEST_PRICES = 20
"""Prices that a category needs before one of them can stand out; with fewer, the one above it is
asked."""

FAR_PRICE = 4.0
"""Robust standard deviations (1.4826 times the median deviation, of log prices) to an outlier; a
normal distribution has one beyond it in 16,000."""

LEAST_SPREAD = math.log(1.15)
"""Where nearly all cost the same, a price within 80 % of theirs is no outlier."""

_JOINERS = {"\u200c", "\u200d", "\ufe0f"}
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True)
class Suspicion:
    """One thing that looks wrong.

    Attributes:
        position: of the item in the catalog.
        kind: such as "short title", the same for all of its kind.
        reason: a sentence with the value.
    """

    position: int
    kind: str
    reason: str


def suspicions(items: Sequence[Item]) -> list[Suspicion]:
    """All that looks wrong in the metadata of N items, in their order."""
    found = [
        Suspicion(position, kind, reason)
        for position, item in enumerate(items)
        for kind, reason in _of_item(item)
    ]
    return sorted([*found, *_prices(items)], key=lambda one: one.position)


def _of_item(item: Item) -> Iterator[tuple[str, str]]:
    title = item.title.strip()
    if not item_text(item):
        yield "no metadata", "Neither title nor brand, category or attributes."
    elif not title:
        yield "no title", "The title is empty."
    elif len(title.split()) < SHORT_TITLE and not _spaceless(title):
        yield "short title", f"The title is a single word: {title[:60]}."
    if item.price is not None and item.price <= 0:
        yield "price", f"The price is {item.price:g}."
    fields = [item.title, item.brand, item.category, *item.attributes.values()]
    for text in fields:
        if reason := odd_characters(text):
            yield "odd characters", reason
            break


def odd_characters(text: str) -> str:
    """A sentence on what is odd in a text's characters, "" where nothing is."""
    if text.isascii() and (text.isprintable() or not re.search(r"[^\t\n\r -~]", text)):
        return ""
    for character in text:
        category = unicodedata.category(character)
        strange = category in ("Cc", "Cf", "Co", "Cn", "Cs") or character == "\ufffd"
        if strange and character not in _JOINERS and not character.isspace():
            return f"It holds U+{ord(character):04X} ({_name(character)})."
    if re.search(r"[\u00c2-\u00f4\u0153\u0178\u0192]", text) and (meant := _misread(text)):
        return f"UTF-8 was read as Windows-1252; it should be: {meant[:60]}"
    for word in re.findall(r"\w+", text):
        scripts = {_script(letter) for letter in word if letter.isalpha()}
        if len(scripts & {"LATIN", "CYRILLIC", "GREEK"}) > 1:
            return f"{word[:40]} mixes letters of {' and '.join(sorted(scripts)).title()}."
    return ""


def _prices(items: Sequence[Item]) -> Iterator[Suspicion]:
    """Prices far from those of their category, or of the one above it where it is small."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    priced = [i for i, item in enumerate(items) if item.price is not None and item.price > 0]
    paths = {i: category_path(items[i].category) for i in priced}
    for i, path in paths.items():
        for depth in range(1, len(path) + 1):
            groups[path[:depth]].append(i)
    spread = {}
    for path, members in groups.items():
        if len(members) >= FEWEST_PRICES:
            logs = np.log([items[i].price or 1.0 for i in members])
            middle = float(np.median(logs))
            deviation = 1.4826 * float(np.median(np.abs(logs - middle)))
            spread[path] = middle, max(deviation, LEAST_SPREAD)
    for i, path in paths.items():
        known = next((path[:d] for d in range(len(path), 0, -1) if path[:d] in spread), None)
        if known is None:
            continue
        middle, deviation = spread[known]
        price = items[i].price or 1.0
        if abs(math.log(price) - middle) > FAR_PRICE * deviation:
            yield Suspicion(
                i,
                "price",
                f"The price is {price:,.2f}; half of {' > '.join(known)} cost more than "
                f"{math.exp(middle):,.2f} and half less.",
            )


def _misread(text: str) -> str:
    try:
        meant = text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return ""
    return meant if meant != text else ""


def _script(letter: str) -> str:
    return _name(letter).split(" ")[0]


def _name(character: str) -> str:
    return unicodedata.name(character, "no character")


def _spaceless(text: str) -> bool:
    return any(_name(letter).startswith(_SPACELESS) for letter in text[:20])


# -- neighbours ------------------------------------------------------------------------------------
# The nearest photos of every photo, and what their categories say of an item's own.


@dataclass(frozen=True)
class Votes:
    """What the nearest photos say of N items' categories.

    Attributes:
        own: [N] the share of neighbours in the item's own category; NaN where there is none to
            ask or to compare.
        best: [N] the largest share of another category; NaN likewise.
        category: [N] that category, "" where there is none.
    """

    own: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    category: Sequence[str]


def photo_neighbours(
    photos: npt.NDArray[np.float32], there: npt.NDArray[np.bool_], k: int, *, progress: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The k nearest photos of every photo, exactly, in blocks of bounded memory.

    Args:
        photos: [N, D] unit rows.
        there: [N] which items have a photo.

    Returns:
        Cosines [N, k] and positions [N, k]; -inf and -1 where there is none.
    """
    known = np.flatnonzero(there)
    scores = np.full((len(photos), k), -np.inf, dtype=np.float32)
    rows = np.full((len(photos), k), -1, dtype=np.int64)
    if len(known) > 1:
        search = NeighbourSearch(photos[known], min(k, len(known) - 1))
        parts = search.blocks()
        for number, found_scores, found in track(
            search.search(), total=len(parts), text="neighbours", show=progress
        ):
            block = parts[number]
            width = found.shape[1]
            scores[known[block], :width] = found_scores
            rows[known[block], :width] = np.where(found >= 0, known[found], -1)
    return scores, rows


def vote(rows: npt.NDArray[np.int64], categories: Sequence[str]) -> Votes:
    """Let neighbours [N, K] vote for their own categories; those without one have no vote."""
    names, codes = text_codes(categories)
    own = np.full(len(rows), np.nan)
    best = np.full(len(rows), np.nan)
    winners = [""] * len(rows)
    for position, neighbours in enumerate(rows):
        voters = codes[neighbours[neighbours >= 0]]
        counts = np.bincount(voters[voters >= 0], minlength=len(names)).astype(np.float64)
        mine = codes[position]
        if not counts.sum() or not categories[position]:
            continue
        shares = counts / counts.sum()
        own[position] = shares[mine]
        shares[mine] = -1
        winner = int(shares.argmax())
        best[position] = max(0.0, float(shares[winner]))
        winners[position] = names[winner] if best[position] > 0 else ""
    return Votes(own, best, winners)

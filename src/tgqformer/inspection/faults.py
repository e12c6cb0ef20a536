"""What looks wrong by itself: metadata that is empty, short or odd, and photos that stand twice.

Frozen vectors alone do not tell a copy from a photo of a similar thing: saved again, a photo of the
storefront keeps a cosine of 0.95 with itself (median), and one photo in ten has that much with a
photo of another product. So they only propose, and a small picture decides.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.catalog.photos import photo_groups
from tgqformer.catalog.text import category_path, item_text
from tgqformer.inspection.explain import photo_of
from tgqformer.progress import track

_SHORT_TITLE = 2
"""A title of fewer words than this says little; one in a script without spaces is never short."""
_FEWEST_PRICES = 20
"""Prices that a category needs before one of them can stand out; with fewer, the one above it is
asked."""
_FAR_PRICE = 4.0
"""Robust standard deviations (1.4826 times the median deviation, of log prices) to an outlier; a
normal distribution has one beyond it in 16,000."""
_LEAST_SPREAD = math.log(1.15)
"""Where nearly all cost the same, a price within 80 % of theirs is no outlier."""
_JOINERS = {"\u200c", "\u200d", "\ufe0f"}
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_PROPOSED = 5
"""Nearest photos of each photo that are looked at."""
_LEAST_COSINE = 0.85
"""Of two frozen vectors; below it nothing is a copy."""
_KEPT = 16_384
"""Small pictures kept at a time: 110 MB."""
_SIDE = 24
"""Of the small picture, in pixels: enough to tell stripes from dots, and 7 kB."""


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
    elif len(title.split()) < _SHORT_TITLE and not _spaceless(title):
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
        if len(members) >= _FEWEST_PRICES:
            logs = np.log([items[i].price or 1.0 for i in members])
            middle = float(np.median(logs))
            deviation = 1.4826 * float(np.median(np.abs(logs - middle)))
            spread[path] = middle, max(deviation, _LEAST_SPREAD)
    for i, path in paths.items():
        known = next((path[:d] for d in range(len(path), 0, -1) if path[:d] in spread), None)
        if known is None:
            continue
        middle, deviation = spread[known]
        price = items[i].price or 1.0
        if abs(math.log(price) - middle) > _FAR_PRICE * deviation:
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


@dataclass(frozen=True)
class NearPair:
    """Two items whose photos are nearly the same, and how alike, as a correlation or a cosine."""

    first: int
    second: int
    score: float


def same_photos(items: Sequence[Item], *, progress: bool = False) -> list[list[int]]:
    """Groups of items joined by byte-identical photos, the largest first."""
    groups = photo_groups(items, placeholder_after=max(1, len(items)), progress=progress)
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(items) else []
    found = [part.tolist() for part in parts if len(part) > 1]
    return sorted(found, key=lambda group: (-len(group), group[0]))


def near_pairs(
    items: Sequence[Item],
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    same: Sequence[Sequence[int]],
    *,
    least: float,
    progress: bool = False,
) -> list[NearPair]:
    """Pairs of items whose photos are nearly the same picture, the most alike first.

    Args:
        scores, rows: [N, K] of the nearest photos, see `disagreement.photo_neighbours`.
        same: groups of byte-identical photos, which are no news here.
        least: correlation of the small pictures from which on they count as the same.
    """
    pairs = proposed(scores[:, :_PROPOSED], rows[:, :_PROPOSED], same)
    picture = lru_cache(maxsize=_KEPT)(lambda row: small_picture(items[row]))
    found = []
    for one in track(pairs, total=len(pairs), text="near copies", show=progress):
        score = float(picture(one.first) @ picture(one.second))
        if score >= least:
            found.append(NearPair(one.first, one.second, score))
    return sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second))


def proposed(
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    same: Sequence[Sequence[int]],
) -> list[NearPair]:
    """Neighbours with near vectors, each pair once; those of the same bytes left out."""
    group = np.arange(len(rows))
    for members in same:
        group[list(members)] = members[0]
    query, place = np.nonzero((scores >= _LEAST_COSINE) & (rows >= 0))
    other, score = rows[query, place], scores[query, place]
    apart = group[query] != group[other]
    first, second = np.minimum(query, other)[apart], np.maximum(query, other)[apart]
    pairs = {(int(a), int(b)): float(s) for a, b, s in zip(first, second, score[apart])}
    return [NearPair(a, b, s) for (a, b), s in sorted(pairs.items())]


def small_picture(item: Item) -> npt.NDArray[np.float32]:
    """The first readable photo, small, brightness and contrast taken out: a unit row [3 _SIDE^2].

    All zero where there is none, or where it shows one even colour.
    """
    photo = photo_of(item, size_hint=_SIDE)
    if photo is None:
        return np.zeros(_SIDE * _SIDE * 3, dtype=np.float32)
    small = photo.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / np.float32(length) if length > 1 else np.zeros_like(values)

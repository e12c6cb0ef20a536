"""What sellers write: titles, attributes and prices, with the sloppiness of a marketplace.

No word for a colour or a pattern is ever written, and nothing here depends on the hidden style:
titles, attributes and prices are drawn from streams that know category and brand only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tgqformer.corruption.canvas import chance, pick, sample, uniform
from tgqformer.storefront.taxonomy import BRANDS, CATEGORIES, PRICE_FACTORS, Category

PACKS = ("1 piece", "1 piece", "1 piece", "2-pack", "set of 2", "set of 4")
ADJECTIVES = ("modern", "classic", "premium", "handmade", "everyday", "lightweight", "large", "")
SPAM = (
    "HOT SALE",
    "Free Shipping",
    "NEW 2025",
    "best gift",
    "top quality!!",
    "[In stock]",
    "1st choice",
    "limited offer",
    "***",
)
ABBREVIATIONS = (
    (" with ", " w/ "),
    (" piece", " pc"),
    ("set of 2", "2pcs set"),
    ("set of 4", "4pcs set"),
    ("premium", "prem."),
    ("removable", "remov."),
    ("polyester", "polyest."),
    ("cotton", "cott."),
)
STUFFINGS = (
    "{title}, not {a}, gift for {b} lovers",
    "{title}, not {a}",
    "{title}, goes with {a}",
    "{title}, gift for {a} lovers",
    "{title} | {a} | {b} | {c}",
    "{title} {a} {b}",
    "{a} {b} {title}",
    "{a}, {b}, {c}: {title}",
    "for {a} fans: {title}",
)
SLOGANS = (
    "{kind} by {brand}",
    "{brand} {kind}",
    "NEW: {kind} by {brand}",
    "{brand} - all {kind} -30%",
    "Visit {brand} for {kind}",
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The text side of an item, as `Item` takes it."""

    title: str
    brand: str
    category: str
    attributes: dict[str, str]
    price: float


def write_metadata(category: Category, brand: str, tier: int, rng: np.random.Generator) -> Metadata:
    """Return what an ordinary, slightly sloppy seller writes about a product."""
    noun = category.nouns[0] if chance(rng, 0.5) else pick(rng, category.nouns)
    material, size, pack = (
        pick(rng, category.materials),
        pick(rng, category.sizes),
        pick(rng, PACKS),
    )
    feature, adjective = pick(rng, category.features), pick(rng, ADJECTIVES)
    attributes = {"material": material, "size": size, "pack": pack}
    attributes["features"] = feature
    title = _compose(noun, material, size, pack, feature, adjective, rng)
    if not chance(rng, 0.1):
        title = f"{brand} {title}"
    title = _make_sloppy(title, rng)
    for name in list(attributes):
        if chance(rng, 0.12):
            del attributes[name]
    return Metadata(title, brand, category.path, attributes, _price(category, tier, rng))


def _compose(
    noun: str,
    material: str,
    size: str,
    pack: str,
    feature: str,
    adjective: str,
    rng: np.random.Generator,
) -> str:
    words = [adjective] if adjective and chance(rng, 0.6) else []
    if chance(rng, 0.4):
        words.append(material)
    words.append(noun)
    if chance(rng, 0.6):
        words.append(f"with {feature}")
    title = " ".join(words)
    if chance(rng, 0.35):
        title += f", {size}"
    if chance(rng, 0.4):
        title += f", {pack}"
    return title


def _make_sloppy(title: str, rng: np.random.Generator) -> str:
    if chance(rng, 0.2):
        for long, short in ABBREVIATIONS:
            title = title.replace(long, short)
    if chance(rng, 0.14):
        title = f"{pick(rng, SPAM)} {title}" if chance(rng, 0.5) else f"{title} {pick(rng, SPAM)}"
    if chance(rng, 0.06):
        at = int(rng.integers(1, max(2, len(title) - 2)))
        title = title[:at] + title[at + 1 : at + 2] + title[at : at + 1] + title[at + 2 :]
    if chance(rng, 0.06):
        title = title.upper()
    return title[:1].upper() + title[1:]


def stuff_title(
    metadata: Metadata, category: Category, share: float, rng: np.random.Generator
) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata, in a share of all cases its title stuffed, and what was put in.

    What sellers add to be found by more searches: one to three nouns of other categories, before
    the title or behind it.
    """
    if not chance(rng, share):
        return metadata, ()
    others = sample([c for c in CATEGORIES if c != category], 3, rng)
    a, b, c = (pick(rng, other.nouns) for other in others)
    form = pick(rng, STUFFINGS)
    title = form.format(title=metadata.title, a=a, b=b, c=c)
    used = tuple(noun for name, noun in (("{a}", a), ("{b}", b), ("{c}", c)) if name in form)
    return replace(metadata, title=title[:1].upper() + title[1:]), used


def write_slogan(category: str, brand: str, rng: np.random.Generator) -> str:
    """Return words for an overlay, which name another category and brand than those given."""
    kind = pick(rng, [c.name for c in CATEGORIES if c.name != category])
    maker = pick(rng, [b for tier in BRANDS for b in tier if b != brand])
    return pick(rng, SLOGANS).format(kind=kind, brand=maker)


def _price(category: Category, tier: int, rng: np.random.Generator) -> float:
    spread = sum(uniform(rng, -0.45, 0.45) for _ in range(3))
    return float(max(1, round(category.price * PRICE_FACTORS[tier] * math.exp(spread)))) - 0.01


FAULTS = ("wrong_category", "wrong_brand", "missing_title", "missing_brand", "title_only_spam")


def spoil_metadata(
    right: Metadata, category: Category, tier: int, rng: np.random.Generator
) -> tuple[Metadata, list[str]]:
    """Return metadata with one or two faults, and the faults' names from FAULTS.

    A wrong category comes from another group, and the title goes along with it half the time; a
    wrong brand comes from another tier, and stands in the title too.
    """
    faults = sample(FAULTS, 2 if chance(rng, 0.3) else 1, rng)
    if "missing_brand" in faults and "wrong_brand" in faults:
        faults.remove("missing_brand")
    if "missing_title" in faults and "title_only_spam" in faults:
        faults.remove("title_only_spam")
    result = right
    if "wrong_category" in faults:
        other = pick(rng, [c for c in CATEGORIES if c.group != category.group])
        result = replace(result, category=other.path)
        if chance(rng, 0.5):
            result = replace(
                result, title=write_metadata(other, right.brand, tier, rng).title, attributes={}
            )
    if "wrong_brand" in faults:
        brand = pick(rng, BRANDS[pick(rng, [t for t in range(len(BRANDS)) if t != tier])])
        title = _without(result.title, right.brand, brand)
        result = replace(result, brand=brand, title=title)
    if "missing_brand" in faults:
        result = replace(result, brand="", title=_without(result.title, right.brand, ""))
    if "missing_title" in faults:
        result = replace(result, title="")
    if "title_only_spam" in faults:
        result = replace(result, title=" ".join(sample(SPAM, 3, rng)))
    return result, sorted(faults)


def _without(title: str, brand: str, instead: str) -> str:
    for form in (brand, brand.upper()):
        title = title.replace(form, instead)
    return " ".join(title.split())

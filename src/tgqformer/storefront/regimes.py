"""The rules of a shop: the versions of its drawing, and the named noise regimes.

A version says how hard the shop is as a whole. The first one is as the shop was first drawn, and
stays, so that old figures can be made again; the second one adds what real shops have.

A regime says what goes wrong with one item's photo and metadata. The regimes have streams of their
own, so that the same seed with another noise is the same shop: the same products, sessions and
pairs, otherwise photographed and described.
"""

from __future__ import annotations

from dataclasses import dataclass

from tgqformer.corruption.canvas import chance, stream


@dataclass(frozen=True, slots=True)
class Drawing:
    """What one version of the drawing has in it; each share lies in 0..1, and 0 leaves it out.

    Attributes:
        version: its number, a key of DRAWINGS.
        kin: share of the distractors in a photo that are of the product's own category. They stand
            behind the product and are smaller, as the one for sale stands in front.
        families: share of the products that come in families: two to four colourways of one
            product under one title. Sisters are no positives of each other but by chance, since
            shoppers look for a style.
        popularity: whether clicks follow a law of popularity; otherwise all products are alike.
        slogans: share of the photos with overlays that get one more, whose words name another
            category and another brand.
        stuffed: share of the titles that name things of other categories.
    """

    version: int
    kin: float = 0.0
    families: float = 0.0
    popularity: bool = False
    slogans: float = 0.0
    stuffed: float = 0.0


DRAWINGS = {
    1: Drawing(1),
    2: Drawing(2, kin=1 / 3, families=1 / 3, popularity=True, slogans=0.5, stuffed=0.25),
}
LATEST = max(DRAWINGS)

REGIMES = ("clean", "overlay", "clutter", "heavy", "siblings", "mislabelled")
NOISES = ("market", *REGIMES)
NO_PHOTO = "no_photo"

MARKET_SHARES = {
    "clean": 0.48,
    "overlay": 0.22,
    "clutter": 0.11,
    "heavy": 0.09,
    "mislabelled": 0.10,
}
"""Of a market's items, before two in a hundred of the well described ones lose their photo."""
FURTHER_SHARES = {"clean": 0.35, "detail": 0.3, "overlay": 0.2, "clutter": 0.15}
"""Kinds of the photos after an item's first: another packshot, a part seen from near, noise."""
_MARKET_NO_PHOTO = 0.022
_MISLABELLED_OVERLAY = 0.25


@dataclass(frozen=True, slots=True)
class Regime:
    """What one item has to bear.

    Attributes:
        name: one of REGIMES, or "no_photo"; the column `noise` of the labels.
        photo: "clean", "overlay", "clutter", "heavy" or "siblings"; None where there is no photo.
        spoiled: whether its metadata is wrong or missing.
    """

    name: str
    photo: str | None
    spoiled: bool


def draw_regime(noise: str, seed: int, number: int) -> Regime:
    """Return the regime of an item in a shop of the given noise, one of NOISES."""
    rng = stream(seed, "regime", number)
    u = float(rng.random())
    overlaid, lost = chance(rng, _MISLABELLED_OVERLAY), chance(rng, _MARKET_NO_PHOTO)
    name = noise
    if noise == "market":
        name = _market(u)
        if lost and name != "mislabelled":
            return Regime(NO_PHOTO, None, spoiled=False)
    if name == "mislabelled":
        return Regime(name, "overlay" if overlaid else "clean", spoiled=True)
    return Regime(name, name, spoiled=False)


def draw_kinds(
    regime: Regime, noise: str, photos: tuple[int, int], seed: int, number: int
) -> list[str]:
    """Return the kinds of an item's photos, the first of them its regime's; none without a photo.

    Each of the others is drawn by FURTHER_SHARES; in a shop without noise what is noisy there is a
    packshot.
    """
    if regime.photo is None:
        return []
    least, most = photos
    rng = stream(seed, "photos", number)
    kinds = [regime.photo]
    for _ in range(least - 1 + int(rng.integers(most - least + 1))):
        u, kind = float(rng.random()), "clean"
        for name, share in FURTHER_SHARES.items():
            u -= share
            if u < 0:
                kind = name
                break
        noisy = kind in ("overlay", "clutter")
        kinds.append("clean" if noisy and noise == "clean" else kind)
    return kinds


def _market(u: float) -> str:
    for name, share in MARKET_SHARES.items():
        u -= share
        if u < 0:
            return name
    return "clean"

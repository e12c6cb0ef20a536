"""The named noise regimes: what goes wrong with an item's photo and metadata.

The regimes have streams of their own, so that the same seed with another noise is the same shop:
the same products, sessions and pairs, otherwise photographed and described.
"""

from __future__ import annotations

from dataclasses import dataclass

from tgqformer.corruption.canvas import chance
from tgqformer.storefront.streams import stream

REGIMES = ("clean", "overlay", "clutter", "heavy", "mislabelled")
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
_MARKET_NO_PHOTO = 0.022
_MISLABELLED_OVERLAY = 0.25


@dataclass(frozen=True, slots=True)
class Regime:
    """What one item has to bear.

    Attributes:
        name: one of REGIMES, or "no_photo"; the column `noise` of the labels.
        photo: "clean", "overlay", "clutter" or "heavy"; None where there is no photo.
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


def _market(u: float) -> str:
    for name, share in MARKET_SHARES.items():
        u -= share
        if u < 0:
            return name
    return "clean"

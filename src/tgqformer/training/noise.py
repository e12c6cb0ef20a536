"""Noise views: the catalog as a teacher of what a photo or a title may hide (ours).

A view is an item as another seller might show it: its photo under drawn overlays and clutter, its
metadata with a fault, or one of the two missing. It is the same item, so it is a positive of its
clean form, whether the shop has a pair of it or not; and the gates meet photos and metadata that
are unreliable, which is what they are for. Everything is drawn by seed. A view's photo is drawn
when it is read and is kept nowhere but, as tokens, in the token cache.

The kinds of noise are those of `corruption.OVERLAYS` and `corruption.CLUTTER`; the `UNSEEN_*` kinds
beside them are never drawn here, so that a model can be judged by noise that it has not met.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from tgqformer.catalog.items import DrawnPhoto, Item
from tgqformer.corruption import CLUTTER, OVERLAYS, corrupt
from tgqformer.training.config import NoiseConfig

LARGEST = 512
"""A photo is made this small (longer side, pixels) before noise is drawn over it."""

FAMILIES = (("overlays", "clutter"), ("overlays",), ("clutter",))
ODDS = (0.6, 0.2, 0.2)
"""How often a view has both families of noise, overlays alone, clutter alone."""

PRAISE = ("Hot sale", "Free shipping", "New arrival", "Best price", "Limited offer", "Top quality")
CLAIMS = (
    "great gift idea",
    "fast delivery",
    "official store",
    "buy 2 get 1",
    "last chance",
    "2026",
)


@dataclass(frozen=True)
class NoisyPhoto(DrawnPhoto):
    """A photo under two kinds of noise from each of one or two families.

    Attributes:
        kinds: names of `corruption.CORRUPTIONS`, in the order in which they are applied.
        severity: 0 to 1. seed: of all that is drawn.
    """

    source: object  # type: ignore[assignment]  # a path or bytes
    kinds: tuple[str, ...]
    severity: float
    seed: int

    @property
    def recipe(self) -> str:  # type: ignore[override]
        return f"noise 1: {'+'.join(self.kinds)} {self.severity:.4f} {self.seed}"

    def draw(self, image: Image.Image) -> Image.Image:
        if max(image.size) > LARGEST:
            image = image.copy()
            image.thumbnail((LARGEST, LARGEST))
        return corrupt(image, self.kinds, self.severity, np.random.default_rng(self.seed))


class NoiseViews:
    """The views of a catalog's items: `views[view][row]` is an item."""

    def __init__(self, items: Sequence[Item], config: NoiseConfig, seed: int) -> None:
        """Draw `config.views` views of each item.

        Args:
            seed: another seed draws other views.
        """
        self.items, self.config, self.seed = items, config, seed
        self.views = [[self._view(item, n) for item in items] for n in range(config.views)]

    def _view(self, item: Item, number: int) -> Item:
        stream = zlib.crc32(item.item_id.encode("utf-8", "surrogatepass"))
        rng = np.random.default_rng([self.seed, stream, number])
        photos = tuple(self._photo(photo, rng) for photo in item.images)
        missing, faulty = rng.random(2)
        if missing < self.config.missing:
            if rng.random() < 0.5 and _has_metadata(item):
                return replace(item, images=())
            bare = replace(item, title="", brand="", category="", attributes={})
            return replace(bare, images=photos) if item.images else item
        noisy = replace(item, images=photos)
        return self._fault(noisy, rng) if faulty < self.config.metadata else noisy

    def _photo(self, photo: object, rng: np.random.Generator) -> NoisyPhoto:
        low, high = self.config.severity
        families = FAMILIES[int(rng.choice(len(FAMILIES), p=ODDS))]
        kinds: list[str] = []
        for family, known in (("clutter", CLUTTER), ("overlays", OVERLAYS)):
            chosen = rng.permutation(list(known))[:2].tolist()
            kinds += chosen if family in families else []
        severity = float(rng.uniform(low, high))
        return NoisyPhoto(photo, tuple(kinds), severity, int(rng.integers(2**32)))

    def _fault(self, item: Item, rng: np.random.Generator) -> Item:
        other = self.items[int(rng.integers(len(self.items)))]
        known = list(metadata_faults(item, other, rng).values())
        return known[int(rng.integers(len(known)))] if known else item


def metadata_faults(item: Item, other: Item, rng: np.random.Generator) -> dict[str, Item]:
    """Name of a fault -> the item with it, for each that it can have.

    A field is dropped, brand or category is that of the `other` item, or the title is advertising.
    """
    advert = f"{PRAISE[int(rng.integers(len(PRAISE)))]} {CLAIMS[int(rng.integers(len(CLAIMS)))]}"
    found: dict[str, Item] = {}
    for field in ("title", "brand", "category"):
        if getattr(item, field):
            found[f"no {field}"] = replace(item, **{field: ""})  # type: ignore[arg-type]
            swapped = advert if field == "title" else getattr(other, field)
            if swapped:
                name = "advertising title" if field == "title" else f"another's {field}"
                found[name] = replace(item, **{field: swapped})  # type: ignore[arg-type]
    if item.attributes:
        found["no attributes"] = replace(item, attributes={})
    return found


def _has_metadata(item: Item) -> bool:
    return bool(item.title or item.brand or item.category or item.attributes)

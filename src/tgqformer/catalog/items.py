"""The two things a shop knows: items, and which items are wanted together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image


class DrawnPhoto(ABC):
    """A photo that is drawn from another one whenever it is read, and never stored.

    Attributes:
        source: the photo that it is drawn from.
        recipe: how; the same recipe draws the same picture, and is part of its identity.
    """

    source: Path | bytes | RemotePhoto
    recipe: str

    @abstractmethod
    def draw(self, image: Image) -> Image:
        """The picture, from the decoded source; both RGB."""


@dataclass(frozen=True, slots=True)
class RemotePhoto:
    """A photo that is read from its address whenever it is needed (images.py).

    Attributes:
        address: ``s3://bucket/a.jpg``, ``gs://...``, ``https://...``; what lies there is taken to
            stay the same.
    """

    address: str

    def __str__(self) -> str:
        return self.address


ImageRef: TypeAlias = Path | bytes | DrawnPhoto | RemotePhoto
"""A photo: an absolute path, the encoded bytes of a file, an address, or one drawn from another."""


@dataclass(frozen=True, slots=True)
class Item:
    """One product. Every field but the id may be missing.

    Attributes:
        item_id: unique in its catalog.
        title: free text, "" where unknown.
        brand: "" where unknown.
        category: a path from broad to narrow, ``"Home > Lighting > Lamp"``; "" where unknown.
        attributes: name to value, both text.
        price: in the shop's currency; None where unknown.
        images: none, one or several photos, best first.
    """

    item_id: str
    title: str = ""
    brand: str = ""
    category: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    price: float | None = None
    images: tuple[ImageRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Shoppers of `query_id` want `target_id` next.

    Attributes:
        weight: how strong the evidence is; positive.
        split: "train", "val" or "test".
    """

    query_id: str
    target_id: str
    weight: float = 1.0
    split: str = "train"


# -- protocols -------------------------------------------------------------------------------------
# What evaluation, retrieval and service ask of a model: that it encodes items, and no more.

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Anything that turns items into L2-normalised vectors."""

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Return float32 [N, D], row i for items[i], each row of unit length."""
        ...

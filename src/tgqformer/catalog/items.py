"""The two things a shop knows: items, and which items are wanted together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

ImageRef: TypeAlias = Path | bytes
"""A photo: an absolute path, or the encoded bytes of a file."""


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

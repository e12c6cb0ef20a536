"""Promotional overlays and clutter for any photo: ``(image, severity, rng) -> image``."""

from tgqformer.corruption.backgrounds import BACKGROUNDS, draw_background
from tgqformer.corruption.canvas import Corruption
from tgqformer.corruption.compose import (
    CLUTTER,
    CORRUPTIONS,
    OVERLAYS,
    UNSEEN_CLUTTER,
    UNSEEN_OVERLAYS,
    corrupt,
)

__all__ = [
    "BACKGROUNDS",
    "CLUTTER",
    "CORRUPTIONS",
    "OVERLAYS",
    "UNSEEN_CLUTTER",
    "UNSEEN_OVERLAYS",
    "Corruption",
    "corrupt",
    "draw_background",
]

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
from tgqformer.corruption.sheet import corruption_sheet

__all__ = [
    "BACKGROUNDS",
    "CLUTTER",
    "CORRUPTIONS",
    "OVERLAYS",
    "UNSEEN_CLUTTER",
    "UNSEEN_OVERLAYS",
    "Corruption",
    "corrupt",
    "corruption_sheet",
    "draw_background",
]

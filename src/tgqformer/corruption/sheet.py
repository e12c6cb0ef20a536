"""A picture of corruptions at several severities, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tgqformer.corruption.canvas import font
from tgqformer.corruption.compose import CORRUPTIONS, corrupt


def corruption_sheet(
    image: Image.Image,
    severities: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    *,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
    tile: int = 112,
    seed: int = 0,
) -> Image.Image:
    """Return an RGB sheet: a row for each kind, all by default, a column for each severity."""
    margin, header = 150, 22
    size = (margin + tile * len(severities), header + tile * len(kinds))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, severity in enumerate(severities):
        place = (margin + column * tile + 6, 4)
        draw.text(place, f"severity {severity:g}", fill="black", font=font(12))
    for row, kind in enumerate(kinds):
        y = header + row * tile
        draw.text((6, y + tile // 2 - 7), kind.replace("_", " "), fill="black", font=font(12))
        for column, severity in enumerate(severities):
            rng = np.random.Generator(np.random.PCG64(seed + row))
            picture = corrupt(image, kind, severity, rng).resize((tile - 2, tile - 2))
            sheet.paste(picture, (margin + column * tile, y))
    return sheet

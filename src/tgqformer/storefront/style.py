"""The hidden style of a product: one of six patterns in one of eight colourways.

Neither is ever named in the metadata. A pattern is a tile of colour indices, so that a product's
own shades are put in afterwards and the tile is drawn only once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from tgqformer.corruption.canvas import Colour, uniform
from tgqformer.storefront.geometry import Jitter

PATTERNS = ("plain", "stripes", "dots", "checks", "zigzag", "floral")

COLOURWAYS: dict[str, tuple[Colour, Colour, Colour]] = {
    "cherry": ((200, 34, 42), (252, 238, 222), (110, 16, 28)),
    "harbour": ((28, 58, 134), (244, 246, 250), (112, 168, 224)),
    "meadow": ((36, 124, 66), (248, 226, 104), (18, 62, 36)),
    "bumblebee": ((250, 206, 40), (40, 40, 48), (255, 252, 240)),
    "peony": ((248, 160, 190), (156, 22, 92), (255, 240, 246)),
    "lagoon": ((20, 164, 170), (252, 136, 48), (238, 250, 248)),
    "iris": ((112, 62, 170), (206, 242, 212), (62, 30, 104)),
    "ink": ((50, 50, 54), (228, 228, 224), (150, 150, 150)),
}

PERIOD = 96
"""Side of one repeat of a pattern, in pixels of its tile."""
_REPEATS = 10
_BASE, _ACCENT, _THIRD, _MIX = range(4)


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that decides how one product looks, wherever it is photographed.

    Attributes:
        category: key of SHAPES.
        silhouette: 0..2.
        pattern, colourway: the hidden style.
        jitter: proportions.
        colours: base, accent and third, with this product's own shade.
        period: size of one repeat of the pattern, relative to the product.
        turn: degrees by which the pattern is turned.
        phase: where the pattern starts, in repeats.
    """

    category: str
    silhouette: int
    pattern: str
    colourway: str
    jitter: Jitter
    colours: tuple[Colour, Colour, Colour]
    period: float
    turn: float
    phase: tuple[float, float]


def make_look(
    category: str, silhouette: int, pattern: str, colourway: str, rng: np.random.Generator
) -> Look:
    """Return a product of the given kind and style, its small deviations drawn from `rng`."""
    a, b, c, d = (uniform(rng, -1, 1) for _ in range(4))
    light, shades = uniform(rng, -14, 14), []
    for colour in COLOURWAYS[colourway]:
        levels = [max(0, min(255, round(v + light + uniform(rng, -9, 9)))) for v in colour]
        shades.append((levels[0], levels[1], levels[2]))
    return Look(
        category=category,
        silhouette=silhouette,
        pattern=pattern,
        colourway=colourway,
        jitter=(a, b, c, d),
        colours=(shades[0], shades[1], shades[2]),
        period=uniform(rng, 0.17, 0.21),
        turn=uniform(rng, -8, 8),
        phase=(uniform(rng, 0, 1), uniform(rng, 0, 1)),
    )


@lru_cache(maxsize=len(PATTERNS))
def tile(pattern: str) -> Image.Image:
    """Return ten by ten repeats of a pattern, an L image of colour indices 0..3."""
    p = PERIOD
    repeat = Image.new("L", (p, p), _BASE)
    draw = ImageDraw.Draw(repeat)
    if pattern == "stripes":
        draw.rectangle((0, 0, p * 0.42, p), fill=_ACCENT)
        draw.rectangle((p * 0.66, 0, p * 0.76, p), fill=_THIRD)
    elif pattern == "dots":
        for x, y in ((0.25, 0.25), (0.75, 0.75)):
            draw.ellipse(_square(x * p, y * p, 0.19 * p), fill=_ACCENT)
    elif pattern == "checks":
        draw.rectangle((0, 0, p, p * 0.5), fill=_MIX)
        draw.rectangle((0, 0, p * 0.5, p), fill=_MIX)
        draw.rectangle((0, 0, p * 0.5, p * 0.5), fill=_ACCENT)
    elif pattern == "zigzag":
        for y, fill, width in ((0.0, _ACCENT, 0.34), (0.42, _THIRD, 0.1)):
            for shift in (-1, 0, 1):
                draw.polygon(_chevron(p, (y + shift) * p, width * p), fill=fill)
    elif pattern == "floral":
        for x, y, r in ((0.28, 0.3, 0.17), (0.76, 0.78, 0.13)):
            for dx in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    _flower(draw, (x + dx) * p, (y + dy) * p, r * p)
    sheet = Image.new("L", (p * _REPEATS, p * _REPEATS))
    for row in range(_REPEATS):
        for column in range(_REPEATS):
            sheet.paste(repeat, (column * p, row * p))
    return sheet


def fabric(look: Look, size: tuple[int, int], scale: float, turn: float) -> Image.Image:
    """Return an RGB piece of the product's surface.

    Args:
        size: width and height in pixels.
        scale: pixels that one unit of the product takes.
        turn: degrees by which the pattern is turned on this part, besides the look's own turn.
    """
    if look.pattern == "plain":
        return Image.new("RGB", size, look.colours[0])
    zoom = PERIOD / (look.period * scale)  # tile pixels for one pixel of the result
    angle = math.radians(look.turn + turn)
    c, s = round(math.cos(angle) * zoom, 6), round(math.sin(angle) * zoom, 6)
    middle = PERIOD * _REPEATS / 2
    cx = middle + (look.phase[0] - 0.5) * PERIOD - c * size[0] / 2 + s * size[1] / 2
    cy = middle + (look.phase[1] - 0.5) * PERIOD - s * size[0] / 2 - c * size[1] / 2
    matrix = (c, -s, round(cx, 3), s, c, round(cy, 3))
    piece = tile(look.pattern).transform(
        size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST
    )
    base, accent, third = look.colours
    mix = tuple((a + b) // 2 for a, b in zip(base, accent))
    piece.putpalette([*base, *accent, *third, *mix])
    return piece.convert("RGB")


def _square(x: float, y: float, r: float) -> tuple[float, float, float, float]:
    return x - r, y - r, x + r, y + r


def _chevron(p: float, y: float, width: float) -> list[tuple[float, float]]:
    rise = 0.45 * p
    upper = [(0.0, y + rise), (p / 2, y), (float(p), y + rise)]
    return [*upper, *[(x, v + width) for x, v in reversed(upper)]]


def _flower(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    for k in (40.0, 160.0):
        angle = math.radians(k)
        lx, ly = x + 1.9 * r * math.cos(angle), y + 1.9 * r * math.sin(angle)
        draw.ellipse((lx - 0.75 * r, ly - 0.35 * r, lx + 0.75 * r, ly + 0.35 * r), fill=_THIRD)
    for k in range(5):
        angle = math.radians(90 + 72 * k)
        px, py = x + 0.75 * r * math.cos(angle), y + 0.75 * r * math.sin(angle)
        draw.ellipse(_square(px, py, 0.55 * r), fill=_ACCENT)
    draw.ellipse(_square(x, y, 0.42 * r), fill=_THIRD)

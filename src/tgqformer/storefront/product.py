"""From a look to a picture of the product alone, with transparency around it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tgqformer.corruption.backgrounds import shade
from tgqformer.corruption.canvas import Colour
from tgqformer.storefront.geometry import Part
from tgqformer.storefront.shapes import SHAPES
from tgqformer.storefront.style import Look, fabric

MATERIALS: dict[str, Colour] = {
    "wood": (164, 116, 72),
    "metal": (158, 162, 168),
    "dark": (62, 56, 56),
    "light": (240, 236, 228),
}


def draw_product(look: Look, side: float, turn: float = 0.0) -> Image.Image:
    """Return the product as RGBA, cropped to what can be seen.

    Args:
        side: its longer side in pixels.
        turn: degrees by which it leans to the right.
    """
    parts = [_turned(part, turn) for part in SHAPES[look.category](look.silhouette, look.jitter)]
    left, top, right, bottom = _bounds(parts)
    scale = side / max(right - left, bottom - top)
    size = (math.ceil((right - left) * scale) + 2, math.ceil((bottom - top) * scale) + 2)
    rgb, alpha = Image.new("RGB", size), Image.new("L", size)
    for part in parts:
        points = [
            (round((x - left) * scale + 1, 1), round((y - top) * scale + 1, 1))
            for x, y in part.outline
        ]
        _paint(rgb, alpha, part, points, look, scale)
    rgb.putalpha(alpha)
    return rgb.crop(alpha.getbbox())


def _turned(part: Part, degrees: float) -> Part:
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    outline = tuple(
        (0.5 + c * (x - 0.5) - s * (y - 0.5), 0.5 + s * (x - 0.5) + c * (y - 0.5))
        for x, y in part.outline
    )
    return Part(outline, part.fill, part.shading, part.width, part.turn - degrees, part.edge)


def _bounds(parts: list[Part]) -> tuple[float, float, float, float]:
    xs = [(x - p.width / 2, x + p.width / 2) for p in parts for x, _ in p.outline]
    ys = [(y - p.width / 2, y + p.width / 2) for p in parts for _, y in p.outline]
    return (
        min(a for a, _ in xs),
        min(a for a, _ in ys),
        max(b for _, b in xs),
        max(b for _, b in ys),
    )


def _paint(
    rgb: Image.Image,
    alpha: Image.Image,
    part: Part,
    points: list[tuple[float, float]],
    look: Look,
    scale: float,
) -> None:
    colour = _colour(part.fill, look)
    thin = max(1, round(0.007 * scale))
    if part.width > 0:
        width = max(1, round(part.width * scale))
        if part.edge:
            _stroke(rgb, alpha, points, width + 2 * thin, shade(colour, 0.55))
        _stroke(rgb, alpha, points, width, colour)
        return
    x0, y0 = (max(0, math.floor(min(p[k] for p in points))) for k in (0, 1))
    x1 = min(rgb.width, math.ceil(max(x for x, _ in points)) + 1)
    y1 = min(rgb.height, math.ceil(max(y for _, y in points)) + 1)
    size = (x1 - x0, y1 - y0)
    if size[0] < 1 or size[1] < 1:
        return
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(x - x0, y - y0) for x, y in points], fill=255)
    if part.fill == "pattern":
        surface = fabric(look, size, scale, part.turn)
    else:
        surface = Image.new("RGB", size, colour)
    if part.shading != "flat":
        dark, bright = _light(part.shading)
        surface.paste((0, 0, 0), (0, 0), dark.resize(size, Image.Resampling.BILINEAR))
        surface.paste((255, 255, 255), (0, 0), bright.resize(size, Image.Resampling.BILINEAR))
    rgb.paste(surface, (x0, y0), mask)
    alpha.paste(255, (x0, y0, x1, y1), mask)
    if part.edge:
        _stroke(rgb, alpha, [*points, points[0]], thin, shade(colour, 0.5))


def _stroke(
    rgb: Image.Image,
    alpha: Image.Image,
    points: list[tuple[float, float]],
    width: int,
    colour: Colour,
) -> None:
    ImageDraw.Draw(rgb).line(points, fill=colour, width=width, joint="curve")
    ImageDraw.Draw(alpha).line(points, fill=255, width=width, joint="curve")


def _colour(fill: str, look: Look) -> Colour:
    if fill in MATERIALS:
        return MATERIALS[fill]
    return look.colours[{"pattern": 0, "base": 0, "accent": 1, "third": 2}[fill]]


@lru_cache(maxsize=8)
def _light(shading: str) -> tuple[Image.Image, Image.Image]:
    """Return how much black and how much white lies on a part of this kind, as L masks."""
    n = 48
    dark, bright = np.zeros((n, n)), np.zeros((n, n))  # [n, n], 0..255
    for row in range(n):
        for column in range(n):
            x, y = (column + 0.5) / n, (row + 0.5) / n
            if shading == "round":
                dark[row, column] = 120 * max(0.0, abs(x - 0.38) / 0.62) ** 2.2
                bright[row, column] = 90 * max(0.0, 1 - abs(x - 0.27) / 0.13) ** 1.5
            elif shading == "ball":
                away = math.hypot(x - 0.4, y - 0.36) / 0.8
                dark[row, column] = 115 * min(1.0, away) ** 2.4
                bright[row, column] = 80 * max(0.0, 1 - math.hypot(x - 0.33, y - 0.28) / 0.22)
            else:
                dark[row, column] = 70 * max(0.0, 0.55 * y + 0.45 * x - 0.35)
                bright[row, column] = 34 * max(0.0, 1 - 2.2 * y)
    images = [Image.fromarray(np.round(a).astype(np.uint8)) for a in (dark, bright)]
    return images[0], images[1]


def drop_shadow(product: Image.Image, strength: float, blur: float) -> Image.Image:
    """Return a soft L mask of the product's outline, three `blur` wider on every side."""
    margin = 3 * math.ceil(blur)
    size = (product.width + 2 * margin, product.height + 2 * margin)
    outline = Image.new("L", size)
    outline.paste(product.getchannel("A"), (margin, margin))
    small = (max(1, size[0] // 4), max(1, size[1] // 4))
    soft = outline.resize(small, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(blur / 4))
    soft = soft.point([round(v * strength) for v in range(256)])
    return soft.resize(size, Image.Resampling.BILINEAR)

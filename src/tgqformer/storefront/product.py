"""A product's look, and the picture of it alone, with transparency around it.

The hidden style is one of six patterns in one of eight colourways; neither is ever named in the
metadata. A pattern is a tile of colour indices, so that a product's own shades are put in
afterwards and the tile is drawn only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tgqformer.corruption.canvas import Colour, shade, uniform
from tgqformer.storefront import shapes_household as household
from tgqformer.storefront import shapes_personal as personal
from tgqformer.storefront.geometry import Jitter, Part

SILHOUETTES = 3
SHAPES: dict[str, Callable[[int, Jitter], list[Part]]] = {
    "Table Lamps": household.table_lamp,
    "Armchairs": household.armchair,
    "Vases": household.vase,
    "Cushions": household.cushion,
    "Mugs": household.mug,
    "Teapots": household.teapot,
    "Plates": household.plate,
    "Oven Gloves": household.oven_glove,
    "Backpacks": personal.backpack,
    "T-Shirts": personal.t_shirt,
    "Sneakers": personal.sneaker,
    "Dresses": personal.dress,
    "Teddy Bears": personal.teddy_bear,
    "Toy Cars": personal.toy_car,
    "Kites": personal.kite,
    "Toy Boats": personal.toy_boat,
    "Tents": household.tent,
    "Umbrellas": household.umbrella,
    "Watering Cans": household.watering_can,
    "Surfboards": household.surfboard,
}
"""Category -> its outline: ``(silhouette, jitter) -> parts``."""
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
MATERIALS: dict[str, Colour] = {
    "wood": (164, 116, 72),
    "metal": (158, 162, 168),
    "dark": (62, 56, 56),
    "light": (240, 236, 228),
}
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


def fabric(look: Look, size: tuple[int, int], scale: float, turn: float) -> Image.Image:
    """Return an RGB piece of the product's surface.

    Args:
        size: width and height in pixels.
        scale: pixels that one unit of the product takes.
        turn: degrees by which the pattern is turned on this part, besides the look's own turn.
    """
    if look.pattern == "plain":
        return Image.new("RGB", size, look.colours[0])
    zoom = _PERIOD / (look.period * scale)  # tile pixels for one pixel of the result
    angle = math.radians(look.turn + turn)
    c, s = round(math.cos(angle) * zoom, 6), round(math.sin(angle) * zoom, 6)
    middle = _PERIOD * _REPEATS / 2
    cx = middle + (look.phase[0] - 0.5) * _PERIOD - c * size[0] / 2 + s * size[1] / 2
    cy = middle + (look.phase[1] - 0.5) * _PERIOD - s * size[0] / 2 - c * size[1] / 2
    matrix = (c, -s, round(cx, 3), s, c, round(cy, 3))
    piece = _tile(look.pattern).transform(
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


_PERIOD = 96
"""Side of one repeat of a pattern, in pixels of its tile."""


@lru_cache(maxsize=len(PATTERNS))
def _tile(pattern: str) -> Image.Image:
    """Return ten by ten repeats of a pattern, an L image of colour indices 0..3."""
    p = _PERIOD
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

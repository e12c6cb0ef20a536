"""What every corruption needs: random draws, a checked severity, text, stickers, and backgrounds.

Randomness is drawn only by `Generator.random` and `Generator.integers` over PCG64, whose streams
are stable between NumPy versions; the same seed gives the same pixels for a given version of
Pillow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tgqformer.errors import ConfigError

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour: TypeAlias = tuple[int, int, int]
Corruption: TypeAlias = Callable[[Image.Image, float, np.random.Generator], Image.Image]
T = TypeVar("T")
PROMO_COLOURS: tuple[Colour, ...] = (
    (214, 32, 39),
    (245, 166, 20),
    (24, 105, 190),
    (20, 140, 80),
    (120, 40, 150),
    (25, 25, 30),
    (235, 70, 130),
    (250, 215, 45),
)
_WALLS: tuple[Colour, ...] = (
    (222, 212, 196),
    (205, 214, 220),
    (214, 222, 205),
    (226, 208, 204),
    (190, 190, 196),
    (170, 186, 190),
    (236, 228, 210),
    (150, 160, 172),
    (196, 178, 160),
)
_WOODS: tuple[Colour, ...] = (
    (176, 128, 82),
    (140, 96, 60),
    (202, 164, 116),
    (104, 72, 50),
    (186, 152, 124),
)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a float in [low, high)."""
    return low + (high - low) * float(rng.random())


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return float(rng.random()) < probability


def stream(seed: int, purpose: str, *address: int | str) -> np.random.Generator:
    """Return the generator of one purpose and address, such as an item; it hangs on no other."""
    text = "/".join(str(part) for part in (seed, purpose, *address))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def shuffled(things: Sequence[T], rng: np.random.Generator) -> list[T]:
    """Return the things in random order (Fisher-Yates)."""
    result = list(things)
    for i in range(len(result) - 1, 0, -1):
        j = int(rng.integers(i + 1))
        result[i], result[j] = result[j], result[i]
    return result


def sample(things: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Return `count` different ones of the things, in random order."""
    return shuffled(things, rng)[:count]


def check_severity(severity: float) -> float:
    """Return the severity as a float in 0..1.

    Raises:
        ConfigError: it is no number, NaN, or outside 0..1.
    """
    try:
        level = float(severity)
    except (TypeError, ValueError):
        level = math.nan
    if not 0.0 <= level <= 1.0:
        raise ConfigError(
            f"severity is {severity!r}, but must lie in 0..1; "
            "give 0 for the untouched photo and 1 for the strongest corruption."
        )
    return level


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an RGB copy; transparency is laid on white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def corruption(function: Corruption) -> Corruption:
    """Check the severity and convert to RGB before the call; skip the call at severity 0."""

    @wraps(function)
    def run(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
        level = check_severity(severity)
        copy = as_rgb(image)
        return function(copy, level, rng) if level > 0 else copy

    return run


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """Return Pillow's own font, which needs no file on the machine."""
    return ImageFont.load_default(size)


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever can be read on the colour."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (20, 20, 20) if luminance > 150 else (255, 255, 255)


def draw_text(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    text: str,
    fill: tuple[int, ...],
) -> None:
    """Write one line, as large as the box holds, in its middle; nothing where it is unreadable."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    size = int(min(height, 200))
    while size >= 5:
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font(size))
        if right - left <= width and bottom - top <= height:
            x = (x0 + x1 - left - right) / 2
            y = (y0 + y1 - top - bottom) / 2
            draw.text((round(x), round(y)), text, fill=fill, font=font(size))
            return
        size = min(size - 1, int(size * width / max(1.0, right - left)))


def draw_lines(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    lines: Sequence[str],
    fill: tuple[int, ...],
) -> None:
    """Write several lines of one size below each other; nothing where they are unreadable."""
    x0, y0, x1, y1 = box
    step = (y1 - y0) / len(lines)
    widest = max(font(20).getlength(line) for line in lines)
    size = int(min(0.72 * step, 20 * (x1 - x0) / widest))
    for i, text in enumerate(lines if size >= 5 else ()):
        place = (round(x0), round(y0 + (i + 0.5) * step))
        draw.text(place, text, fill=fill, font=font(size), anchor="lm")


def sticker(
    width: float, height: float, paint: Callable[[ImageDraw.ImageDraw, int, int], None]
) -> Image.Image:
    """Return an RGBA picture of at least 1 x 1, painted at twice the size for smooth edges."""
    w, h = max(1, round(width)), max(1, round(height))
    large = Image.new("RGBA", (2 * w, 2 * h), (0, 0, 0, 0))
    paint(ImageDraw.Draw(large), 2 * w, 2 * h)
    return large.reduce(2)


def paste(image: Image.Image, above: Image.Image, x: float, y: float) -> Image.Image:
    """Lay an RGBA picture on an RGB one, in place, and return it."""
    image.paste(above, (round(x), round(y)), above)
    return image


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor below 1) or lighter."""
    r, g, b = (max(0, min(255, round(c * factor))) for c in colour)
    return r, g, b


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return a picture that runs from one colour at the top to another at the bottom."""
    mask = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _room(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A wall with a picture or a window, a skirting board, and a floor."""
    w, h = size
    wall, floor = pick(rng, _WALLS), pick(rng, _WOODS)
    line = round(uniform(rng, 0.62, 0.8) * h)
    image = gradient(size, shade(wall, 1.05), shade(wall, 0.88))
    image.paste(gradient((w, max(1, h - line)), shade(floor, 0.85), shade(floor, 1.1)), (0, line))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, line - h * 0.03, w, line), fill=shade(wall, 1.2))
    for _ in range(int(rng.integers(0, 3))):
        pw, ph = uniform(rng, 0.15, 0.35) * w, uniform(rng, 0.18, 0.35) * h
        x, y = uniform(rng, 0.0, 0.8) * w, uniform(rng, 0.02, 0.25) * h
        draw.rectangle((x, y, x + pw, y + ph), fill=pick(rng, _WALLS), outline=pick(rng, _WOODS))
        if chance(rng, 0.5):
            draw.line((x + pw / 2, y, x + pw / 2, y + ph), fill=shade(wall, 1.2), width=w // 60 + 1)
            draw.line((x, y + ph / 2, x + pw, y + ph / 2), fill=shade(wall, 1.2), width=w // 60 + 1)
    step = max(2, round(uniform(rng, 0.05, 0.1) * h))
    for y in range(line + step, h, step):
        draw.line((0, y, w, y), fill=shade(floor, 0.78), width=max(1, h // 200))
    return image


def _table(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A table of planks before a blurred wall."""
    w, h = size
    wood = pick(rng, _WOODS)
    line = round(uniform(rng, 0.3, 0.55) * h)
    image = _bokeh(size, rng)
    image.paste(gradient((w, max(1, h - line)), shade(wood, 0.85), shade(wood, 1.1)), (0, line))
    draw = ImageDraw.Draw(image)
    planks, vanish = int(rng.integers(4, 9)), uniform(rng, 0.3, 0.7)
    for i in range(-2, planks + 3):
        x = w * i / planks
        top = vanish * w + (x - vanish * w) * 0.55
        draw.line((top, line, x, h), fill=shade(wood, 0.75), width=max(1, w // 160))
    draw.line((0, line, w, line), fill=shade(wood, 0.6), width=max(1, h // 90))
    return image


def _shelf(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Boards across a wall."""
    w, h = size
    wall, wood = pick(rng, _WALLS), pick(rng, _WOODS)
    image = gradient(size, shade(wall, 0.95), shade(wall, 0.8))
    draw = ImageDraw.Draw(image)
    y, gap = uniform(rng, 0.15, 0.4) * h, uniform(rng, 0.4, 0.55) * h
    while y < h:
        draw.rectangle((0, y + h * 0.04, w, y + h * 0.07), fill=shade(wall, 0.68))
        draw.rectangle((0, y, w, y + h * 0.045), fill=wood)
        draw.line((0, y, w, y), fill=shade(wood, 1.25), width=max(1, h // 150))
        y += gap
    return image


def _cloth(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A rumpled cloth seen from above."""
    colour = pick(rng, _WALLS)
    image = gradient(size, shade(colour, 1.08), shade(colour, 0.9))
    folds = Image.new("L", (48, 48), 128)
    draw = ImageDraw.Draw(folds)
    for _ in range(9):
        ends = [uniform(rng, -10, 58) for _ in range(4)]
        draw.line(ends, fill=int(rng.integers(60, 200)), width=int(rng.integers(2, 7)))
    folds = folds.filter(ImageFilter.GaussianBlur(2)).resize(size, Image.Resampling.BICUBIC)
    dark, light = Image.new("RGB", size, shade(colour, 0.7)), Image.new("RGB", size, "white")
    image = Image.composite(light, image, folds.point([max(0, v - 128) for v in range(256)]))
    return Image.composite(dark, image, folds.point([max(0, 128 - v) * 2 for v in range(256)]))


def _tiles(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A tiled wall above a counter."""
    w, h = size
    wall, counter = pick(rng, _WALLS), pick(rng, _WOODS + _WALLS)
    image = gradient(size, shade(wall, 1.1), wall)
    draw = ImageDraw.Draw(image)
    step = max(4, round(uniform(rng, 0.14, 0.24) * h))
    for row, y in enumerate(range(0, h, step)):
        draw.line((0, y, w, y), fill=shade(wall, 0.82), width=max(1, h // 150))
        for x in range((row % 2) * step, w + step, 2 * step):
            draw.line((x, y, x, y + step), fill=shade(wall, 0.82), width=max(1, h // 150))
    line = round(uniform(rng, 0.65, 0.8) * h)
    image.paste(gradient((w, max(1, h - line)), shade(counter, 1.1), counter), (0, line))
    return image


def _bokeh(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A room out of focus: soft blots of light."""
    base = pick(rng, _WALLS)
    small = Image.new("RGB", (56, 56), shade(base, 0.85))
    draw = ImageDraw.Draw(small)
    for _ in range(12):
        x, y, r = uniform(rng, 0, 56), uniform(rng, 0, 56), uniform(rng, 3, 14)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=shade(pick(rng, _WALLS), 1.05))
    small = small.filter(ImageFilter.GaussianBlur(3))
    return small.resize(size, Image.Resampling.BICUBIC)


BACKGROUNDS: dict[str, Callable[[tuple[int, int], np.random.Generator], Image.Image]] = {
    "room": _room,
    "table": _table,
    "shelf": _shelf,
    "cloth": _cloth,
    "tiles": _tiles,
    "bokeh": _bokeh,
}


def draw_background(
    size: tuple[int, int], rng: np.random.Generator, kind: str | None = None
) -> Image.Image:
    """Return an RGB picture of a place, `kind` of BACKGROUNDS or any.

    Raises:
        ConfigError: the kind is unknown.
    """
    name = kind if kind is not None else pick(rng, tuple(BACKGROUNDS))
    if name not in BACKGROUNDS:
        raise ConfigError(
            f"background {name!r} is unknown; choose one of {', '.join(BACKGROUNDS)}."
        )
    return BACKGROUNDS[name](size, rng)

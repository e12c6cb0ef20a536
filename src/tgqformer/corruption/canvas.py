"""What every corruption needs: a checked severity, an RGB copy, random draws, text and stickers.

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
from PIL import Image, ImageDraw, ImageFont

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

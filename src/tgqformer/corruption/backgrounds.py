"""Places where a photo may be taken: a wall and a floor, a table, a shelf, cloth, tiles, bokeh."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tgqformer.corruption.canvas import Colour, chance, pick, uniform
from tgqformer.errors import ConfigError

WALLS: tuple[Colour, ...] = (
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
WOODS: tuple[Colour, ...] = (
    (176, 128, 82),
    (140, 96, 60),
    (202, 164, 116),
    (104, 72, 50),
    (186, 152, 124),
)


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor below 1) or lighter."""
    r, g, b = (max(0, min(255, round(c * factor))) for c in colour)
    return r, g, b


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return a picture that runs from one colour at the top to another at the bottom."""
    mask = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def room(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A wall with a picture or a window, a skirting board, and a floor."""
    w, h = size
    wall, floor = pick(rng, WALLS), pick(rng, WOODS)
    line = round(uniform(rng, 0.62, 0.8) * h)
    image = gradient(size, shade(wall, 1.05), shade(wall, 0.88))
    image.paste(gradient((w, max(1, h - line)), shade(floor, 0.85), shade(floor, 1.1)), (0, line))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, line - h * 0.03, w, line), fill=shade(wall, 1.2))
    for _ in range(int(rng.integers(0, 3))):
        pw, ph = uniform(rng, 0.15, 0.35) * w, uniform(rng, 0.18, 0.35) * h
        x, y = uniform(rng, 0.0, 0.8) * w, uniform(rng, 0.02, 0.25) * h
        draw.rectangle((x, y, x + pw, y + ph), fill=pick(rng, WALLS), outline=pick(rng, WOODS))
        if chance(rng, 0.5):
            draw.line((x + pw / 2, y, x + pw / 2, y + ph), fill=shade(wall, 1.2), width=w // 60 + 1)
            draw.line((x, y + ph / 2, x + pw, y + ph / 2), fill=shade(wall, 1.2), width=w // 60 + 1)
    step = max(2, round(uniform(rng, 0.05, 0.1) * h))
    for y in range(line + step, h, step):
        draw.line((0, y, w, y), fill=shade(floor, 0.78), width=max(1, h // 200))
    return image


def table(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A table of planks before a blurred wall."""
    w, h = size
    wood = pick(rng, WOODS)
    line = round(uniform(rng, 0.3, 0.55) * h)
    image = bokeh(size, rng)
    image.paste(gradient((w, max(1, h - line)), shade(wood, 0.85), shade(wood, 1.1)), (0, line))
    draw = ImageDraw.Draw(image)
    planks, vanish = int(rng.integers(4, 9)), uniform(rng, 0.3, 0.7)
    for i in range(-2, planks + 3):
        x = w * i / planks
        top = vanish * w + (x - vanish * w) * 0.55
        draw.line((top, line, x, h), fill=shade(wood, 0.75), width=max(1, w // 160))
    draw.line((0, line, w, line), fill=shade(wood, 0.6), width=max(1, h // 90))
    return image


def shelf(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Boards across a wall."""
    w, h = size
    wall, wood = pick(rng, WALLS), pick(rng, WOODS)
    image = gradient(size, shade(wall, 0.95), shade(wall, 0.8))
    draw = ImageDraw.Draw(image)
    y, gap = uniform(rng, 0.15, 0.4) * h, uniform(rng, 0.4, 0.55) * h
    while y < h:
        draw.rectangle((0, y + h * 0.04, w, y + h * 0.07), fill=shade(wall, 0.68))
        draw.rectangle((0, y, w, y + h * 0.045), fill=wood)
        draw.line((0, y, w, y), fill=shade(wood, 1.25), width=max(1, h // 150))
        y += gap
    return image


def cloth(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A rumpled cloth seen from above."""
    colour = pick(rng, WALLS)
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


def tiles(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A tiled wall above a counter."""
    w, h = size
    wall, counter = pick(rng, WALLS), pick(rng, WOODS + WALLS)
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


def bokeh(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A room out of focus: soft blots of light."""
    base = pick(rng, WALLS)
    small = Image.new("RGB", (56, 56), shade(base, 0.85))
    draw = ImageDraw.Draw(small)
    for _ in range(12):
        x, y, r = uniform(rng, 0, 56), uniform(rng, 0, 56), uniform(rng, 3, 14)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=shade(pick(rng, WALLS), 1.05))
    small = small.filter(ImageFilter.GaussianBlur(3))
    return small.resize(size, Image.Resampling.BICUBIC)


BACKGROUNDS: dict[str, Callable[[tuple[int, int], np.random.Generator], Image.Image]] = {
    "room": room,
    "table": table,
    "shelf": shelf,
    "cloth": cloth,
    "tiles": tiles,
    "bokeh": bokeh,
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

"""Clutter that training never uses: props from the edges, screenshots, glare, other things around.

It is to `clutter` what `unseen_overlays` is to `overlays`: the same laws and about as strong, but
of other forms, colours and places, so that what a model withstands is not what it was shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tgqformer.corruption.canvas import (
    Colour,
    chance,
    corruption,
    draw_text,
    gradient,
    ink_on,
    paste,
    pick,
    shade,
    sticker,
    uniform,
)
from tgqformer.corruption.unseen_overlays import UNSEEN_COLOURS

LEAVES: tuple[Colour, ...] = ((52, 96, 50), (104, 128, 72), (34, 72, 62), (150, 110, 60))
SKINS: tuple[Colour, ...] = ((240, 204, 178), (206, 152, 116), (146, 98, 68), (88, 58, 42))
SHRINK = 0.26  # of each side, at the strongest
WOOLS: tuple[Colour, ...] = ((188, 172, 150), (120, 132, 148), (196, 120, 110), (230, 224, 212))


# -- props ----------------------------------------------------------------------------------------


@corruption
def props(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Two to four leaves, hands or scarves that reach in from the edges, up to 66 % of a side."""
    w, h = image.size
    for _ in range(int(rng.integers(2, 5))):
        paint = pick(rng, (_leaves, _hand, _scarf))(rng)
        edge, along = int(rng.integers(4)), uniform(rng, 0.1, 0.9)
        lean = uniform(rng, -28.0, 28.0)
        length = uniform(rng, 0.48, 0.66) * math.sqrt(severity) * min(w, h)
        prop = sticker(0.62 * length, length, paint)  # its tip is at the top
        turn = (180.0, 90.0, 0.0, 270.0)[edge] + lean  # in from top, right, bottom, left
        prop = prop.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        inward = 0.36 * length
        x, y = (
            (along * w, inward),
            (w - inward, along * h),
            (along * w, h - inward),
            (inward, along * h),
        )[edge]
        paste(image, prop, x - prop.width / 2, y - prop.height / 2)
    return image


Paint = Callable[[ImageDraw.ImageDraw, int, int], None]


def _leaves(rng: np.random.Generator) -> Paint:
    """A twig with leaves on both sides."""
    colour, pairs, slope = pick(rng, LEAVES), int(rng.integers(3, 5)), uniform(rng, 0.2, 0.35)
    other = shade(colour, uniform(rng, 1.2, 1.4))

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.line(
            (w / 2, h, w / 2, 0.1 * h), fill=(*shade(colour, 0.6), 255), width=max(1, w // 40)
        )
        for i in range(pairs):
            y = h * (0.92 - 0.72 * i / pairs)
            for side in (-1, 1):
                tip = (w / 2 + side * 0.48 * w, y - slope * h)
                fill = (*(colour if side < 0 else other), 255)
                _leaf(draw, (w / 2, y), tip, 0.17 * h, fill)
        _leaf(draw, (w / 2, 0.3 * h), (w / 2, 0.0), 0.17 * h, (*colour, 255))

    return paint


def _leaf(
    draw: ImageDraw.ImageDraw,
    base: tuple[float, float],
    tip: tuple[float, float],
    width: float,
    fill: tuple[int, ...],
) -> None:
    dx, dy = tip[0] - base[0], tip[1] - base[1]
    length = max(1e-6, math.hypot(dx, dy))
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    spread = [(t, math.sin(math.pi * t**0.8)) for t in (0.0, 0.15, 0.35, 0.55, 0.75, 0.9, 1.0)]
    left = [(base[0] + t * dx + s * nx, base[1] + t * dy + s * ny) for t, s in spread]
    right = [(base[0] + t * dx - s * nx, base[1] + t * dy - s * ny) for t, s in reversed(spread)]
    draw.polygon(left + right, fill=fill)
    vein = (*(round(c * 0.75) for c in fill[:3]), 255)
    draw.line((*base, *tip), fill=vein, width=max(1, round(width / 16)))


def _hand(rng: np.random.Generator) -> Paint:
    """A hand with four fingers and a thumb, in a sleeve."""
    skin, sleeve, left = pick(rng, SKINS), pick(rng, UNSEEN_COLOURS), chance(rng, 0.5)
    lengths = [uniform(rng, 0.0, 0.07) for _ in range(4)]

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        fill, dark = (*skin, 255), (*shade(skin, 0.78), 255)
        wide = 0.17 * w

        def finger(x0: float, y0: float, x1: float, y1: float) -> None:
            draw.line((x0, y0, x1, y1), fill=fill, width=max(1, round(wide)))
            for x, y in ((x0, y0), (x1, y1)):
                draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), fill=fill)

        def turn(x: float) -> float:
            return x if left else w - x

        for i, short in enumerate(lengths):
            x = 0.22 * w + 0.19 * w * i
            top = h * ((0.14, 0.06, 0.09, 0.2)[i] + short)
            finger(turn(x), 0.55 * h, turn(x + (i - 1.5) * 0.03 * w), top)
        finger(turn(0.2 * w), 0.72 * h, turn(0.09 * w), 0.4 * h)
        draw.rounded_rectangle((0.13 * w, 0.46 * h, 0.87 * w, 0.85 * h), 0.12 * w, fill=fill)
        for i in range(3):
            x = turn(0.315 * w + 0.19 * w * i)
            draw.line((x, 0.4 * h, x, 0.5 * h), fill=dark, width=max(1, w // 60))
        draw.rectangle((0.2 * w, 0.8 * h, 0.8 * w, h), fill=(*sleeve, 255))
        draw.rectangle((0.16 * w, 0.79 * h, 0.84 * w, 0.86 * h), fill=(*shade(sleeve, 0.8), 255))

    return paint


def _scarf(rng: np.random.Generator) -> Paint:
    """An end of a knitted scarf with stripes and fringes."""
    colour, stripe = pick(rng, WOOLS), pick(rng, UNSEEN_COLOURS)
    rows, every = int(rng.integers(9, 14)), int(rng.integers(3, 5))

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        top, fringe = 0.16 * h, (*shade(colour, 0.85), 255)
        for i in range(9):
            x = w * (0.12 + 0.095 * i)
            draw.line((x, top, x, 0.02 * h), fill=fringe, width=max(1, w // 22))
        for row in range(rows):
            y0, y1 = top + (h - top) * row / rows, top + (h - top) * (row + 1) / rows
            fill = stripe if row % every == 1 else colour
            draw.rectangle((0.08 * w, y0, 0.92 * w, y1), fill=(*fill, 255))
            for i in range(10):
                x, low = w * (0.08 + 0.084 * i), (*shade(fill, 0.82), 255)
                draw.line((x, y0, x + 0.042 * w, y1), fill=low, width=max(1, w // 90))
                draw.line((x + 0.084 * w, y0, x + 0.042 * w, y1), fill=low, width=max(1, w // 90))

    return paint


# -- screenshot -----------------------------------------------------------------------------------


@corruption
def screenshot(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """The photo within a shopping app: bars, icons, a button; its sides shrink by up to 26 %."""
    dark, accent = chance(rng, 0.35), pick(rng, UNSEEN_COLOURS)
    fx, fy = uniform(rng, 0.1, 0.9), uniform(rng, 0.3, 0.6)
    clock = f"{int(rng.integers(7, 23))}:{int(rng.integers(10, 60))}"
    price = f"{int(rng.integers(5, 400))},{int(rng.integers(10, 99))}"
    query = pick(rng, ("search here", "similar to this", "my basket", "saved pieces"))
    action = pick(rng, ("Add to basket", "Checkout", "Ask seller", "Place bid"))
    lines = [uniform(rng, 0.3, 0.95) for _ in range(4)]
    w, h = image.size
    scale = 1 - SHRINK * severity
    pw, ph = max(1, round(scale * w)), max(1, round(scale * h))
    px, py = round(fx * (w - pw)), round(fy * (h - ph))
    page: Colour = (24, 24, 28) if dark else (246, 246, 248)
    soft: Colour = (58, 58, 64) if dark else (222, 222, 228)
    ink = (*ink_on(page), 255)

    def paint(draw: ImageDraw.ImageDraw, dw: int, dh: int) -> None:
        def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
            return (2 * x0, 2 * y0, max(2 * x0, 2 * x1), max(2 * y0, 2 * y1))

        draw.rectangle((0, 0, dw, dh), fill=(*page, 255))
        top, below, low = float(py), float(py + ph), float(h - py - ph)
        # status: the time, signal and battery
        draw_text(draw, box(0.04 * w, 0.06 * top, 0.2 * w, 0.34 * top), clock, ink)
        for i in range(4):
            x = w * (0.72 + 0.03 * i)
            draw.rectangle(box(x, (0.28 - 0.06 * i) * top, x + 0.018 * w, 0.34 * top), fill=ink)
        draw.rounded_rectangle(box(0.86 * w, 0.1 * top, 0.95 * w, 0.33 * top), 4, fill=ink)
        # back, search, heart
        arrow = [(0.08 * w, 0.5 * top), (0.04 * w, 0.68 * top), (0.08 * w, 0.86 * top)]
        draw.line([(2 * x, 2 * y) for x, y in arrow], fill=ink, width=max(1, round(0.12 * top)))
        pill = box(0.14 * w, 0.46 * top, 0.82 * w, 0.9 * top)
        draw.rounded_rectangle(pill, 0.4 * top, fill=(*soft, 255))
        draw_text(draw, box(0.18 * w, 0.52 * top, 0.6 * w, 0.84 * top), query, (130, 130, 136, 255))
        _heart(draw, 1.8 * w, 1.34 * top, 0.42 * top, (*accent, 255))
        # the pictures before and after this one
        for x0, x1 in ((0.0, px - 0.02 * w), (px + pw + 0.02 * w, float(w))):
            draw.rectangle(box(x0, py, x1, py + ph), fill=(*soft, 255))
        for i in range(4):
            y = py + ph * (0.2 + 0.2 * i)
            for side in (px / 2, (px + pw + w) / 2):
                r = 0.2 * min(px, w - px - pw)
                draw.ellipse(box(side - r, y - r, side + r, y + r), fill=(*accent, 255))
        # dots, price, lines of text, the button
        for i in range(5):
            x, r = w * (0.4 + 0.05 * i), 0.03 * low
            fill = (*(accent if i == 1 else soft), 255)
            dot = box(x - r, below + 0.06 * low - r, x + r, below + 0.06 * low + r)
            draw.ellipse(dot, fill=fill)
        draw_text(draw, box(0.05 * w, below + 0.14 * low, 0.4 * w, below + 0.38 * low), price, ink)
        for i, length in enumerate(lines):
            y = below + low * (0.44 + 0.08 * i)
            line = box(0.05 * w, y, w * (0.05 + 0.85 * length), y + 0.04 * low)
            draw.rectangle(line, fill=(*soft, 255))
        button = box(0.05 * w, below + 0.76 * low, 0.95 * w, below + 0.97 * low)
        draw.rounded_rectangle(button, 0.2 * low, fill=(*accent, 255))
        text = box(0.2 * w, below + 0.79 * low, 0.8 * w, below + 0.94 * low)
        draw_text(draw, text, action, (*ink_on(accent), 255))

    screen = sticker(w, h, paint).convert("RGB")
    screen.paste(image.resize((pw, ph), Image.Resampling.BILINEAR, reducing_gap=3.0), (px, py))
    return screen


def _heart(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: tuple[int, ...]) -> None:
    for side in (-0.5, 0.5):
        cx = x + side * r
        draw.ellipse((cx - 0.55 * r, y - 0.7 * r, cx + 0.55 * r, y + 0.4 * r), fill=fill)
    draw.polygon([(x - r, y + 0.05 * r), (x + r, y + 0.05 * r), (x, y + r)], fill=fill)


# -- light ----------------------------------------------------------------------------------------


@corruption
def bad_light(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A colour cast, the shadow of a blind or of leaves, and a glare that hides what is below."""
    cast = pick(rng, ((255, 176, 92), (120, 190, 255), (178, 255, 150), (255, 150, 200)))
    angle, period = uniform(rng, 0.0, math.pi), uniform(rng, 0.16, 0.34)
    phase, bent = uniform(rng, 0.0, 1.0), uniform(rng, 0.0, 0.05)
    gx, gy = uniform(rng, 0.15, 0.85), uniform(rng, 0.15, 0.85)
    long, narrow, turn = uniform(rng, 0.3, 0.5), uniform(rng, 0.12, 0.2), uniform(rng, 0, math.pi)
    grid = 128
    y, x = np.mgrid[0:grid, 0:grid].astype(np.float32) / grid
    along = x * math.cos(angle) + y * math.sin(angle)
    wave = along + bent * np.sin(9 * (y * math.cos(angle) - x * math.sin(angle)))
    stripes = np.clip(2.2 * np.sin(2 * math.pi * (wave / period + phase)) + 0.5, 0, 1)
    u = (x - gx) * math.cos(turn) + (y - gy) * math.sin(turn)
    v = (y - gy) * math.cos(turn) - (x - gx) * math.sin(turn)
    spot = np.clip(1.7 * np.exp(-((u / long) ** 2) - (v / narrow) ** 2), 0, 1)

    def mask(strength: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Image.Image:
        small = Image.fromarray(np.round(255 * severity * strength).astype(np.uint8))
        return small.resize(image.size, Image.Resampling.BILINEAR)

    gains = [1 - 0.48 * severity * (1 - c / 255) for c in cast]
    image = image.point([round(v * gain) for gain in gains for v in range(256)])
    image.paste((18, 16, 34), (0, 0, *image.size), mask(0.38 * stripes))
    image.paste((255, 253, 244), (0, 0, *image.size), mask(spot))
    return image


# -- a lay of other things ------------------------------------------------------------------------


@corruption
def flat_lay(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """The photo, its sides up to 26 % shorter, on a pattern among three to five other things."""
    ground = pick(rng, (_gingham, _marble, _dots, _terrazzo))(image.size, rng)
    fx, fy, tilt = uniform(rng, 0.15, 0.85), uniform(rng, 0.15, 0.85), uniform(rng, -10.0, 10.0)
    w, h = image.size
    scale = 1 - SHRINK * severity
    pw, ph = max(1, round(scale * w)), max(1, round(scale * h))
    small = image.resize((pw, ph), Image.Resampling.BILINEAR, reducing_gap=3.0).convert("RGBA")
    small = small.rotate(tilt * severity, Image.Resampling.BICUBIC, expand=True)
    x, y = fx * (w - pw), fy * (h - ph)
    paste(ground, small, x - (small.width - pw) / 2, y - (small.height - ph) / 2)
    count, start = int(rng.integers(3, 6)), uniform(rng, 0.0, 1.0)
    for i in range(count):
        aspect, paint = pick(rng, THINGS)
        colours = (pick(rng, UNSEEN_COLOURS), pick(rng, UNSEEN_COLOURS))
        side = uniform(rng, 0.22, 0.4) * math.sqrt(severity) * min(w, h)
        turn = uniform(rng, 0.0, 360.0)
        x, y = _around(start + (i + uniform(rng, -0.25, 0.25)) / count)

        def run(draw: ImageDraw.ImageDraw, dw: int, dh: int) -> None:
            paint(draw, dw, dh, *colours)  # noqa: B023 - drawn at once

        thing = sticker(side * min(1.0, aspect), side / max(1.0, aspect), run)
        thing = thing.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        paste(ground, thing, x * w - thing.width / 2, y * h - thing.height / 2)
    return ground


def _around(share: float) -> tuple[float, float]:
    """A place on a square a little within the photo's edges, by the share of the way around it."""
    way, low, high = 4 * (share % 1.0), 0.13, 0.87
    part = low + (high - low) * (way % 1.0)
    back = low + high - part
    return ((part, low), (high, part), (back, high), (low, back))[int(way) % 4]


def _gingham(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    w, h = size
    colour, step = pick(rng, UNSEEN_COLOURS), max(2, round(uniform(rng, 0.07, 0.12) * min(size)))
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for x in range(0, w, 2 * step):
        draw.rectangle((x, 0, x + step - 1, h), fill=110)
    rows = Image.new("L", size, 0)
    draw = ImageDraw.Draw(rows)
    for y in range(0, h, 2 * step):
        draw.rectangle((0, y, w, y + step - 1), fill=110)
    image = Image.new("RGB", size, (252, 250, 246))
    image.paste(colour, (0, 0, w, h), mask)
    image.paste(colour, (0, 0, w, h), rows)
    return image


def _marble(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    base, vein = pick(
        rng,
        (
            ((240, 240, 238), (120, 122, 130)),
            ((38, 44, 42), (188, 178, 150)),
            ((226, 206, 196), (150, 104, 96)),
            ((40, 74, 66), (206, 214, 196)),
        ),
    )
    mask = Image.new("L", (112, 112), 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(7):
        x, y = uniform(rng, -20, 112), uniform(rng, -20, 40)
        points = [(x, y)]
        for _ in range(9):
            x, y = x + uniform(rng, -6, 20), y + uniform(rng, 2, 22)
            points.append((x, y))
        draw.line(points, fill=int(rng.integers(90, 230)), width=int(rng.integers(1, 4)))
    mask = mask.filter(ImageFilter.GaussianBlur(1.2)).resize(size, Image.Resampling.BICUBIC)
    image = gradient(size, shade(base, 1.04), shade(base, 0.93))
    image.paste(vein, (0, 0, *size), mask)
    return image


def _dots(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    base, dot = pick(rng, UNSEEN_COLOURS), pick(rng, ((255, 255, 255), (40, 40, 50)))
    step = max(4, round(uniform(rng, 0.08, 0.14) * min(size)))
    image = Image.new("RGB", size, shade(base, 0.95))
    draw = ImageDraw.Draw(image)
    r = 0.26 * step
    for row, y in enumerate(range(0, size[1] + step, step)):
        for x in range((row % 2) * step // 2, size[0] + step, step):
            draw.ellipse((x - r, y - r, x + r, y + r), fill=dot)
    return image


def _terrazzo(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    base = pick(rng, ((238, 232, 224), (214, 220, 222), (246, 240, 236)))
    image = Image.new("RGB", size, base)
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, r = uniform(rng, 0, 1), uniform(rng, 0, 1), uniform(rng, 0.02, 0.06) * min(size)
        turns = sorted(uniform(rng, 0, 2 * math.pi) for _ in range(5))
        chip = [(x * size[0] + r * math.cos(t), y * size[1] + r * math.sin(t)) for t in turns]
        draw.polygon(chip, fill=pick(rng, UNSEEN_COLOURS))
    return image


def _shirt(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    right = (0.3, 0.0, 0.7, 0.0, 1.0, 0.22, 0.86, 0.42, 0.76, 0.34, 0.76, 1.0)
    _shape(draw, w, h, (*right, 0.24, 1.0, 0.24, 0.34, 0.14, 0.42, 0.0, 0.22), colour)
    draw.ellipse((0.38 * w, -0.1 * h, 0.62 * w, 0.1 * h), fill=(*shade(colour, 0.7), 255))
    draw.rectangle((0.24 * w, 0.5 * h, 0.76 * w, 0.62 * h), fill=(*other, 255))


def _lamp(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    _shape(draw, w, h, (0.28, 0.0, 0.72, 0.0, 1.0, 0.45, 0.0, 0.45), colour)
    draw.rectangle((0.46 * w, 0.45 * h, 0.54 * w, 0.9 * h), fill=(*shade(other, 0.7), 255))
    draw.ellipse((0.2 * w, 0.86 * h, 0.8 * w, h), fill=(*other, 255))


def _handbag(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    handle = (0.26 * w, 0.0, 0.74 * w, 0.72 * h)
    draw.arc(handle, 180, 360, (*shade(colour, 0.7), 255), max(1, w // 14))
    _shape(draw, w, h, (0.12, 0.34, 0.88, 0.34, 1.0, 1.0, 0.0, 1.0), colour)
    _shape(draw, w, h, (0.1, 0.34, 0.9, 0.34, 0.5, 0.72), shade(colour, 0.8))
    r = 0.06 * w
    draw.ellipse((0.5 * w - r, 0.68 * h - r, 0.5 * w + r, 0.68 * h + r), fill=(*other, 255))


def _glasses(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    dark, rim = (*shade(colour, 0.6), 255), max(1, h // 9)
    draw.line((0, 0.2 * h, w, 0.2 * h), fill=dark, width=rim)
    for x in (0.02, 0.56):
        lens = (x * w, 0.1 * h, (x + 0.42) * w, h - 1.0)
        draw.ellipse(lens, fill=(*shade(other, 0.6), 255), outline=dark, width=rim)


def _shoe(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    upper = (0.02, 0.05, 0.3, 0.0, 0.42, 0.3, 0.78, 0.48, 0.98, 0.66, 1.0, 0.85, 0.0, 0.85)
    _shape(draw, w, h, upper, colour)
    draw.rectangle((0, 0.82 * h, w, h), fill=(*ink_on(colour), 255))
    for i in range(4):
        x, y = (0.42 + 0.09 * i) * w, (0.3 + 0.06 * i) * h
        draw.line((x, y, x - 0.1 * w, y + 0.2 * h), fill=(*other, 255), width=max(1, w // 30))


def _plant(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    for i, x in enumerate((0.04, 0.24, 0.5, 0.76, 0.96)):
        tip, green = (x * w, (0.25, 0.06, 0.0, 0.08, 0.28)[i] * h), LEAVES[i % len(LEAVES)]
        _leaf(draw, (0.5 * w, 0.66 * h), tip, 0.2 * w, (*green, 255))
    _shape(draw, w, h, (0.2, 0.6, 0.8, 0.6, 0.7, 1.0, 0.3, 1.0), colour)
    draw.rectangle((0.16 * w, 0.58 * h, 0.84 * w, 0.68 * h), fill=(*shade(colour, 0.8), 255))


def _book(draw: ImageDraw.ImageDraw, w: int, h: int, colour: Colour, other: Colour) -> None:
    draw.rectangle((0, 0, w, h), fill=(*colour, 255))
    draw.rectangle((0, 0, 0.12 * w, h), fill=(*shade(colour, 0.7), 255))
    draw.rectangle((0.26 * w, 0.16 * h, 0.86 * w, 0.34 * h), fill=(*other, 255))
    for i in range(3):
        y = (0.5 + 0.12 * i) * h
        draw.line((0.26 * w, y, 0.86 * w, y), fill=(*ink_on(colour), 255), width=max(1, h // 40))


def _shape(
    draw: ImageDraw.ImageDraw, w: int, h: int, shares: tuple[float, ...], colour: Colour
) -> None:
    points = [(x * w, y * h) for x, y in zip(shares[::2], shares[1::2], strict=True)]
    draw.polygon(points, fill=(*colour, 255))


THINGS: tuple[
    tuple[float, Callable[[ImageDraw.ImageDraw, int, int, Colour, Colour], None]], ...
] = (
    (0.95, _shirt),
    (0.6, _lamp),
    (1.0, _handbag),
    (2.2, _glasses),
    (1.7, _shoe),
    (0.8, _plant),
    (0.72, _book),
)
"""Width over height of each thing, and how it is painted."""

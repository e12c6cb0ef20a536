"""What sellers lay over a photo: badges, price stickers, banners, watermarks, text, frames, insets.

All random numbers are drawn before the severity is looked at, so that one seed gives the same
overlay at every severity, only larger (or, for the watermark, less transparent).
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from tgqformer.corruption.canvas import (
    PROMO_COLOURS,
    chance,
    corruption,
    draw_lines,
    draw_text,
    font,
    ink_on,
    paste,
    pick,
    sticker,
    uniform,
)

BADGE_WORDS = ("NEW", "SALE", "HOT", "-20%", "-30%", "-50%", "TOP", "DEAL", "1+1", "VIP")
BANNER_WORDS = (
    "FREE SHIPPING",
    "BUY 2 GET 1 FREE",
    "LIMITED OFFER",
    "24H DELIVERY",
    "OFFICIAL STORE",
    "MEGA SALE TODAY",
    "FLASH DEAL",
    "BEST PRICE EVER",
)
MARK_WORDS = ("SHOP NO.1", "OFFICIAL", "DO NOT COPY", "www.best-shop", "SAMPLE")
CLAIM_WORDS = (
    "Top quality",
    "Fast delivery",
    "30 days return",
    "2 year warranty",
    "Gift box",
    "In stock",
    "Best seller",
    "5 star rated",
    "Easy care",
    "As seen on TV",
)


@corruption
def corner_badge(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A star, disc or pennant in a corner, up to half the shorter side wide."""
    shape = pick(rng, ("star", "disc", "pennant"))
    colour, word = pick(rng, PROMO_COLOURS), pick(rng, BADGE_WORDS)
    right, bottom = chance(rng, 0.5), chance(rng, 0.35)
    side = 0.5 * math.sqrt(severity) * min(image.size)

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        if shape == "star":
            points = []
            for i in range(32):
                radius = (0.5 if i % 2 else 0.42) * w
                angle = math.pi * i / 16
                x, y = w / 2 + radius * math.cos(angle), h / 2 + radius * math.sin(angle)
                points.append((round(x, 1), round(y, 1)))
            draw.polygon(points, fill=(*colour, 255))
        elif shape == "disc":
            draw.ellipse((0, 0, w - 1, h - 1), fill=(*colour, 255))
            rim = max(1, w // 28)
            ring = (rim * 2, rim * 2, w - 1 - rim * 2, h - 1 - rim * 2)
            if w >= 12:
                draw.ellipse(ring, outline=(*ink_on(colour), 255), width=rim)
        else:
            notch = (w / 2, h * 0.82)
            draw.polygon([(0, 0), (w, 0), (w, h), notch, (0, h)], fill=(*colour, 255))
        draw_text(draw, (w * 0.14, h * 0.3, w * 0.86, h * 0.7), word, (*ink_on(colour), 255))

    badge = sticker(side, side, paint)
    margin = 0.02 * min(image.size) if shape != "pennant" else 0.0
    x = image.width - badge.width - margin if right else margin
    y = image.height - badge.height - margin if bottom else margin
    return paste(image, badge, x, y)


@corruption
def price_sticker(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A label with a price and a struck-out one, up to 62 % of the width."""
    colour = pick(rng, PROMO_COLOURS)
    price = int(rng.integers(3, 90))
    old = price + int(rng.integers(5, 60))
    fx, fy = uniform(rng, 0.0, 1.0), uniform(rng, 0.55, 1.0)
    if chance(rng, 0.3):
        fy = 1.0 - fy
    w = 0.62 * math.sqrt(severity) * image.width
    h = min(0.5 * w, 0.3 * math.sqrt(severity) * image.height)

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        ink = (*ink_on(colour), 255)
        draw.rounded_rectangle((0, 0, w - 1, h - 1), radius=h * 0.2, fill=(*colour, 255))
        draw_text(draw, (w * 0.06, h * 0.3, w * 0.94, h * 0.94), f"${price}.99", ink)
        draw_text(draw, (w * 0.25, h * 0.06, w * 0.75, h * 0.3), f"${old}.00", ink)
        draw.line((w * 0.3, h * 0.2, w * 0.7, h * 0.16), fill=ink, width=max(1, h // 30))

    label = sticker(w, h, paint)
    return paste(image, label, fx * (image.width - label.width), fy * (image.height - label.height))


@corruption
def banner(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A bar with a slogan at the top or the bottom, up to 30 % of the height."""
    colour, word = pick(rng, PROMO_COLOURS), pick(rng, BANNER_WORDS)
    at_bottom, two_bars = chance(rng, 0.65), chance(rng, 0.3)
    h = max(1, round(0.3 * severity * image.height))

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.rectangle((0, 0, w, h), fill=(*colour, 255))
        draw_text(draw, (w * 0.04, h * 0.14, w * 0.96, h * 0.86), word, (*ink_on(colour), 255))

    bar = sticker(image.width, h, paint)
    y = image.height - bar.height if at_bottom else 0
    if two_bars:
        thin = (0, 0, image.width, h // 4) if at_bottom else (0, image.height - h // 4)
        image.paste(colour, (thin[0], thin[1], image.width, thin[1] + h // 4))
    return paste(image, bar, 0, y)


@corruption
def watermark(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Rows of slanted text over the whole photo, up to 65 % opaque."""
    word = pick(rng, MARK_WORDS)
    ink = pick(rng, ((255, 255, 255), (30, 30, 30), (130, 130, 130)))
    angle, phase = uniform(rng, 18, 40), uniform(rng, 0.0, 1.0)
    w, h = image.size
    size = max(5, round(0.1 * min(w, h)))
    reach = math.ceil(math.hypot(w, h)) + 2
    line = (word + "    ") * math.ceil(reach / max(1.0, font(size).getlength(word + "    ")) + 1)
    mask, step = Image.new("L", (reach, reach), 0), round(2.4 * size)
    # The line is drawn once, with room for the shifts: letters cost more than all the rest.
    written = Image.new("L", (reach + 8 * size, step), 0)
    ink_value = round(255 * 0.65 * severity)
    ImageDraw.Draw(written).text((size, 0), line, fill=ink_value, font=font(size))
    for row, y in enumerate(range(-size, reach, step)):
        shift = -round((phase + 0.5 * (row % 2)) * size * 4)
        mask.paste(written, (shift - size, y))
    mask = mask.rotate(angle, Image.Resampling.BILINEAR)
    left, top = (reach - w) // 2, (reach - h) // 2
    image.paste(ink, (0, 0, w, h), mask.crop((left, top, left + w, top + h)))
    return image


@corruption
def text_block(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A panel of three claims at one side, up to half of each side."""
    colour = pick(rng, PROMO_COLOURS)
    first, step = int(rng.integers(len(CLAIM_WORDS))), int(rng.integers(1, 5))
    claims = [CLAIM_WORDS[(first + i * step) % len(CLAIM_WORDS)] for i in range(3)]
    fx, fy = pick(rng, (0.02, 0.98)), uniform(rng, 0.05, 0.95)
    solid = chance(rng, 0.5)
    scale = 0.52 * math.sqrt(severity)

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        ground = colour if solid else (255, 255, 255)
        ink = ink_on(colour) if solid else tuple(c // 2 for c in colour)
        draw.rounded_rectangle((0, 0, w - 1, h - 1), h * 0.06, fill=(*ground, 225))
        for i in range(len(claims)):
            y0, y1 = h * (0.07 + 0.3 * i), h * (0.29 + 0.3 * i)
            radius, middle = h * 0.045, (y0 + y1) / 2
            dot = (w * 0.06, middle - radius, w * 0.06 + 2 * radius, middle + radius)
            draw.ellipse(dot, fill=(*ink, 255))
        draw_lines(draw, (w * 0.18, h * 0.03, w * 0.97, h * 0.93), claims, (*ink, 255))

    panel = sticker(scale * image.width, scale * 0.85 * image.height, paint)
    return paste(image, panel, fx * (image.width - panel.width), fy * (image.height - panel.height))


@corruption
def frame(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A coloured border, up to 12 % of the shorter side on every side, with a tab of text."""
    colour, word = pick(rng, PROMO_COLOURS), pick(rng, BANNER_WORDS)
    double, tab = chance(rng, 0.5), chance(rng, 0.6)
    w, h = image.size
    exact = 0.12 * severity * min(w, h)
    width, plain = max(1, round(exact)), image.copy()
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, w - 1, h - 1), outline=colour, width=width)
    if double and width >= 3:
        inner = width // 3
        box = (inner, inner, w - 1 - inner, h - 1 - inner)
        draw.rectangle(box, outline=ink_on(colour), width=max(1, width // 8))
    if tab:

        def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
            draw.rounded_rectangle((0, 0, w - 1, h - 1), h * 0.3, fill=(*colour, 255))
            draw_text(draw, (w * 0.06, h * 0.15, w * 0.94, h * 0.85), word, (*ink_on(colour), 255))

        label = sticker(min(0.7 * w, 7.0 * width), 1.4 * width, paint)
        paste(image, label, (w - label.width) / 2, h - label.height)
    # A border thinner than a pixel is a pixel wide and transparent.
    return Image.blend(plain, image, exact) if exact < 1 else image


@corruption
def collage_inset(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """One to three small close-ups of the photo itself at its edge, up to 38 % of a side each."""
    count, side = int(rng.integers(1, 4)), pick(rng, ("left", "right", "bottom"))
    border = pick(rng, ((255, 255, 255), (60, 60, 60), *PROMO_COLOURS[:3]))
    centres = [(uniform(rng, 0.3, 0.7), uniform(rng, 0.3, 0.7)) for _ in range(count)]
    zoom = uniform(rng, 0.25, 0.5)
    w, h = image.size
    edge = max(1, round(0.38 * math.sqrt(severity) * min(w, h) / (1.0 + 0.15 * (count - 1))))
    rim = max(1, edge // 24)
    source = image.copy()
    for i, (cx, cy) in enumerate(centres):
        half = max(1.0, zoom * min(w, h) / 2)
        box = (max(0, cx * w - half), max(0, cy * h - half), cx * w + half, cy * h + half)
        box = (box[0], box[1], min(w, box[2]), min(h, box[3]))
        closeup = source.resize((edge, edge), Image.Resampling.BILINEAR, box=box)
        ImageDraw.Draw(closeup).rectangle((0, 0, edge - 1, edge - 1), outline=border, width=rim)
        along = (i + 0.5) / count
        if side == "bottom":
            x, y = along * w - edge / 2, h - edge * 1.05
        else:
            x, y = (0.05 * edge if side == "left" else w - 1.05 * edge), along * h - edge / 2
        image.paste(closeup, (round(x), round(y)))
    return image

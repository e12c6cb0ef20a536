"""Overlays that training never uses: seals, coupons, size charts, contact blocks, colour swatches.

A model that is trained under `overlays` may know them by heart, so what it withstands is judged on
these. They keep the same laws (one seed gives the same overlay at every severity, only larger) and
cover about as much, but share no form, place, word or colour with them.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from tgqformer.corruption.canvas import (
    Colour,
    chance,
    corruption,
    draw_text,
    font,
    ink_on,
    paste,
    pick,
    sticker,
    uniform,
)

UNSEEN_COLOURS: tuple[Colour, ...] = (
    (196, 160, 84),
    (0, 148, 150),
    (250, 142, 112),
    (178, 158, 218),
    (24, 40, 88),
    (152, 214, 180),
    (112, 72, 52),
    (186, 226, 60),
    (250, 206, 214),
    (96, 108, 60),
)
STAMP_INKS: tuple[Colour, ...] = ((138, 22, 60), (38, 48, 112), (66, 92, 46), (88, 46, 32))
RIM_WORDS = (
    "AUTHENTIC GOODS * CHECKED BY HAND * ",
    "GENUINE ARTICLE * ORIGINAL PARTS * ",
    "LABORATORY TESTED * SAFE FOR ALL * ",
    "MADE WITH CARE * SINCE 1987 * ",
    "ORGANIC COTTON * FAIR TRADE * ",
)
SEAL_WORDS = ("PASSED", "GENUINE", "TESTED", "GRADE A", "CERTIFIED")
COUPON_WORDS = ("VOUCHER", "COUPON", "GIFT CARD", "CASHBACK", "APP ONLY", "MEMBERS")
CODE_WORDS = ("CODE SPRING", "CODE HELLO7", "SCRATCH HERE", "TEAR OFF", "ONE PER ORDER")
CONTACT_WORDS = ("SCAN ME", "CALL NOW", "ORDER BY CHAT", "ASK US", "WHOLESALE")
BUBBLE_WORDS = (
    "Many colours!",
    "Pick yours",
    "Which one?",
    "Mix and match",
    "My favourite",
    "Soft & warm",
)


@corruption
def seal(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A worn rubber stamp with words around its rim, up to 62 % of the shorter side wide."""
    ink, around, word = pick(rng, STAMP_INKS), pick(rng, RIM_WORDS), pick(rng, SEAL_WORDS)
    fx, fy, tilt = uniform(rng, 0.0, 1.0), uniform(rng, 0.0, 1.0), uniform(rng, -40.0, 40.0)
    grain = rng.integers(0, 256, (24, 24), dtype=np.uint8)
    side = max(1, round(0.62 * math.sqrt(severity) * min(image.size)))
    n = 2 * side  # painted at twice the size, as stickers are
    mask = Image.new("L", (n, n), 0)
    draw = ImageDraw.Draw(mask)
    for radius, fill in ((0.5, 255), (0.455, 0), (0.432, 255), (0.327, 0)):
        _disc(draw, n / 2, n / 2, radius * n, (fill,))
    _write_around(mask, around, 0.38 * n, 0.085 * n)
    for offset in (-0.24, 0.24):
        _star(draw, n / 2, n / 2 + offset * n, 0.075 * n, 255)
    draw.rectangle((0.06 * n, 0.38 * n, 0.94 * n, 0.62 * n), fill=0)
    draw.rounded_rectangle((0.02 * n, 0.4 * n, 0.98 * n, 0.6 * n), 0.03 * n, fill=255)
    draw_text(draw, (0.08 * n, 0.42 * n, 0.92 * n, 0.58 * n), word, (0,))
    wear = Image.fromarray(grain).resize((n, n), Image.Resampling.BICUBIC)
    mask.paste(0, (0, 0, n, n), wear.point([max(0, 150 - 3 * v) for v in range(256)]))
    mask = mask.rotate(tilt, Image.Resampling.BILINEAR).reduce(2)
    x, y = fx * (image.width - side), fy * (image.height - side)
    image.paste(ink, (round(x), round(y)), mask.point([round(0.8 * v) for v in range(256)]))
    return image


def _write_around(mask: Image.Image, text: str, radius: float, height: float) -> None:
    """Cut the text out of a mask, letter by letter, around its middle."""
    size = int(height)
    if size < 5:
        return
    repeated = text * max(1, round(2 * math.pi * radius / (0.72 * height * len(text))))
    cell, middle = 2 * size, mask.width / 2
    for i, letter in enumerate(repeated):
        turn = 2 * math.pi * i / len(repeated)
        glyph = Image.new("L", (cell, cell), 0)
        ImageDraw.Draw(glyph).text((size, size), letter, fill=255, font=font(size), anchor="mm")
        glyph = glyph.rotate(-math.degrees(turn), Image.Resampling.BILINEAR)
        x, y = middle + radius * math.sin(turn) - size, middle - radius * math.cos(turn) - size
        mask.paste(0, (round(x), round(y)), glyph)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: tuple[int, ...]) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: int) -> None:
    points = []
    for i in range(10):
        r, turn = (0.42 if i % 2 else 1.0) * radius, math.pi * (i / 5 - 0.5)
        points.append((x + r * math.cos(turn), y + r * math.sin(turn)))
    draw.polygon(points, fill=fill)


@corruption
def coupon(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A perforated ticket along a side, its words turned, up to 30 % of the width and 84 % high."""
    colour, word, code = pick(rng, UNSEEN_COLOURS), pick(rng, COUPON_WORDS), pick(rng, CODE_WORDS)
    value = f"{int(rng.integers(2, 20)) * 5} off"
    right, fy, cut = chance(rng, 0.5), uniform(rng, 0.0, 1.0), uniform(rng, 0.62, 0.74)
    bars = rng.integers(1, 4, 60).tolist()
    scale, ink = math.sqrt(severity), (*ink_on(colour), 255)

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.rectangle((0, 0, w, h), fill=(*colour, 255))
        draw.rectangle((w * cut, 0, w, h), fill=(255, 253, 240, 255))
        r = h / 14
        for i in range(7):  # teeth at both ends
            for end in (0, w):
                _disc(draw, end, (i + 0.5) * h / 7, 0.62 * r, (0, 0, 0, 0))
        for y in (0, h):  # notches where it tears
            _disc(draw, w * cut, y, 1.3 * r, (0, 0, 0, 0))
        for i in range(1, 12):
            _disc(draw, w * cut, i * h / 12, h / 50, (90, 90, 90, 255))
        draw_text(draw, (w * 0.06, h * 0.1, w * cut * 0.94, h * 0.36), word, ink)
        draw_text(draw, (w * 0.06, h * 0.38, w * cut * 0.94, h * 0.9), value, ink)
        x, step = w * (cut + 0.04), w * (0.9 - cut) / sum(bars)
        for i, bar in enumerate(bars):
            if i % 2 == 0:
                draw.rectangle((x, h * 0.12, x + bar * step, h * 0.68), fill=(20, 20, 20, 255))
            x += bar * step
        tail = (w * (cut + 0.03), h * 0.72, w * 0.95, h * 0.9)
        draw_text(draw, tail, code, (60, 60, 60, 255))

    ticket = sticker(0.84 * scale * image.height, 0.3 * scale * image.width, paint)
    turn = Image.Transpose.ROTATE_270 if right else Image.Transpose.ROTATE_90
    ticket = ticket.transpose(turn)
    x = image.width - ticket.width if right else 0
    return paste(image, ticket, x, fy * (image.height - ticket.height))


@corruption
def size_chart(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Arrows that measure width and height, and a table of sizes, up to 46 by 28 % of the sides."""
    line = pick(rng, ((30, 30, 34), (112, 72, 52), (0, 112, 116), (24, 40, 88)))
    head = pick(rng, UNSEEN_COLOURS)
    wide, high = (f"{int(rng.integers(8, 160))} cm" for _ in range(2))
    cells = rng.integers(28, 120, (3, 3)).tolist()
    below, right = chance(rng, 0.5), chance(rng, 0.5)
    fx = uniform(rng, 0.1, 0.9)
    names = pick(rng, (("size", "S", "M", "L"), ("size", "36", "38", "40"), ("cm", "A", "B", "C")))
    rows = pick(rng, (("chest", "waist", "length"), ("top", "base", "depth")))
    w, h = image.size
    scale = math.sqrt(severity)
    reach = scale * min(w, h)

    def arrow(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        tip, middle, stroke = 0.45 * h, h / 2, max(1, round(0.16 * h))
        draw.line((tip, middle, w - tip, middle), fill=(*line, 255), width=stroke)
        for x, inner in ((0.0, tip * 1.4), (float(w), w - tip * 1.4)):
            draw.polygon([(x, middle), (inner, 0.1 * h), (inner, 0.9 * h)], fill=(*line, 255))
            draw.line((x, 0, x, h), fill=(*line, 255), width=stroke)

    def label(text: str) -> Image.Image:
        def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
            draw.rectangle((0, 0, w, h), fill=(255, 255, 255, 235))
            draw_text(draw, (w * 0.04, h * 0.08, w * 0.96, h * 0.92), text, (*line, 255))

        return sticker(0.26 * reach, 0.09 * reach, paint)

    def table(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.rectangle((0, 0, w, h), fill=(255, 255, 255, 245))
        draw.rectangle((0, 0, w, h / 4), fill=(*head, 255))
        for i in range(5):
            thin = max(1, h // 60)
            draw.line((0, i * (h - 1) / 4, w, i * (h - 1) / 4), fill=(*line, 255), width=thin)
            draw.line((i * (w - 1) / 4, 0, i * (w - 1) / 4, h), fill=(*line, 255), width=thin)
        for row in range(4):
            for column in range(4):
                if row == 0:
                    text, ink = names[column], ink_on(head)
                else:
                    text, ink = rows[row - 1], line
                    text = str(cells[row - 1][column - 1]) if column else text
                x0, y0 = (column + 0.1) * w / 4, (row + 0.14) * h / 4
                draw_text(draw, (x0, y0, x0 + 0.2 * w, y0 + 0.18 * h), text, (*ink, 255))

    thick = 0.07 * reach
    across = sticker(0.8 * scale * w, thick, arrow)
    upright = sticker(0.8 * scale * h, thick, arrow).transpose(Image.Transpose.ROTATE_90)
    chart = sticker(0.46 * scale * w, 0.28 * scale * h, table)
    y = 0.84 * h if below else 0.16 * h
    x = 0.85 * w if right else 0.15 * w
    paste(image, across, (w - across.width) / 2, y - across.height / 2)
    paste(image, upright, x - upright.width / 2, (h - upright.height) / 2)
    for text, cx, cy in ((wide, w / 2, y), (high, x, h / 2)):
        tag = label(text)
        paste(image, tag, min(cx - tag.width / 2, w - tag.width), cy - tag.height / 2)
    top = 0.03 * h if below else 0.97 * h - chart.height
    return paste(image, chart, fx * (w - chart.width), top)


@corruption
def contact_block(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A card with a QR code and a telephone number, up to 38 % wide and 48 % high, anywhere."""
    colour, word = pick(rng, UNSEEN_COLOURS), pick(rng, CONTACT_WORDS)
    digits = "".join(str(d) for d in rng.integers(0, 10, 8).tolist())
    number = f"0{digits[:3]} {digits[3:5]} {digits[5:]}"
    code = _qr_code(rng)
    fx, fy = uniform(rng, 0.04, 0.96), uniform(rng, 0.04, 0.96)
    scale = math.sqrt(severity)
    side = scale * min(image.size)

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.rounded_rectangle((0, 0, w - 1, h - 1), 0.05 * w, fill=(*colour, 255))
        edge = 0.82 * w
        x0, y0 = 0.09 * w, 0.05 * h
        draw.rectangle((x0, y0, x0 + edge, y0 + edge), fill=(255, 255, 255, 255))
        step = 0.9 * edge / len(code)
        for row, column in np.argwhere(code).tolist():
            x, y = x0 + 0.05 * edge + column * step, y0 + 0.05 * edge + row * step
            draw.rectangle((x, y, x + step, y + step), fill=(10, 10, 14, 255))
        ink = (*ink_on(colour), 255)
        under = y0 + edge
        draw_text(draw, (0.06 * w, under + 0.02 * h, 0.94 * w, 0.86 * h), word, ink)
        handset = (0.07 * w, 0.87 * h, 0.14 * w, 0.96 * h)
        draw.rounded_rectangle(handset, 0.02 * w, fill=ink)
        draw.rectangle((0.085 * w, 0.885 * h, 0.125 * w, 0.935 * h), fill=(*colour, 255))
        draw_text(draw, (0.19 * w, 0.86 * h, 0.96 * w, 0.97 * h), number, ink)

    card = sticker(0.38 * side, 0.48 * side, paint)
    return paste(image, card, fx * (image.width - card.width), fy * (image.height - card.height))


def _qr_code(rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return 21 x 21 modules with the three finders of a QR code; it leads nowhere."""
    code = rng.integers(0, 2, (21, 21)).astype(np.bool_)
    finder = np.ones((7, 7), dtype=np.bool_)
    finder[1:6, 1:6] = False
    finder[2:5, 2:5] = True
    for top, left in ((0, 0), (0, 14), (14, 0)):
        code[max(0, top - 1) : top + 8, max(0, left - 1) : left + 8] = False
        code[top : top + 7, left : left + 7] = finder
    return code


@corruption
def swatches(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A row of the colours on offer, up to 80 % of the width, and a speech bubble above it."""
    count, word = int(rng.integers(4, 7)), pick(rng, BUBBLE_WORDS)
    first, step = int(rng.integers(len(UNSEEN_COLOURS))), pick(rng, (1, 3))
    colours = [UNSEEN_COLOURS[(first + i * step) % len(UNSEEN_COLOURS)] for i in range(count)]
    chosen, square = int(rng.integers(count)), chance(rng, 0.5)
    above, fx, speaker = chance(rng, 0.4), uniform(rng, 0.0, 1.0), chance(rng, 0.5)
    ground = pick(rng, ((255, 250, 225), (236, 246, 255), (40, 40, 48)))
    w, h = image.size
    scale = math.sqrt(severity)

    def row(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        edge = min(0.84 * w / count, 0.92 * h)
        for i, colour in enumerate(colours):
            x, y = w * (i + 0.5) / count, h / 2
            for r, fill in ((edge / 2, (255, 255, 255)), (0.43 * edge, colour)):
                box = (x - r, y - r, x + r, y + r)
                rim = (30, 30, 34, 255) if i == chosen and r == edge / 2 else (*fill, 255)
                if square:
                    draw.rounded_rectangle(box, 0.3 * r, fill=rim)
                else:
                    draw.ellipse(box, fill=rim)

    def bubble(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        outline, ink = (30, 30, 34, 255), (*ink_on(ground), 255)
        tail = (0.25, 0.42, 0.14) if speaker else (0.75, 0.58, 0.86)
        points = [(tail[0] * w, 0.6 * h), (tail[1] * w, 0.6 * h), (tail[2] * w, h)]
        body, rim = (0.0, 0.0, w - 1.0, 0.8 * h), max(1, round(0.03 * h))
        draw.polygon(points, fill=outline)
        draw.ellipse(body, fill=outline)
        if min(w, h) >= 16:
            inner = (rim, rim, w - 1 - rim, 0.8 * h - rim)
            draw.ellipse(inner, fill=(*ground, 255))
            shorter = [(x + (0.02 if speaker else -0.02) * w, y - 2 * rim) for x, y in points]
            draw.polygon(shorter, fill=(*ground, 255))
        draw_text(draw, (w * 0.12, h * 0.2, w * 0.88, h * 0.6), word, ink)

    strip = sticker(0.8 * scale * w, 0.17 * scale * h, row)
    balloon = sticker(0.46 * scale * w, 0.27 * scale * h, bubble)
    gap = 0.02 * h
    x = (w - strip.width) / 2
    if above:
        paste(image, strip, x, gap)
        return paste(image, balloon, fx * (w - balloon.width), strip.height + 2 * gap)
    paste(image, strip, x, h - strip.height - gap)
    top = h - strip.height - balloon.height - 2 * gap
    return paste(image, balloon, fx * (w - balloon.width), top)

"""What distracts from the product: another background, other objects, things in front, a bad crop.

None of these knows where the product is. `background_replacement` guesses: if the border of the
photo is nearly one colour, what is joined to the border and has that colour is background; if not,
everything outside a soft ellipse in the middle is. A product that touches the border, has the
background's colour, or stands in a busy room is cut into; real masks would do better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from tgqformer.corruption.canvas import (
    PROMO_COLOURS,
    chance,
    corruption,
    draw_background,
    paste,
    pick,
    shade,
    sticker,
    uniform,
)

_GRID = 96  # side of the small picture in which the background is looked for
_TOLERANCE = 26.0  # distance from the border's colour, in 0..255 levels, that is still background


def background_mask(image: Image.Image) -> Image.Image:
    """Return an L mask of the photo's size: 255 where background is guessed, 0 on the product."""
    small = image.convert("RGB").resize((_GRID, _GRID), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)  # [grid, grid, 3]
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    near = np.abs(pixels - np.median(border, axis=0)).max(axis=2) < _TOLERANCE
    edge = np.zeros_like(near)
    edge[0], edge[-1], edge[:, 0], edge[:, -1] = True, True, True, True
    if near[edge].mean() < 0.7:
        return _vignette(image.size)
    mask = Image.fromarray(_flood(edge & near, near).astype(np.uint8) * 255)
    return mask.filter(ImageFilter.GaussianBlur(0.7)).resize(image.size, Image.Resampling.BILINEAR)


def _flood(seed: npt.NDArray[np.bool_], allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    reached = seed
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= allowed
        if bool((grown == reached).all()):
            return reached
        reached = grown


def _vignette(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(mask).ellipse((9, 9, 54, 54), fill=0)
    return mask.filter(ImageFilter.GaussianBlur(4)).resize(size, Image.Resampling.BILINEAR)


@corruption
def background_replacement(
    image: Image.Image, severity: float, rng: np.random.Generator
) -> Image.Image:
    """Another place behind the product, blended in by the severity; see the module's caveat."""
    place = draw_background(image.size, rng)
    mask = background_mask(image)
    image.paste(place, (0, 0), mask.point([round(v * severity) for v in range(256)]))
    return image


def _simple_object(rng: np.random.Generator, side: float) -> Image.Image:
    """A box, ball, bottle or cup with a band, RGBA."""
    kind, colour, band = (
        pick(rng, ("box", "ball", "bottle", "cup")),
        *(pick(rng, PROMO_COLOURS) for _ in range(2)),
    )
    aspect = {"box": 0.9, "ball": 1.0, "bottle": 0.38, "cup": 0.85}[kind]

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        body, dark = (*colour, 255), (*shade(colour, 0.7), 255)
        if min(w, h) < 8:  # too small for parts
            draw.rectangle((0, 0, w, h), fill=body)
        elif kind == "box":
            draw.rectangle((0, h * 0.2, w * 0.72, h - 1), fill=body)
            draw.polygon([(0, h * 0.2), (w * 0.28, 0), (w - 1, 0), (w * 0.72, h * 0.2)], fill=dark)
            side_face = [(w * 0.72, h * 0.2), (w - 1, 0), (w - 1, h * 0.8), (w * 0.72, h - 1)]
            draw.polygon(side_face, fill=(*shade(colour, 0.55), 255))
            draw.rectangle((w * 0.3, h * 0.2, w * 0.42, h - 1), fill=(*band, 255))
        elif kind == "ball":
            draw.ellipse((0, 0, w - 1, h - 1), fill=dark)
            draw.ellipse((0, 0, w * 0.93, h * 0.93), fill=body)
            draw.arc((w * 0.2, -h * 0.1, w * 1.2, h), 100, 260, (*band, 255), max(1, w // 9))
        elif kind == "bottle":
            draw.rounded_rectangle((0, h * 0.35, w - 1, h - 1), w * 0.18, fill=body)
            draw.polygon(
                [(0, h * 0.42), (w * 0.32, h * 0.22), (w * 0.68, h * 0.22), (w - 1, h * 0.42)],
                fill=body,
            )
            draw.rectangle((w * 0.32, 0, w * 0.68, h * 0.24), fill=dark)
            draw.rectangle((0, h * 0.55, w - 1, h * 0.8), fill=(*band, 255))
        else:
            draw.ellipse((w * 0.55, h * 0.25, w - 1, h * 0.75), outline=dark, width=max(1, w // 12))
            draw.rounded_rectangle((0, h * 0.05, w * 0.75, h - 1), w * 0.1, fill=body)
            draw.ellipse((0, 0, w * 0.75, h * 0.12), fill=dark)
            draw.rectangle((0, h * 0.4, w * 0.75, h * 0.6), fill=(*band, 255))

    return sticker(side * aspect, side, paint)


def distractor_paste(
    image: Image.Image,
    severity: float,
    rng: np.random.Generator,
    distractors: Sequence[Image.Image] | None = None,
) -> Image.Image:
    """One to three other objects, pasted freely, each up to 55 % of the shorter side.

    Args:
        distractors: pictures of objects to choose from (alpha is respected); simple ones are
            drawn where there is none.
    """

    def run(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
        for _ in range(int(rng.integers(1, 4))):
            side = uniform(rng, 0.35, 0.55) * math.sqrt(severity) * min(image.size)
            fx, fy = uniform(rng, -0.1, 1.1), uniform(rng, -0.05, 1.05)
            if distractors:
                above = pick(rng, distractors).convert("RGBA")
                scale = max(1.0, side) / max(above.size)
                size = (max(1, round(above.width * scale)), max(1, round(above.height * scale)))
                above = above.resize(size, Image.Resampling.BILINEAR)
            else:
                above = _simple_object(rng, side)
            x, y = fx * (image.width - above.width), fy * (image.height - above.height)
            paste(image, above, x, y)
        return image

    return corruption(run)(image, severity, rng)


@corruption
def occlusion(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A plain disc, slab or slanted strip in front, up to about a third of the photo."""
    kind = pick(rng, ("disc", "slab", "strip"))
    colour = pick(rng, (*PROMO_COLOURS, (150, 150, 150), (205, 180, 150)))
    cx, cy = uniform(rng, 0.25, 0.75), uniform(rng, 0.25, 0.75)
    tilt, rising = uniform(rng, 0.1, 0.4), chance(rng, 0.5)
    w, h = image.size
    x, y, r = cx * w, cy * h, 0.33 * math.sqrt(severity) * min(w, h)

    def paint(draw: ImageDraw.ImageDraw, dw: int, dh: int) -> None:
        box = (2 * (x - r), 2 * (y - r), 2 * (x + r), 2 * (y + r))
        if kind == "disc":
            draw.ellipse(box, fill=(*colour, 255))
        elif kind == "slab":
            draw.rounded_rectangle(box, radius=0.3 * r, fill=(*colour, 255))
        else:
            slope = (1 if rising else -1) * tilt * dw
            half = 0.3 * severity * dh / 2
            points = [(0, 2 * y - half + slope / 2), (dw, 2 * y - half - slope / 2)]
            points += [(dw, 2 * y + half - slope / 2), (0, 2 * y + half + slope / 2)]
            draw.polygon(points, fill=(*colour, 255))

    return paste(image, sticker(w, h, paint), 0, 0)


@corruption
def crop(image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """A part of the photo, down to 40 % of each side, enlarged to the old size."""
    fx, fy = uniform(rng, 0.0, 1.0), uniform(rng, 0.0, 1.0)
    w, h = image.size
    cw, ch = max(1.0, w * (1 - 0.6 * severity)), max(1.0, h * (1 - 0.6 * severity))
    x, y = fx * (w - cw), fy * (h - ch)
    return image.resize((w, h), Image.Resampling.BICUBIC, box=(x, y, x + cw, y + ch))

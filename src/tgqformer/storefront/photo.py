"""How a product is photographed: a packshot, or a scene in which other things stand around.

Many photos are drawn on several processes, and a kill loses no more than a chunk of them: a chunk
ends with a small JSON file of what is known of its photos, and chunks that have one are not drawn
again. Which process draws a chunk makes no difference to its bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tgqformer.corruption import OVERLAYS, draw_background
from tgqformer.corruption.canvas import (
    PROMO_COLOURS,
    Colour,
    chance,
    draw_text,
    gradient,
    ink_on,
    paste,
    pick,
    sample,
    shade,
    sticker,
    stream,
    uniform,
)
from tgqformer.errors import ConfigError
from tgqformer.files import write_bytes
from tgqformer.storefront.metadata import write_slogan
from tgqformer.storefront.product import (
    COLOURWAYS,
    PATTERNS,
    SHAPES,
    SILHOUETTES,
    Look,
    draw_product,
    drop_shadow,
    make_look,
)
from tgqformer.storefront.regimes import DRAWINGS, LATEST, Drawing

PHOTOS = ("clean", "overlay", "clutter", "heavy", "siblings", "detail")
SLOGAN = "slogan"
CHUNK = 50
_LAID_ON = (
    "corner_badge",
    "price_sticker",
    "banner",
    "watermark",
    "text_block",
    "frame",
    "collage_inset",
)
"""The overlays of a shop, by name, so that a kind added to OVERLAYS changes no shop."""
_PASTELS: tuple[Colour, ...] = (
    (244, 236, 226),
    (228, 236, 242),
    (234, 240, 228),
    (242, 230, 234),
    (230, 230, 232),
)
_SCALE = 2  # photos are drawn at twice their size and reduced, for smooth edges
_QUALITY = 90
_SUBSAMPLING = 0  # 4:4:4; thin stripes would lose their colours otherwise


class Box(NamedTuple):
    """Pixels x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Width times height, 0 where empty."""
        return max(0, self.x1 - self.x0) * max(0, self.y1 - self.y0)

    def overlap(self, other: Box) -> int:
        """Return the area that both share."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, min(self.x1, other.x1), min(self.y1, other.y1)).area


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and what is known of it.

    Attributes:
        image: RGB [size, size].
        product_box: where the product is, whatever lies over it.
        distractor_boxes: where the other products are, cut at the photo's border.
        distractors: their categories, in the same order.
        overlays: names from OVERLAYS, and SLOGAN, in the order in which they were laid on.
        slogan: the words that name another category and brand, "" without.
    """

    image: Image.Image
    product_box: Box
    distractor_boxes: list[Box]
    distractors: list[str]
    overlays: list[str]
    slogan: str


@dataclass(frozen=True, slots=True)
class Job:
    """One photo to draw: `kind` is one of PHOTOS, `version` a key of DRAWINGS.

    `place` is its place among the item's photos, from 0.
    """

    number: int
    item_id: str
    look: Look
    kind: str
    brand: str
    version: int
    place: int = 0


def take_photo(
    look: Look,
    kind: str,
    size: int,
    rng: np.random.Generator,
    *,
    brand: str = "",
    drawing: Drawing = DRAWINGS[LATEST],
) -> Photo:
    """Photograph a product.

    Args:
        look: the product.
        kind: one of PHOTOS: "clean" (a packshot), "overlay" (one to three overlays on it, and
            perhaps a slogan), "clutter" (one to three other products around it, `drawing.kin` of
            them of its own category), "heavy" (two to four of them, and overlays), "siblings"
            (as heavy, all of them of its own category), "detail" (a part of it from near).
        size: side of the photo in pixels.
        rng: where the randomness comes from.
        brand: the product's, which no slogan names.
        drawing: how hard.
    """
    side = size * _SCALE
    kin = 1.0 if kind == "siblings" else drawing.kin
    if kind in ("clutter", "heavy", "siblings"):
        count = int(rng.integers(1, 4)) if kind == "clutter" else int(rng.integers(2, 5))
        canvas, product_box, others = _scene(look, count, side, kin, rng)
    elif kind == "detail":
        canvas, product_box, others = _detail(look, side, rng)
    else:
        canvas, product_box, others = _packshot(look, side, rng)
    image = canvas.reduce(_SCALE)
    overlays: list[str] = []
    slogan = ""
    if kind in ("overlay", "heavy", "siblings"):
        overlays = sample(_LAID_ON, pick(rng, (1, 1, 2, 3)), rng)
        for name in overlays:
            image = OVERLAYS[name](image, uniform(rng, 0.3, 0.75), rng)
        if chance(rng, drawing.slogans):
            slogan = write_slogan(look.category, brand, rng)
            image = _lay_slogan(image, slogan, rng)
            overlays.append(SLOGAN)
    placed = [(_reduced(box, size), name) for box, name in others]
    shown = [(box, name) for box, name in placed if box.area > 0]
    return Photo(
        image=image,
        product_box=_reduced(product_box, size),
        distractor_boxes=[box for box, _ in shown],
        distractors=[name for _, name in shown],
        overlays=overlays,
        slogan=slogan,
    )


def _lay_slogan(image: Image.Image, words: str, rng: np.random.Generator) -> Image.Image:
    """Lay a bar with the words across the photo, at the top or the bottom."""
    colour, at_bottom = pick(rng, PROMO_COLOURS), chance(rng, 0.5)
    height = uniform(rng, 0.09, 0.16) * image.height

    def paint(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
        draw.rectangle((0, 0, w, h), fill=(*colour, 255))
        draw_text(draw, (w * 0.03, h * 0.1, w * 0.97, h * 0.9), words, (*ink_on(colour), 255))

    bar = sticker(image.width, height, paint)
    return paste(image, bar, 0, image.height - bar.height if at_bottom else 0)


def _reduced(box: Box, size: int) -> Box:
    x0, y0, x1, y1 = box.x0 // _SCALE, box.y0 // _SCALE, -(-box.x1 // _SCALE), -(-box.y1 // _SCALE)
    return Box(max(0, x0), max(0, y0), min(size, x1), min(size, y1))


def _packshot(
    look: Look, side: int, rng: np.random.Generator
) -> tuple[Image.Image, Box, list[tuple[Box, str]]]:
    ground = float(rng.random())
    if ground < 0.55:
        canvas = Image.new("RGB", (side, side), "white")
    else:
        colour = pick(rng, _PASTELS) if ground > 0.8 else (236, 236, 236)
        canvas = gradient((side, side), shade(colour, 1.04), shade(colour, 0.92))
    product = draw_product(look, uniform(rng, 0.68, 0.86) * side, uniform(rng, -5, 5))
    x = round((side - product.width) * uniform(rng, 0.38, 0.62))
    y = round((side - product.height) * uniform(rng, 0.38, 0.62))
    return canvas, _put(canvas, product, x, y), []


def _detail(
    look: Look, side: int, rng: np.random.Generator
) -> tuple[Image.Image, Box, list[tuple[Box, str]]]:
    """A part of a product, so near that the photo does not show all of it."""
    canvas = Image.new("RGB", (side, side), "white")
    product = draw_product(look, uniform(rng, 1.7, 2.6) * side, uniform(rng, -5, 5))
    x = round((side - product.width) * uniform(rng, 0.3, 0.7))
    y = round((side - product.height) * uniform(rng, 0.3, 0.7))
    return canvas, _put(canvas, product, x, y), []


def _scene(
    look: Look, count: int, side: int, kin: float, rng: np.random.Generator
) -> tuple[Image.Image, Box, list[tuple[Box, str]]]:
    """Return a product among others: the picture, its box, and theirs with their categories."""
    canvas = draw_background((side, side), rng)
    length = uniform(rng, 0.36, 0.58) * side
    product = draw_product(look, length, uniform(rng, -8, 8))
    fx, fy = uniform(rng, 0, 1), uniform(rng, 0.1, 1)
    x, y = round(fx * (side - product.width)), round(fy * (side - product.height))
    own = Box(x, y, x + product.width, y + product.height)
    behind: list[tuple[Image.Image, Box, str]] = []
    front: list[tuple[Image.Image, Box, str]] = []
    for _ in range(count):
        distractor = _distractor(look, kin, rng)
        alike = distractor.category == look.category
        longest = uniform(rng, 0.5, 0.9) * length if alike else uniform(rng, 0.28, 0.68) * side
        other = draw_product(distractor, longest, uniform(rng, -15, 15))
        box = _place(other, own, [b for _, b, _ in behind + front], side, rng)
        hides = sum(b.overlap(own) for _, b, _ in front) + box.overlap(own)
        in_front = chance(rng, 0.5) and hides <= 0.22 * own.area and not alike
        (front if in_front else behind).append((other, box, distractor.category))
    for other, box, _ in behind:
        _put(canvas, other, box.x0, box.y0)
    _put(canvas, product, x, y)
    for other, box, _ in front:
        _put(canvas, other, box.x0, box.y0)
    return canvas, own, [(box, name) for _, box, name in behind + front]


def _distractor(look: Look, kin: float, rng: np.random.Generator) -> Look:
    """Return another product, with probability `kin` of the same category.

    It may have the pattern or the colourway of the one for sale, but not both; without kin it has
    neither, as in the first drawing.
    """
    if kin == 0:
        return _stranger(look, rng)
    pattern, colourway = look.pattern, look.colourway
    others = [name for name in SHAPES if name != look.category]
    category = look.category if chance(rng, kin) else pick(rng, others)
    while (pattern, colourway) == (look.pattern, look.colourway):
        pattern, colourway = pick(rng, PATTERNS), pick(rng, tuple(COLOURWAYS))
    return make_look(category, int(rng.integers(SILHOUETTES)), pattern, colourway, rng)


def _stranger(look: Look, rng: np.random.Generator) -> Look:
    return make_look(
        pick(rng, [name for name in SHAPES if name != look.category]),
        int(rng.integers(SILHOUETTES)),
        pick(rng, [name for name in PATTERNS if name != look.pattern]),
        pick(rng, [name for name in COLOURWAYS if name != look.colourway]),
        rng,
    )


def _place(
    other: Image.Image, own: Box, taken: list[Box], side: int, rng: np.random.Generator
) -> Box:
    """Return the best of ten free places: mostly inside the photo, and overlapping little."""
    best, least = Box(0, 0, other.width, other.height), float("inf")
    frame = Box(0, 0, side, side)
    for _ in range(10):
        x = round(uniform(rng, -0.2, 1.2) * (side - other.width))
        y = round(uniform(rng, 0.0, 1.15) * (side - other.height))
        box = Box(x, y, x + other.width, y + other.height)
        hidden = max(0.0, 1 - box.overlap(frame) / box.area - 0.2)
        cost = box.overlap(own) / min(box.area, own.area) + hidden
        cost += 0.5 * sum(box.overlap(b) / min(box.area, b.area) for b in taken)
        if cost < least:
            best, least = box, cost
        if least < 0.12:
            break
    return best


def _put(canvas: Image.Image, product: Image.Image, x: int, y: int) -> Box:
    """Paste a product and its shadow; return its box."""
    blur = 0.02 * canvas.width
    shadow = drop_shadow(product, 0.42, blur)
    margin = (shadow.width - product.width) // 2
    drop = round(0.014 * canvas.width)
    canvas.paste((30, 26, 30), (x - margin + drop // 2, y - margin + drop), shadow)
    canvas.paste(product, (x, y), product)
    return Box(x, y, x + product.width, y + product.height)


def photo_name(item_id: str, place: int = 0) -> str:
    """The file of an item's photo: ``p000001.jpg``, and ``p000001-2.jpg`` for its second."""
    return f"{item_id}-{place + 1}.jpg" if place else f"{item_id}.jpg"


def draw_photos(
    jobs: Sequence[Job], folder: Path, *, size: int, seed: int, workers: int
) -> Iterator[list[dict[str, Any]]]:
    """Draw the photos below ``images/`` in the folder; yield the records of each chunk when done.

    A record has item_id, file (its name), what a Photo tells beside the image, and sha256 (of the
    file).

    Raises:
        ConfigError: the worker processes cannot start.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "chunks").mkdir(exist_ok=True)
    chunks = [
        (list(jobs[i : i + CHUNK]), folder, f"{i // CHUNK:06d}.json", size, seed)
        for i in range(0, len(jobs), CHUNK)
    ]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield _draw_chunk(*chunk)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        for future in as_completed([pool.submit(_draw_chunk, *chunk) for chunk in chunks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ConfigError(
            f"{workers} workers could not start or were killed; pass workers=1, or call from "
            'below `if __name__ == "__main__":` in a script.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _draw_chunk(
    jobs: list[Job], folder: Path, name: str, size: int, seed: int
) -> list[dict[str, Any]]:
    done = folder / "chunks" / name
    if done.is_file():
        records: list[dict[str, Any]] = json.loads(done.read_text())
        return records
    records = [_draw(job, folder, size, seed) for job in jobs]
    write_bytes(done, json.dumps(records).encode(), sync=False)
    return records


def _draw(job: Job, folder: Path, size: int, seed: int) -> dict[str, Any]:
    photo = take_photo(
        job.look,
        job.kind,
        size,
        stream(seed, "photo", job.number, *([job.place] if job.place else [])),
        brand=job.brand,
        drawing=DRAWINGS[job.version],
    )
    buffer = io.BytesIO()
    photo.image.save(buffer, "JPEG", quality=_QUALITY, subsampling=_SUBSAMPLING)
    data = buffer.getvalue()
    # thousands of waits for the disk would take minutes
    name = photo_name(job.item_id, job.place)
    write_bytes(folder / "images" / name, data, sync=False)
    return {
        "item_id": job.item_id,
        "file": name,
        "product_box": list(photo.product_box),
        "distractor_boxes": [list(box) for box in photo.distractor_boxes],
        "distractors": photo.distractors,
        "overlays": photo.overlays,
        "slogan": photo.slogan,
        "sha256": hashlib.sha256(data).hexdigest(),
    }

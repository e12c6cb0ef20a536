"""Fitting photos of any shape into what a tower takes."""

from __future__ import annotations

from PIL import Image

WHITE = (255, 255, 255)
MAX_ASPECT = 8.0


def fit_on_white(image: Image.Image, size: int) -> Image.Image:
    """Scale so that the longer side is `size` px, and centre on a white square: nothing is cut."""
    image = image.convert("RGB")
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return _centre(image, size, size)


def bound_aspect(image: Image.Image, limit: float = MAX_ASPECT) -> Image.Image:
    """Pad with white until the longer side is at most `limit` times the shorter.

    Processors that scale the shorter side to 224 px would make gigabytes of a 10,000 x 1 strip.
    """
    image = image.convert("RGB")
    width, height = image.size
    least = int(-(-max(width, height) // limit))
    return _centre(image, max(width, least), max(height, least))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    canvas = Image.new("RGB", (width, height), WHITE)
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas

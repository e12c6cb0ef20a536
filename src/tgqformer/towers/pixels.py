"""Fitting photos of any shape into what a tower takes."""

from __future__ import annotations

from PIL import Image

WHITE = (255, 255, 255)
MAX_ASPECT = 8.0


def centred(
    width: float, height: float, inner_width: float, inner_height: float
) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a rectangle in the middle of a photo; outside of it where it is larger."""
    x, y = (width - inner_width) / 2, (height - inner_height) / 2
    return x, y, x + inner_width, y + inner_height


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
    return _centre(image, *bounded_size(*image.size, limit))


def bounded_size(width: int, height: int, limit: float = MAX_ASPECT) -> tuple[int, int]:
    """The size that `bound_aspect` pads to."""
    least = int(-(-max(width, height) // limit))
    return max(width, least), max(height, least)


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    canvas = Image.new("RGB", (width, height), WHITE)
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas

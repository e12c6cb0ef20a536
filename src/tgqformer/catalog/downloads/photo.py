"""Whether what came is a photo, and how it is kept."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.faults import FetchError
from tgqformer.catalog.images import decode_image
from tgqformer.errors import ImageError

_QUALITY = 90


def checked_photo(url: str, data: bytes, config: DownloadConfig) -> bytes:
    """Return the bytes to keep of a photo that decodes, scaled down where `config` asks for it.

    Raises:
        FetchError: the bytes are no picture, damaged, or of too many pixels.
    """
    try:
        image = decode_image(data, max_pixels=config.max_pixels, size_hint=config.max_side)
    except ImageError as error:
        reason = str(error).rstrip(".")
        raise FetchError(url, "no readable photo", reason) from error
    if config.max_side is None:
        return data
    return _scaled(data, image, config.max_side)


def _scaled(data: bytes, image: Image.Image, side: int) -> bytes:
    with Image.open(BytesIO(data)) as header:
        if max(header.size) <= side:
            return data
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()

"""Photos in requests: base64, a data: URL, or (where its host is allowed) an http(s) URL.

Whatever comes is decoded once here, within bounds, so that a broken or huge one is an answer of its
own and never an item that is quietly embedded without its photo.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Sequence

from PIL import Image

from tgqformer.catalog.downloads.addresses import PORTS, parse
from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.faults import FetchError
from tgqformer.catalog.downloads.fetch import Fetcher
from tgqformer.catalog.downloads.pace import Pace
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import ImageRef
from tgqformer.errors import ImageError
from tgqformer.service.config import ServiceConfig
from tgqformer.service.failures import ApiError

_PATH = re.compile(r"^(file:|[a-zA-Z]:\\|[~./\\])|\.[a-zA-Z0-9]{2,5}$")

_CHECKED_AT = 64  # pixels: enough to read a file to its end, and quick for a JPEG


class Pictures:
    """Reads the photos of requests; threads may share it."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._hosts = frozenset(host.lower() for host in config.image_hosts)
        options = DownloadConfig(
            workers=4, rate=1e6, timeout=config.image_timeout, max_bytes=config.max_image_bytes
        )
        self._fetcher = (
            Fetcher(options, Pace(options.rate), redirects=0, proxies=False)
            if self._hosts
            else None
        )

    def read_all(self, told: Sequence[str], param: str) -> tuple[bytes, ...]:
        """The encoded bytes of an item's photos, each of which decodes.

        Raises:
            ApiError: too many, or one of them cannot be used (422).
        """
        if len(told) > self._config.max_images:
            raise ApiError(
                422,
                f"the item has {len(told)} photos, more than the {self._config.max_images} "
                "allowed; send the best.",
                param=param,
            )
        return tuple(self.read(photo, f"{param}.{n}") for n, photo in enumerate(told))

    def read(self, told: str, param: str) -> bytes:
        """The encoded bytes of one photo, which decodes; ApiError (422) where it cannot be used."""
        try:
            data = self._fetch(told) if "://" in told[:16] else _decoded(told)
            decode_image(data, max_pixels=self._config.max_pixels, size_hint=_CHECKED_AT)
        except ImageError as error:
            raise ApiError(422, str(error), param=param, code="bad_image") from None
        return data

    def close(self) -> None:
        """Close connections."""
        if self._fetcher is not None:
            self._fetcher.close()

    def _fetch(self, url: str) -> bytes:
        if self._fetcher is None:
            raise ImageError(
                f"{url[:60]!r} is a URL, and photos are not fetched here; send the picture itself "
                "in base64."
            )
        target = parse(url)
        netloc = target.netloc.rsplit("@", 1)[-1].lower()
        usual = target.port == PORTS[target.scheme]
        if netloc not in self._hosts and not (usual and target.host.lower() in self._hosts):
            reason = f"the host {target.host[:100]!r} is not one that photos are fetched from"
            raise FetchError(url, "host not allowed", reason)
        return self._fetcher.fetch(url)


def thumbnail(ref: ImageRef, size: int, max_pixels: int) -> tuple[bytes, int, int]:
    """A photo as JPEG of at most `size` pixels on the longer side, with its width and height.

    Raises:
        ImageError: it cannot be read.
    """
    image = decode_image(ref, max_pixels=max_pixels, size_hint=size)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return jpeg(image), image.width, image.height


def jpeg(image: Image.Image) -> bytes:
    """An RGB picture as JPEG, with nothing of what a camera or a phone wrote beside it."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def _decoded(told: str) -> bytes:
    text = told
    if told[:5].lower() == "data:":
        head, comma, text = told.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ImageError('a data: URL must be in base64, as in "data:image/jpeg;base64,...".')
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        what = f"{told[:60]!r} is"
        if _PATH.search(told[:300]):
            what += " the path of a file, which is not opened here, and"
        raise ImageError(
            f"{what} no base64; send the bytes of the picture in base64, bare or as "
            "data:image/jpeg;base64,..."
        ) from None

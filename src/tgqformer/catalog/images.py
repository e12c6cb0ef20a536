"""From whatever a seller uploads to an upright RGB picture, or one clear sentence why not."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from tgqformer.catalog.items import DrawnPhoto, ImageRef, RemotePhoto
from tgqformer.catalog.quarantine import shown
from tgqformer.errors import ImageError

if TYPE_CHECKING:
    from tgqformer.catalog.fetch import Fetcher

MAX_PIXELS = 64_000_000
"""Width x height above which a photo is refused unread: 8,000 x 8,000 takes 192 MB as RGB."""

MAX_BYTES = 256 * 1024 * 1024
"""Encoded size above which a file is refused unread."""

_TILE = 1 << 18
Box: TypeAlias = tuple[int, int, int, int]

# Only formats in which photos come. Pillow also opens EPS and PDF, by way of other programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM")


def read_image_bytes(ref: ImageRef) -> bytes:
    """Return the encoded bytes of a photo, as stored; of one that is drawn, its source's.

    Raises:
        ImageError: the file is missing, unreadable, no regular file, empty or over MAX_BYTES.
    """
    if isinstance(ref, DrawnPhoto):
        return read_image_bytes(ref.source)
    if isinstance(ref, bytes):
        data = ref
    elif isinstance(ref, RemotePhoto):
        from tgqformer.catalog.images import read_remote

        data = read_remote(ref.address)
    else:
        try:
            status = ref.stat()
            # A named pipe would block for ever, a device never end.
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{ref} is no regular file; name a picture file instead.")
            if status.st_size > MAX_BYTES:
                raise _too_heavy(str(ref), status.st_size)
            data = ref.read_bytes()
        except FileNotFoundError:
            raise ImageError(
                f"{ref} does not exist; put the file there or remove it from the item's images."
            ) from None
        except (OSError, ValueError) as error:
            raise ImageError(
                f"{ref} cannot be read ({error}); make it readable or remove it from the images."
            ) from error
    if not data:
        raise ImageError(f"{_name(ref)} is empty (0 bytes); upload the photo again or remove it.")
    if len(data) > MAX_BYTES:
        raise _too_heavy(_name(ref), len(data))
    return data


def image_key(ref: ImageRef) -> str:
    """Return the sha256, in hexadecimal, of a photo's encoded bytes: its identity everywhere.

    That of a drawn photo is made of its source's and its recipe.
    """
    key = hashlib.sha256(read_image_bytes(ref)).hexdigest()
    return drawn_key(key, ref.recipe) if isinstance(ref, DrawnPhoto) else key


def drawn_key(source: str, recipe: str) -> str:
    """The identity of a photo that is drawn by `recipe` from the one with the key `source`."""
    return hashlib.sha256(f"{source}\0{recipe}".encode()).hexdigest()


def decode_image(
    ref: ImageRef, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None
) -> Image.Image:
    """Decode a photo to an upright RGB picture.

    The EXIF orientation is applied; transparency is laid on white; CMYK, palette, grey, 16-bit and
    float pictures are converted; of an animation the first frame is taken.

    Args:
        ref: a path, or encoded bytes.
        max_pixels: refuse larger pictures by their header, before a pixel is decoded. Pillow's own
            limit (about 179 million pixels, ``PIL.Image.MAX_IMAGE_PIXELS``) holds as well.
        size_hint: the length that the shorter side will be scaled to. A larger JPEG is then decoded
            at 1/2, 1/4 or 1/8 of its size, never below the hint, in a fraction of the time.

    Raises:
        ImageError: the photo cannot be read or decoded in full, or is larger than max_pixels.
    """
    if isinstance(ref, DrawnPhoto):
        source = decode_image(ref.source, max_pixels=max_pixels, size_hint=size_hint)
        return ref.draw(source)
    data = read_image_bytes(ref)
    name = _name(ref)
    try:
        image = Image.open(BytesIO(data), formats=_formats())
        width, height = image.size
        if width * height <= max_pixels:
            if size_hint is not None:
                image.draft(None, (size_hint, size_hint))
            image.load()  # raises where the data ends early: no half-grey pictures
            return _to_rgb(_upright(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name} is refused as too large ({error}); scale it down to at most {max_pixels:,} "
            "pixels."
        ) from error
    except UnidentifiedImageError as error:
        kind = _kind_of(data)
        raise ImageError(
            f"{name} is no picture in a known format (it begins with {data[:12]!r}"
            f"{f', as {kind} does' if kind else ''}); replace it by a JPEG, PNG or WebP file or "
            "remove it."
        ) from error
    # Decoders raise nearly anything on broken data (SyntaxError, struct.error, ValueError, ...),
    # and whatever it is, the verdict on the photo is the same.
    except Exception as error:
        raise ImageError(
            f"{name} cannot be decoded ({error}); the file is damaged or cut short, so replace or "
            "remove it."
        ) from error
    raise ImageError(
        f"{name} is {width} x {height} pixels, more than the limit of {max_pixels:,} in all; scale "
        "it down or raise max_pixels."
    )


_KINDS = (
    (
        re.compile(
            rb"^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!(--.*?--|DOCTYPE\s+svg[^>]*)>\s*)*<svg", re.S
        ),
        "an SVG drawing",
    ),
    (re.compile(rb"^\s*(<!doctype\s+html|<html|<head|<body)", re.I), "a web page (HTML)"),
    (re.compile(rb"^.{4}ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", re.S), "a HEIC photo"),
    (re.compile(rb"^.{4}ftyp|^\x1a\x45\xdf\xa3", re.S), "a film"),
    (re.compile(rb"^%PDF"), "a PDF"),
    (re.compile(rb"^%!PS"), "PostScript"),
    (re.compile(rb"^8BPS"), "a Photoshop file"),
    (re.compile(rb"^PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"^\xff\x0a|^\x00\x00\x00\x0cJXL "), "a JPEG XL picture"),
)


def _kind_of(data: bytes) -> str | None:
    """What a file is that sellers take for a photo; None where it is nothing of the kind."""
    return next((name for begins, name in _KINDS if begins.match(data[:1000])), None)


def is_picture(value: object) -> bool:
    """Tell whether a value is a Pillow image."""
    return isinstance(value, Image.Image)


def as_picture(value: object) -> Image.Image | None:
    """Return a Pillow image, or an array [H, W] or [H, W, 3 or 4] of bytes as one; else None."""
    if isinstance(value, Image.Image):
        return value
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or not value.size:
        return None
    flat = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (3, 4))
    return Image.fromarray(value) if flat else None


def encode_picture(picture: Image.Image) -> bytes:
    """Return a Pillow image as the bytes of a PNG file, for an item's photos.

    Whatever its mode, it is upright and RGB by the same steps as a file of the same content.

    Raises:
        ImageError: it cannot be read in full, or has no known conversion to RGB.
    """
    name = f"a Pillow image of mode {picture.mode} and {picture.width} x {picture.height} pixels"
    try:
        picture.load()
        upright = _to_rgb(_upright(picture))
    except Exception as error:  # a picture of a file decodes only now, and may be broken
        raise ImageError(
            f"{name} cannot be decoded ({error}); convert it to RGB or replace it."
        ) from error
    if not all(upright.size):
        raise ImageError(f"{name} is empty; replace it or take it out.")
    buffer = BytesIO()
    upright.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF says nothing of the direction; the pixels are still good
        return image
    return turned


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_to_rgb(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return image.convert("RGB") if converted is None else converted
    if image.mode in ("La", "RGBa"):
        image = image.convert(f"{image.mode[:-1]}A")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGB", layered.size, (255, 255, 255))
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion clips at 255.

    Floats within 0..1 are taken as such, others as 0..255; integers as 0..65535. It goes tile by
    tile: whole, the numbers would take ten times the memory of the picture.
    """
    scale = 1.0 / 257.0
    if image.mode == "F":
        top = max(float(_numbers(image, box).max()) for box in _tiles(image.size))
        scale = 255.0 if top <= 1.0 else 1.0
    result = Image.new("RGB", image.size)
    for box in _tiles(image.size):
        grey = np.clip(np.rint(_numbers(image, box) * scale), 0, 255).astype(np.uint8)
        result.paste(Image.fromarray(grey), box)
    return result


def _numbers(image: Image.Image, box: Box) -> npt.NDArray[np.float64]:
    """Return a tile's values; what is not finite counts as 0."""
    values = np.asarray(image.crop(box)).astype(np.float64)
    return np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)


def _tiles(size: tuple[int, int]) -> Iterator[Box]:
    """Yield boxes of at most _TILE pixels that cover a picture, however long and thin it is."""
    width, height = size
    across = min(width, _TILE)
    down = _TILE // across
    for top, left in product(range(0, height, down), range(0, width, across)):
        yield left, top, min(left + across, width), min(top + down, height)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF is not in every build


def _name(ref: ImageRef) -> str:
    if isinstance(ref, DrawnPhoto):
        return _name(ref.source)
    return f"a photo of {len(ref):,} bytes" if isinstance(ref, bytes) else str(ref)


def _too_heavy(name: str, size: int) -> ImageError:
    return ImageError(
        f"{name} has {size:,} bytes, more than the limit of {MAX_BYTES:,}; store it smaller."
    )


def image_suffix(data: bytes) -> str:
    """Return the usual file suffix for encoded bytes, ``.bin`` where the format is not known."""
    if data.startswith(b"\xff\xd8"):
        return ".jpg"
    if data.startswith(b"\x89PNG"):
        return ".png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data.startswith(b"GIF8"):
        return ".gif"
    return ".bin"


# -- remote ----------------------------------------------------------------------------------------
# Photos by address: in stores (s3, gs, ...) by fsspec, on the web by the downloads' own fetcher.
#
# They are read anew each time that they are needed, by the rules of `download-images`: so many
# bytes, so many seconds, and no host of an inner network. Fetching them once is the better way
# wherever they are read more than once or twice.

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes of fsspec that may be read: none that leads to files of this machine or to logins."""

ALLOW_PRIVATE = "TGQFORMER_ALLOW_PRIVATE"
"""Where this environment variable is 1, photos on the web may be on private and local addresses."""

_ADDRESS = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


def scheme_of(name: str) -> str | None:
    """Return the scheme of an address, None for a path."""
    found = _ADDRESS.match(name)
    return None if found is None else found[1].lower()


def address_fault(address: str) -> tuple[str, str] | None:
    """Return (rule, reason) where an address cannot be read from here, None where it can."""
    scheme = scheme_of(address) or ""
    if scheme not in (*WEB, *STORES) or "::" in address:
        known = ", ".join((*WEB, *STORES[:-1]))
        return (
            "image is a URL",
            f"{shown(address)} is a URL that is not read (read are {known}); copy the photo into "
            "the catalog's folder and name the file",
        )
    if not _installed(scheme):
        fetch = ""
        if scheme in WEB:
            fetch = (
                "import the table (`tgqformer import table`), which keeps links for `tgqformer "
                "download-images`, or "
            )
        return (
            "image is a URL",
            f"{shown(address)} is a URL; {fetch}install the extra tgqformer[remote] to read it "
            "where it is",
        )
    return None


@cache
def _installed(scheme: str) -> bool:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        return False
    return True


def read_remote(address: str) -> bytes:
    """Return the bytes of a photo by its address.

    Raises:
        ImageError: it is not there, or breaks a rule.
    """
    from tgqformer.catalog.fetch import DownloadConfig

    if (fault := address_fault(address)) is not None:
        raise ImageError(f"{fault[1]}.")
    private = os.environ.get(ALLOW_PRIVATE, "") in ("1", "true", "yes")
    if scheme_of(address) in WEB:
        return _fetcher(private).fetch(address)
    config = DownloadConfig()
    return _stored(address, config.max_bytes, config.timeout)


@cache
def _fetcher(allow_private: bool) -> Fetcher:
    from tgqformer.catalog.fetch import DownloadConfig, Fetcher, Pace

    config = DownloadConfig(allow_private=allow_private)
    return Fetcher(config, Pace(config.rate))


def _stored(address: str, limit: int, seconds: float) -> bytes:
    """Read an object of a store within a time: its clients have timeouts of their own, or none."""
    result: list[Any] = []

    def read() -> None:
        import fsspec

        try:
            system = fsspec.filesystem(scheme_of(address))
            path = system._strip_protocol(address)
            size = system.size(path)
            told = size if size is not None and size > limit else system.cat_file(path)
            result.append(told)
        except Exception as error:  # each store's client has errors of its own
            result.append(error)

    thread = threading.Thread(target=read, daemon=True, name="remote photo")
    thread.start()
    thread.join(seconds)
    if not result:
        raise ImageError(f"{address} did not come in {seconds:g} s; try again, or fetch it once.")
    (told,) = result
    if isinstance(told, (FileNotFoundError, IsADirectoryError)):
        raise ImageError(f"{address} does not exist; put it there or take it out of the images.")
    if isinstance(told, Exception):
        reason = " ".join(str(told).split())[:200] or type(told).__name__
        raise ImageError(
            f"{address} cannot be read ({reason}); see that this machine may read that store."
        )
    size = told if isinstance(told, int) else len(told)
    if size > limit:
        raise ImageError(f"{address} has {size:,} bytes, more than the limit of {limit:,}.")
    return bytes(told)

"""Laws of the photo reader: whatever comes in, an upright RGB picture comes out, or ImageError."""

from __future__ import annotations

import hashlib
import os
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from tgqformer.catalog import images
from tgqformer.catalog.images import decode_image, image_key, read_image_bytes
from tgqformer.errors import ImageError


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A picture whose four corners differ, so that any turn shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 220, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 220)
    pixels[height // 2 :, width // 2 :] = (240, 240, 30)
    return Image.fromarray(pixels)


def noise(width: int = 120, height: int = 90) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def difference(one: Image.Image, other: Image.Image) -> float:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_plain_picture_survives_every_format(format: str) -> None:
    decoded = decode_image(encode(scene(), format))
    assert decoded.mode == "RGB"
    assert decoded.size == (64, 48)
    assert difference(decoded, scene()) < 4


def test_bytes_and_path_give_the_same(tmp_path: Path) -> None:
    data = encode(scene(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_image_bytes(path) == data
    assert image_key(path) == image_key(data) == hashlib.sha256(data).hexdigest()
    assert decode_image(path).tobytes() == decode_image(data).tobytes() == scene().tobytes()


@pytest.mark.parametrize("direction", range(1, 9))
def test_exif_rotation_is_undone(direction: int) -> None:
    turned_by = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[direction]
    stored = scene() if turned_by is None else scene().transpose(turned_by)
    exif = Image.Exif()
    exif[0x0112] = direction
    decoded = decode_image(encode(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    assert decoded.size == scene().size
    assert difference(decoded, scene()) < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_costs_no_photo() -> None:
    data = encode(scene(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert decode_image(data).size == (64, 48)


def test_cmyk_keeps_its_colours() -> None:
    data = encode(scene().convert("CMYK"), "JPEG", quality=95, subsampling=0)
    assert Image.open(BytesIO(data)).mode == "CMYK"
    assert difference(decode_image(data), scene()) < 6


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(1, 256)
    data = encode(Image.fromarray(ramp), "PNG")
    assert Image.open(BytesIO(data)).mode.startswith("I")
    grey = np.asarray(decode_image(data))[0, :, 0].astype(int)
    assert np.abs(grey - np.arange(256)).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_pictures_are_scaled(top: float) -> None:
    ramp = np.linspace(0, top, 256, dtype=np.float32).reshape(1, 256)
    grey = np.asarray(decode_image(encode(Image.fromarray(ramp), "TIFF")))[0, :, 0].astype(int)
    assert np.abs(grey - np.arange(256)).max() <= 1


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(1, 70_000), (70_000, 1), (250, 280)])
def test_deep_pictures_are_scaled_alike_in_tiles_and_whole(
    monkeypatch: pytest.MonkeyPatch, kind: type, shape: tuple[int, int]
) -> None:
    """Every value of 16 bits, and some beyond, by the formula over the whole picture."""
    values = np.arange(70_000) - (4_000 if kind == np.int32 else 0)
    pixels = np.resize(values % 65_536 if kind == np.uint16 else values, shape).astype(kind)
    whole = pixels.astype(np.float64)
    if kind == np.float32:
        pixels.flat[:3] = (np.nan, np.inf, -np.inf)
        whole.flat[:3] = 0
    else:
        whole /= 257
    expected = np.clip(np.rint(whole), 0, 255).astype(np.uint8)
    for tile in (999, 1 << 20):
        monkeypatch.setattr(images, "_TILE", tile)
        decoded = np.asarray(decode_image(encode(Image.fromarray(pixels), "TIFF")))
        assert (decoded == expected[..., None]).all()


@pytest.mark.parametrize(("kind", "format"), [(np.uint16, "PNG"), (np.float32, "TIFF")])
def test_a_deep_picture_takes_little_more_memory_than_any(kind: type, format: str) -> None:
    data = encode(Image.fromarray(np.zeros((3_000, 2_000), kind)), format)
    tracemalloc.start()
    decode_image(data)
    peak = tracemalloc.get_traced_memory()[1]  # Pillow's own pixels, alike for all, are not in it
    tracemalloc.stop()
    assert peak < 4 * 3_000 * 2_000


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    decoded = decode_image(encode(Image.new(mode, (8, 6)), "PNG"))
    assert (decoded.mode, decoded.size) == ("RGB", (8, 6))


def test_transparency_lies_on_white() -> None:
    glass = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert decode_image(encode(glass, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encode(half, "PNG")).getpixel((0, 0)) == pytest.approx(
        (127, 127, 127), abs=1
    )
    assert decode_image(encode(glass, "WEBP", lossless=True)).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_palette_and_colour_key() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    for transparency in (0, b"\x00\xff"):
        decoded = decode_image(encode(palette, "PNG", transparency=transparency))
        assert decoded.getpixel((0, 0)) == (255, 255, 255)
        assert decoded.getpixel((1, 0)) == (200, 100, 50)
    keyed = encode(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert decode_image(keyed).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((4, 4)) == pytest.approx((200, 0, 0), abs=8)


def test_size_hint_never_goes_below_the_hint() -> None:
    data = encode(noise(1000, 700), "JPEG")
    for hint in (1, 50, 87, 88, 224, 351, 699, 700, 5000):
        decoded = decode_image(data, size_hint=hint)
        assert min(decoded.size) >= min(hint, 700)
    assert decode_image(data, size_hint=80).size == (125, 88)
    png = encode(noise(), "PNG")
    assert decode_image(png, size_hint=8).size == (120, 90)


def test_size_hint_shows_the_same_picture() -> None:
    data = encode(scene(640, 480), "JPEG", quality=95)
    small = decode_image(data, size_hint=48)
    assert difference(small.resize((64, 48), Image.Resampling.BOX), scene()) < 4


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ],
)
def test_a_cut_file_is_an_error_or_whole(format: str, options: dict[str, object]) -> None:
    data = encode(noise(), format, **options)
    whole = decode_image(data)
    refused = 0
    for kept in range(1, len(data), max(1, len(data) // 97)):
        try:
            assert difference(decode_image(data[:kept]), whole) == 0
        except ImageError:
            refused += 1
    assert refused > 80


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of one grey level: kilobytes that stand for gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png_of_size(30_000, 30_000)
    assert len(bomb) < 1_000_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were read"))
    with pytest.raises(ImageError, match=r"too large .* at most 64,000,000 pixels"):
        decode_image(bomb)
    with pytest.raises(ImageError, match=r"10000 x 8000 pixels, more than the limit of 64,000,000"):
        decode_image(png_of_size(10_000, 8_000))


def test_the_limit_is_an_argument_and_exact() -> None:
    data = encode(scene(20, 10), "PNG")
    assert decode_image(data, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageError, match=r"20 x 10 pixels, more than the limit of 199"):
        decode_image(data, max_pixels=199)


def test_nothing_of_pillow_is_changed() -> None:
    limit, lenient = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    decode_image(encode(scene(), "JPEG"), max_pixels=10**9, size_hint=10)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def test_what_is_no_photo_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("this is no picture\n")
    os.mkfifo(tmp_path / "pipe.jpg")
    cases = {
        "empty.jpg": r"empty\.jpg is empty \(0 bytes\); upload the photo again or remove it\.",
        "text.jpg": r"text\.jpg is no picture in a known format \(it begins with b'this is no p'",
        "absent.jpg": r"absent\.jpg does not exist; put the file there",
        "pipe.jpg": r"pipe\.jpg is no regular file",
        ".": r"is no regular file",
    }
    for name, message in cases.items():
        with pytest.raises(ImageError, match=message):
            decode_image(tmp_path / name)
    with pytest.raises(ImageError, match=r"a photo of 0 bytes is empty"):
        decode_image(b"")


def test_formats_that_start_other_programs_are_refused() -> None:
    with pytest.raises(ImageError, match="no picture in a known format"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n")


def test_a_heavy_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bytes(101))
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match="has 101 bytes, more than the limit of 100"):
        read_image_bytes(path)

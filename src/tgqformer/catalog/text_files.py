"""Files as people save them: what they are, how they are packed, and in which encoding.

A name may lie, so a file's first bytes tell what it is. Packed text (gzip, zstd) is unpacked. Text
with a byte order mark is decoded by it. Other text is UTF-8, or, where its bytes past ASCII make no
UTF-8, Windows-1252, which is told. What is no text is refused in a sentence that says what it is.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tgqformer.catalog.quarantine import REPAIRED, Quarantine, shown
from tgqformer.errors import CatalogError
from tgqformer.progress import track_bytes

_HEAD = 64 * 1024
_CHUNK = 4 * 1024 * 1024

_BOMS = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_AGAIN = "fetch it again, or export it as CSV"
_UNPACK = "unpack it and name the file that it holds"
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "give its name the suffix .parquet"),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", "save its sheet as CSV UTF-8"),
    (b"%PDF", "a PDF document", _AGAIN),
    (b"{\\rtf", "a rich text document", "save it as plain text"),
    (b"SQLite format 3\0", "an SQLite database", "export its table as CSV"),
    (b"BZh", "packed by bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "packed by xz", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\xff\xd8\xff", "a JPEG picture", "name the table"),
    (b"\x89PNG", "a PNG picture", "name the table"),
    (b"GIF8", "a GIF picture", "name the table"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write its table as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "write the table as Parquet"),
    (b"\x80\x04\x95", "a pickle of Python, which is never loaded", "write the table as Parquet"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself (`git lfs pull`)"),
)
_MARKUP = (
    (
        re.compile(rb"\s*(<!doctype\s+html|<html|<head|<body|<table)", re.IGNORECASE),
        "an HTML page, as a site answers where it wants a login or has an error",
        _AGAIN,
    ),
    (re.compile(rb"\s*<(\?xml|rss|feed|!doctype|[a-zA-Z][^<>]*>\s*[\r\n<])"), "an XML file",
     "export the table as CSV, or use an importer that reads XML"),
)  # fmt: skip

_HIGH = re.compile(rb"[\x80-\xff]+")
_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of text, as its bytes show it.

    Attributes:
        path: the file, which may be packed.
        encoding: of Python's codecs. "utf-8-sig" may still hold broken bytes: see `broken`.
        broken: some bytes are none of the encoding; they come as lone surrogates, which `mended`
            turns into U+FFFD.
        quotes: it holds a double quote.
    """

    path: Path
    encoding: str
    broken: bool = False
    quotes: bool = True

    def lines(self) -> Generator[str, None, None]:
        """Yield the lines with their ends, which are LF, CR LF or CR.

        Raises:
            CatalogError: the file cannot be read or unpacked.
        """
        errors = "surrogateescape" if self.encoding.startswith("utf-8") else "replace"
        with (
            open_bytes(self.path) as (file, _),
            io.TextIOWrapper(file, self.encoding, errors, newline="") as text,
        ):
            yield from text


def mended(text: str) -> tuple[str, bool]:
    """Return text with U+FFFD for each byte that could not be decoded, and whether any was."""
    if text.isascii():
        return text, False
    fit = _ESCAPED.sub("\ufffd", text)
    return fit, fit != text


def report_bytes(name: str, row: int, quarantine: Quarantine, field: str = "row") -> None:
    """Report a row in which bytes that are no UTF-8 became U+FFFD."""
    reason = "some bytes are no UTF-8 and became U+FFFD; save the file as UTF-8"
    quarantine.add(name, row, None, field, "not UTF-8", reason, REPAIRED)


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file; unpacked where its first bytes say that it is packed by gzip or zstd.

    Yields:
        The file as it is to be read, and as it lies on disk.

    Raises:
        CatalogError: the file cannot be opened, read or unpacked.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head.startswith(b"\x1f\x8b"):
                yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)), raw
            elif head == b"\x28\xb5\x2f\xfd":
                import pyarrow as pa

                packed = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
                yield cast(BinaryIO, io.BufferedReader(packed)), raw
            else:
                yield raw, raw
    except (OSError, EOFError, zlib.error) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else None
        told = told or "it is packed, and cut short or damaged"
        raise CatalogError(f"{path} cannot be read ({told}); fetch it anew.") from error


def read_head(path: Path, size: int = _HEAD) -> bytes:
    """Return the first bytes of a file, unpacked.

    Raises:
        CatalogError: the file cannot be read or unpacked.
    """
    with open_bytes(path) as (file, _):
        return file.read(size)


def what_it_is(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return (what a file is, remedy) where its first bytes say that it is no plain text."""
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    for magic, kind, remedy in _MAGIC:
        if head.startswith(magic):
            return kind, remedy
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    text = head.removeprefix(codecs.BOM_UTF8)
    for pattern, kind, remedy in _MARKUP:
        if pattern.match(text):
            return kind, remedy
    if b"\0" in head and _wide(head) is None and not _decodes(_utf8(), head):
        return "no text but binary data", "export the table as CSV, JSONL or Parquet"
    return None


def refuse_no_text(path: Path, head: bytes) -> None:
    """Raise CatalogError where the first bytes of a file say that it is no plain text."""
    kind = what_it_is(path, head)
    if kind is not None:
        raise CatalogError(f"{path} is {kind[0]}; {kind[1]}.")


def _archive(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        names = []
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook", "save its sheet as CSV UTF-8 (File > Save as)"
    if "mimetype" in names and "content.xml" in names:
        return "an OpenDocument spreadsheet", "save its sheet as CSV"
    held = f" (with {shown(names[0])})" if names else ""
    return f"a zip archive{held}", _UNPACK


def _wide(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 that a file's first bytes are in, with a mark or without one."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    part = head[: len(head) // 2 * 2]
    if len(part) < 4:
        return None
    # Of western text in UTF-16, every other byte is zero.
    if part[1::2].count(0) * 4 > len(part) and not part[::2].count(0):
        return "utf-16-le"
    if part[::2].count(0) * 4 > len(part) and not part[1::2].count(0):
        return "utf-16-be"
    return None


def probe(path: Path, name: str, quarantine: Quarantine) -> TextFile:
    """Look through a file of text once; what had to be assumed of its encoding is reported.

    Args:
        path: the file, which may be packed by gzip or zstd.
        name: the table, for the quarantine.
        quarantine: is told where the file is no UTF-8.

    Raises:
        CatalogError: the file cannot be read, is empty, or is no text.
    """
    head = read_head(path)
    if not head:
        raise CatalogError(f"{path} is empty (0 bytes); its first line names the columns.")
    refuse_no_text(path, head)
    if (wide := _wide(head)) is not None:
        return TextFile(path, wide)
    sound, quotes, high, multibyte, sample = _scan(path)
    if sound:
        if twice := _encoded_twice(sample):
            reason = (
                f"{path.name} holds {shown(sample.decode().strip())}, which seems to be "
                f"{shown(twice.strip())} in UTF-8 that a program took for Windows-1252; export it "
                "anew, as it is read as it stands"
            )
            quarantine.add(name, 0, None, "file", "encoded twice", reason, REPAIRED)
        return TextFile(path, "utf-8-sig", quotes=quotes)
    if head.startswith(codecs.BOM_UTF8) or high <= 10 * multibyte:
        return TextFile(path, "utf-8-sig", broken=True, quotes=quotes)
    encoding = "cp1252"
    try:
        read = sample.decode(encoding)
    except UnicodeDecodeError:
        encoding, read = "latin-1", sample.decode("latin-1")
    known = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[encoding]
    quarantine.add(
        name,
        0,
        None,
        "file",
        "not UTF-8",
        f"{path.name} is no UTF-8 and was read as {known}, which makes {shown(read.strip())}; save "
        "it as UTF-8, above all where that is wrong",
        REPAIRED,
    )
    return TextFile(path, encoding, quotes=quotes)


def _encoded_twice(sample: bytes) -> str:
    """Return what a word in UTF-8 seems to have been before it was encoded again, "" if nothing.

    A word that would have held no sign beyond ASCII that one can see is itself.
    """
    try:
        before = sample.decode().encode("cp1252").decode()
    except UnicodeError:
        return ""
    seen = any(sign == "\xa0" or sign.isprintable() for sign in before.strip() if sign > "\x7f")
    return before if seen and before.encode() != sample else ""


def _scan(path: Path) -> tuple[bool, bool, int, int, bytes]:
    """Look through a file.

    Returns:
        Whether it is UTF-8, whether it holds quotes, how many runs of high bytes it has, how many
        of their parts could be UTF-8, and the word around the first.
    """
    decoder = _utf8()
    sound, quotes, high, multibyte, sample = True, False, 0, 0, b""
    with open_bytes(path) as (file, _):
        while chunk := file.read(_CHUNK):
            quotes = quotes or b'"' in chunk
            sound = sound and _decodes(decoder, chunk)
            if not chunk.isascii():
                high += len(_HIGH.findall(chunk))
                multibyte += len(_MULTIBYTE.findall(chunk))
                sample = sample or _around(chunk)
        sound = sound and _decodes(decoder, b"", final=True)
    return sound, quotes, high, multibyte, sample


def _utf8() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("strict")


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _around(chunk: bytes) -> bytes:
    """Return the word around the first byte past ASCII."""
    found = _HIGH.search(chunk)
    assert found is not None
    before = re.split(rb"[\s,;|\"]", chunk[max(0, found.start() - 20) : found.start()])[-1]
    after = re.split(rb"[\s,;|\"]", chunk[found.start() : found.end() + 20])[0]
    return before + after


def byte_lines(path: Path, *, progress: bool = False) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked; of one in UTF-16 or UTF-32 as UTF-8.

    Raises:
        CatalogError: the file cannot be read or unpacked.
    """
    if (wide := _wide(read_head(path))) is not None:
        for line in TextFile(path, wide).lines():
            yield line.encode("utf-8")
        return
    with open_bytes(path) as (file, raw):
        yield from track_bytes(file, raw, path, show=progress)

"""Tables of delimited text (CSV and its kin), read as people and programs write them.

The delimiter is that of a line ``sep=;``, or the one of comma, tab, semicolon, bar and rarer ones
by which the header and the rows have most columns and agree. A row with another number of fields is
left out and named, as is the header where it stands again: files that were put together have it.

Quotes are those of RFC 4180, and a text within them may go over several lines. A quote that nothing
closes would swallow the rows behind it. It shows in two ways: the quote that seems to close it ends
no field, or the lines between are rows by themselves, with as many fields as the header names and
values of the columns' kinds. Such a quote is left out and told with its line and its reach,
and each line is read as the row that it is. A quote within a text that is not written twice, as in
``24" shelf`` or ``"Frame" small``, stays a character of the text; one behind a backslash, as
databases write it, comes without that.

A file without quotes, in UTF-8 and with equal rows, is read by Arrow; any other line by line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from tgqformer.catalog.quarantine import DROPPED, REPAIRED, Quarantine, shown
from tgqformer.catalog.text_files import TextFile, mended, open_bytes, probe, report_bytes
from tgqformer.errors import CatalogError

MAX_FIELD_CHARS = 100_000
"""A longer text is no product text but a broken row (an unclosed quote in a CSV file, a page pasted
into a cell), so the row is dropped, not cut: its other fields cannot be trusted either."""

Fields = list["str | None"]
"""Of a row; None where a field is empty and has no quotes."""

_DELIMITERS = {
    ",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar", "^": "a caret", "~": "a tilde",
    "\x01": "the sign U+0001",
}  # fmt: skip
_SEP_LINE = re.compile(r"\ufeff?\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
_JSON = re.compile(r"[\ufeff\s]*(\{|\[\s*($|\{))")
_SAMPLE_LINES = 200
_JUDGED_LINES = 30  # of those behind a quote
_CHUNK_ROWS = 100_000
_ARROW_BLOCK = 64 * 1024 * 1024  # a row must fit into one
_END = "\r\n"
_ENDS_QUOTED = re.compile(r'(?<!\\)" *$')
_BACKSLASH = re.compile(r'\\(["\\])|"(?=")')
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+\s*")


@dataclass(slots=True)
class DelimitedRows:
    """Of N rows the numbers, from 1, where those left out count; and the columns, name to N texts,
    null where a field is empty and has no quotes."""

    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    columns: dict[str, pl.Series]


def read_delimited(path: Path, name: str, quarantine: Quarantine) -> DelimitedRows:
    """Read a file of delimited text.

    Args:
        path: the file, which may be packed by gzip or zstd.
        name: the table, for the quarantine.
        quarantine: takes the rows that are left out, and what had to be repaired or assumed.

    Raises:
        CatalogError: the file cannot be read, is no delimited text, or names a column twice.
    """
    file = probe(path, name, quarantine)
    with closing(file.lines()) as lines:
        sample = [line.rstrip(_END) for line in islice(lines, _SAMPLE_LINES)]
    told = next((line for line in sample if line.strip("\ufeff \t")), "")
    if _JSON.match(told):
        raise CatalogError(f"{path} holds JSON; give its name the suffix .jsonl.")
    delimiter, skipped = _delimiter(sample, path)
    with closing(file.lines()) as lines:
        reader = _Reader(file, _Lines(lines, skipped), delimiter, name, quarantine)
        return reader.quick() or reader.exact()


def _delimiter(sample: Sequence[str], path: Path) -> tuple[str, int]:
    """Return the delimiter, and how many lines stand before the header."""
    skipped = next((i for i, line in enumerate(sample) if line.strip("\ufeff \t\v\f")), 0)
    if skipped < len(sample) and (found := _SEP_LINE.fullmatch(sample[skipped])):
        return found.group(1), skipped + 1
    best, choice = (0.0, 1), "\t" if ".tsv" in path.name.lower() else ","
    lines = [line for line in sample[skipped:] if line]
    for delimiter in dict.fromkeys((choice, *_DELIMITERS)):
        split = _Split(delimiter)
        count = len(_trimmed(split(lines[0].lstrip("\ufeff"))[0])) if lines else 1
        if count < 2:
            continue
        agree = [len(_trimmed(split(line)[0], count)) == count for line in lines[1:]]
        share = sum(agree) / len(agree) if agree else 1.0
        if (round(share, 1), count) > best:
            best, choice = (round(share, 1), count), delimiter
    return choice, skipped


class _Split:
    """Cuts a row into fields at one delimiter."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        mark = re.escape(delimiter)
        self._field = re.compile(rf' *(")([^"]*(?:""[^"]*)*)" *({mark}|\Z)|([^{mark}]*)({mark}|\Z)')
        self._escaped = re.compile(
            rf' *(")((?:[^"\\]|\\.|"")*)" *({mark}|\Z)|([^{mark}]*)({mark}|\Z)', re.DOTALL
        )

    def __call__(self, text: str) -> tuple[Fields, bool]:
        """Return the fields, and whether all of them that begin with a quote are closed by one.

        Those that are not come as they are, up to the next delimiter.
        """
        if '"' not in text:
            return [part or None for part in text.split(self.delimiter)], True
        return self._fields(self._field.findall(text), lambda quoted: quoted.replace('""', '"'))

    def _fields(
        self, found: list[tuple[str, str, str, str, str]], meant: Callable[[str], str]
    ) -> tuple[Fields, bool]:
        if len(found) > 1 and not (found[-2][2] or found[-2][4]):
            found.pop()  # the empty match behind a last field
        clean = not any(part.lstrip(" ")[:1] == '"' for _, _, _, part, _ in found)
        fields = [meant(quoted) if mark else plain or None for mark, quoted, _, plain, _ in found]
        return fields, clean

    def lenient(self, text: str) -> tuple[Fields, bool]:
        """Return the fields of a text in which quotes within a value are not written twice.

        A quote closes where a delimiter or the end follows it; where all those within are behind a
        backslash, that is how they are written. Also whether all are closed.
        """
        if '\\"' in text:
            fields, clean = self._fields(
                self._escaped.findall(text), lambda quoted: _BACKSLASH.sub(r"\g<1>", quoted)
            )
            if clean:
                return fields, True
        pieces, clean = text.split(self.delimiter), True
        ends = [i for i, piece in enumerate(pieces) if _ENDS_QUOTED.search(piece)]
        fields = []
        i = at = 0
        while i < len(pieces):
            piece = pieces[i].strip(" ")
            while at < len(ends) and (ends[at] < i or (ends[at] == i and piece == '"')):
                at += 1
            if not piece.startswith('"'):
                fields.append(pieces[i] or None)
            elif at < len(ends):
                whole = self.delimiter.join(pieces[i : ends[at] + 1]).strip(" ")
                fields.append(whole[1:-1].replace('""', '"'))
                i = ends[at]
            else:
                fields.append(pieces[i])
                clean = False
            i += 1
        return fields, clean

    def open_field(self, text: str) -> tuple[int, int]:
        """Return the number and the place of the first field whose quote is not closed."""
        for number, found in enumerate(self._field.finditer(text)):
            if not found.group(1) and found.group(4).lstrip(" ").startswith('"'):
                return number, found.start()
        raise AssertionError("every quote is closed")


class _Lines:
    """The lines of a file with their numbers, and a look ahead."""

    def __init__(self, lines: Iterator[str], skipped: int) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self.number = len(list(islice(lines, skipped)))  # of the line that was last taken

    def take(self) -> str | None:
        line = self._ahead.popleft() if self._ahead else next(self._lines, None)
        self.number += line is not None
        return line

    def ahead(self) -> Iterator[str]:
        """Yield the lines that follow, which stay to be taken."""
        yield from tuple(self._ahead)
        for line in self._lines:
            self._ahead.append(line)
            yield line


class _Reader:
    def __init__(
        self, file: TextFile, lines: _Lines, delimiter: str, name: str, quarantine: Quarantine
    ) -> None:
        self._file, self._name, self._quarantine = file, name, quarantine
        self._split = _Split(delimiter)
        self._lines = lines
        self.header = self._read_header()
        self._before = self._lines.number  # lines up to the header's end
        self._width = len(self.header)
        self._columns = self._column_traits()

    def _read_header(self) -> list[str]:
        text = (self._lines.take() or "").removeprefix("\ufeff").rstrip(_END)
        fields, clean = self._split(text)
        if not clean:  # a name that goes over two lines
            whole = text + "\n" + next(self._lines.ahead(), "").rstrip(_END)
            joined, clean = self._split(whole)
            if clean:
                self._lines.take()
                fields = joined
            else:
                fields = self._split.lenient(text)[0]
        names = [" ".join(mended(part or "")[0].split()) for part in _trimmed(fields)]
        if names == [""]:
            raise CatalogError(
                f"{self._file.path} holds no text; its first line names the columns."
            )
        names = [known or f"column {i}" for i, known in enumerate(names, start=1)]
        if len(set(names)) < len(names):
            told = ", ".join(names)
            raise CatalogError(f"{self._file.path} names a column twice ({told}); rename one.")
        return names

    def quick(self) -> DelimitedRows | None:
        """Read the file by Arrow, where it has no quotes and no row that would be left out."""
        if self._file.quotes or self._file.broken or self._file.encoding != "utf-8-sig":
            return None
        import pyarrow as pa
        from pyarrow import csv

        odd: list[int] = []

        def skip(row: object) -> str:
            odd.append(1)
            return "skip"

        read = csv.ReadOptions(
            block_size=_ARROW_BLOCK, skip_rows=self._before, column_names=self.header
        )
        parse = csv.ParseOptions(
            delimiter=self._split.delimiter,
            quote_char=False,
            double_quote=False,
            newlines_in_values=False,
            invalid_row_handler=skip,
        )
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(self.header, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        )
        try:
            with open_bytes(self._file.path) as (file, _):
                table = csv.read_csv(
                    file, read_options=read, parse_options=parse, convert_options=convert
                )
        except pa.ArrowInvalid:  # no row at all, or one that fits into no block
            return None
        if odd:
            return None
        columns = {n: pl.Series(n, pl.from_arrow(table.column(n)), pl.String) for n in self.header}
        if (columns[self.header[0]].str.strip_chars("\ufeff ") == self.header[0]).any():
            return None  # the header again, perhaps
        return DelimitedRows(np.arange(1, table.num_rows + 1, dtype=np.int64), columns)

    def exact(self) -> DelimitedRows:
        """Read the file line by line."""
        chunks: list[pl.DataFrame] = [pl.DataFrame(schema=dict.fromkeys(self.header, pl.String))]
        numbers: list[int] = []
        batch: list[Fields] = []

        def flush() -> None:
            columns = list(zip(*batch)) or [()] * self._width
            chunks.append(
                pl.DataFrame(
                    [pl.Series(n, part, pl.String) for n, part in zip(self.header, columns)]
                )
            )
            batch.clear()

        for number, fields in enumerate(self._records(), start=1):
            if fields is None:
                continue
            if self._file.broken:
                fields = self._mend(number, fields)
            numbers.append(number)
            batch.append(fields)
            if len(batch) == _CHUNK_ROWS:
                flush()
        flush()
        frame = pl.concat(chunks)
        return DelimitedRows(
            np.asarray(numbers, dtype=np.int64), {series.name: series for series in frame}
        )

    def _records(self) -> Iterator[Fields | None]:
        """Yield the fields of each row; None for one that is left out, which is reported."""
        number = 0
        while (raw := self._lines.take()) is not None:
            line = raw.rstrip(_END)
            if not line or (self._width > 1 and self._is_blank(line)):
                continue
            number += 1
            fields, clean = self._split(line)
            if not clean:
                yield self._quoted(number, raw)
                continue
            whole = self._of_width(number, _trimmed(fields, self._width), self._lines.number)
            if whole is not None and whole[0] and self._is_header(whole):
                self._header_again(number)
                whole = None
            yield whole

    def _is_header(self, fields: Fields) -> bool:
        first = (fields[0] or "").strip("\ufeff ")
        return self._width > 1 and [first, *fields[1:]] == self.header

    def _header_again(self, number: int) -> None:
        reason = (
            f"line {self._lines.number:,} is the header again, as in files that were put together, "
            "and no row; remove it"
        )
        self._quarantine.add(self._name, number, None, "row", "header again", reason)

    def _is_blank(self, line: str) -> bool:
        return self._split.delimiter not in line and not line.strip(" \t\x1a")  # DOS ends with it

    def _quoted(self, number: int, raw: str) -> Fields | None:
        """Read a row that begins with a line in which a quote opens that does not close there."""
        first, line = self._lines.number, raw.rstrip(_END)
        literal = _trimmed(self._split(line)[0], self._width)
        easy, closed = self._split.lenient(line)
        easy = _trimmed(easy, self._width)
        field, place = self._split.open_field(line)
        if closed and len(easy) == self._width:
            return easy
        if line.count('"', place) % 2 == 0:
            if len(literal) == self._width:
                return literal
            return self._of_width(number, easy if closed else literal, first)
        text, size, found = [raw], len(raw), False
        for following in self._lines.ahead():
            text.append(following)
            size += len(following)
            found = following.count('"') % 2 == 1
            if found or size > MAX_FIELD_CHARS:
                break
        if found and not self._swallows(text, literal, field):
            whole = "".join(text).rstrip(_END)
            fields, clean = self._split(whole)
            if not clean:
                fields, clean = self._split.lenient(whole)
            fields = _trimmed(fields, self._width)
            if clean:
                for _ in text[1:]:
                    self._lines.take()
                return self._of_width(number, fields, first)
        self._open_quote(number, literal, field, first, text, found)
        if len(literal) != self._width:
            return None
        literal[field] = (literal[field] or "").lstrip(" ")[1:] or None
        return literal

    def _swallows(self, text: Sequence[str], first: Fields, field: int) -> bool:
        """Return whether the lines that a quote takes in are rows by themselves.

        Args:
            text: the line in which it opens, and those up to the one with the next quote.
            first: the first line's fields as they stand.
            field: the number of the one that begins with the quote.
        """
        if len(text) == 2 and len(first) != self._width:
            return False
        traits = [  # where no row shows what a column holds, this one does
            known or _traits([part] if part and i != field else [])
            for i, (known, part) in enumerate(zip(self._columns, [*first, *[None] * self._width]))
        ]
        judged = [*text[1:-1][:_JUDGED_LINES], text[-1]]
        judged = [line.rstrip(_END) for line in judged if line.strip()]
        return 2 * sum(self._is_row(line, traits) for line in judged) >= len(judged)

    def _is_row(self, line: str, traits: Sequence[Traits]) -> bool:
        fields, clean = self._split(line)
        if not clean and len(fields) != self._width:
            fields = self._split.lenient(line)[0]
        return len(fields) == self._width and all(map(_fits, fields, traits))

    def _column_traits(self) -> list[Traits | None]:
        """Return what the values of each column are by the first rows, None where none shows it."""
        values: list[list[str]] = [[] for _ in self.header]
        inside = False  # a text that a quote opened
        for line in islice(self._lines.ahead(), _SAMPLE_LINES):
            if inside:
                inside = line.count('"') % 2 == 0
                continue
            fields, clean = self._split(line.rstrip(_END))
            inside = not clean
            if clean and len(fields) == self._width:
                for known, part in zip(values, fields):
                    if part:
                        known.append(part)
        return [_traits(known) if known else None for known in values]

    def _mend(self, number: int, fields: Fields) -> Fields:
        """Put U+FFFD in the place of bytes that are no UTF-8, and report them."""
        for i, part in enumerate(fields):
            text, broken = mended(part or "")
            if broken:
                fields[i] = text
                report_bytes(self._name, number, self._quarantine, self.header[i])
        return fields

    def _of_width(self, number: int, fields: Fields, line: int) -> Fields | None:
        """Return a row's fields; None, and a report, where the header names another number."""
        if len(fields) == self._width:
            return fields
        mark = _DELIMITERS.get(self._split.delimiter, repr(self._split.delimiter))
        reason = (
            f"the row, in line {line:,}, has {len(fields)} fields where the header names "
            f"{self._width}; put text that holds {mark} in double quotes"
        )
        self._quarantine.add(self._name, number, None, "row", "wrong number of fields", reason)
        return None

    def _open_quote(
        self, number: int, fields: Fields, field: int, line: int, text: Sequence[str], found: bool
    ) -> None:
        """Report a quote that opens in a line and that no quote of the text behind it closes."""
        behind = len(text) - 1
        if found:
            reach = f"reaches to the next quote, in line {line + behind:,}"
        elif sum(map(len, text)) > MAX_FIELD_CHARS:
            reach = (
                f"reaches over more than {MAX_FIELD_CHARS:,} characters, past line "
                f"{line + behind:,}"
            )
        else:
            reach = f"reaches to the end of the file, line {line + behind:,}"
        kept = len(fields) == self._width
        start, _ = mended((fields[field] or "").lstrip(" ")[1:])
        becomes = "the row is read without it" if kept else "the row is left out"
        if behind:
            becomes += f", and what it takes in ({behind:,} more) is read line by line"
        column = self.header[field] if field < self._width else "row"
        reason = (
            f"the quote that opens in line {line:,}, before {shown(start, 30)}, is not closed and "
            f"{reach}; {becomes}; close it, or write a quote within a text twice"
        )
        action = REPAIRED if kept else DROPPED
        self._quarantine.add(self._name, number, None, column, "open quote", reason, action)


Traits = tuple["Callable[[str], object]", ...]

_TRAITS: Traits = (
    lambda value: value == value.strip(),  # prose has a blank behind a comma
    _NUMBER.fullmatch,
    lambda value: len(value.split()) < 2,
    lambda value: any(map(str.isdigit, value)),
)


def _traits(values: Sequence[str]) -> Traits:
    """Return what nine of ten values of a column are; of none, that no blank is at either end."""
    if not values:
        return _TRAITS[:1]
    least = 0.9 * len(values)
    return tuple(trait for trait in _TRAITS if sum(map(bool, map(trait, values))) >= least)


def _fits(value: str | None, traits: Traits) -> bool:
    return not value or all(trait(value.replace('"', "")) for trait in traits)


def _trimmed(fields: Fields, width: int = 1) -> Fields:
    """Return the fields without the empty ones at the end that go past a width."""
    while len(fields) > width and not fields[-1]:
        fields = fields[:-1]
    return fields

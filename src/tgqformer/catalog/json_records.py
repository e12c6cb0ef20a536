"""Tables in JSON, in the forms in which programs write them.

The usual one is JSONL, an object a line. A file that is one value is read as well: a list of
objects; objects that go over lines; an object that holds one such list, wherever in it, ``{"count":
2, "products": [...]}``; objects by their ids, ``{"A1": {...}, "A2": {...}}``; and pandas' columns,
which come as lists, by numbers, or beside their names. What could be read in two ways is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.text_files import byte_lines, probe, read_head, refuse_no_text, report_bytes
from tgqformer.catalog.values import parse_value
from tgqformer.errors import CatalogError

MAX_JSON_BYTES = 1_000_000_000
"""Of a file that is one JSON list, which is read whole."""

_IDS = ("item_id", "id", "user", "query_id")
_COLUMNS = {*_IDS, "item", "target_id", "title", "name", "price", "brand", "category", "sku"}
_NESTED = 4  # so deep in an object a list of rows is looked for
_FAULTS = (ValueError, SyntaxError, RecursionError, MemoryError)


def json_lines(
    path: Path,
    name: str,
    quarantine: Quarantine,
    *,
    parse: Callable[[str], Any] = json.loads,
    progress: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) for each line of a JSONL file, which may be packed by gzip or zstd.

    A file of another form is read as the module says: then the numbers are those of the objects.

    Args:
        path: the file.
        name: the table, for the quarantine.
        quarantine: takes the lines that cannot be parsed.
        parse: raises ValueError, SyntaxError or RecursionError where it cannot.
        progress: show a bar on stderr.

    Raises:
        CatalogError: the file cannot be read, none of it is JSON, or it holds several tables.
    """
    encoding, good, bad = "utf-8", 0, 0
    first: tuple[int, str] | None = None
    for number, line in enumerate(byte_lines(path, progress=progress), start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError:
            if encoding == "utf-8":
                found = probe(path, name, quarantine)
                encoding = encoding if found.broken else found.encoding
            text = line.decode(encoding, "replace")
            if encoding == "utf-8":
                report_bytes(name, number, quarantine)
        if first is None:
            first = number, text
            whole = None
            if parse is json.loads:
                whole = _json_whole(path, text, encoding, name, quarantine)
            if whole is not None:
                yield from enumerate(whole, start=1)
                return
        try:
            values = _parsed(text, parse)
        except _FAULTS:
            bad += 1
            quarantine.add(
                name,
                number,
                None,
                "row",
                "not JSON",
                f"the line {shown(text.strip())} is no JSON; write one object a line",
            )
            continue
        good += 1
        for value in values:
            yield number, value
    if first is not None and not good:
        refuse_no_text(path, read_head(path))
        raise CatalogError(
            f"{path} holds no JSON in any of its {bad:,} lines (the first is "
            f"{shown(first[1].strip())}); write one object a line, or give delimited text the "
            "suffix .csv."
        )


def _parsed(text: str, parse: Callable[[str], Any]) -> list[Any]:
    """Return what a line holds: one value, or several that stand in it or in its list."""
    try:
        value = parse(text)
    except _FAULTS:
        bare = text.strip().lstrip("\x1e")  # the mark of RFC 7464
        try:
            value = parse(bare.removesuffix(","))  # as in a list without its brackets
        except _FAULTS:
            if parse is not json.loads:
                raise
            value = parse_value(bare) if bare[:2] in ("{'", "[{") else None
            if value is None:
                return _in_turn(bare)
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return value
    return [value]


def _in_turn(text: str) -> list[Any]:
    """Return the values that stand in a text one after the other.

    Raises:
        ValueError: anything else stands in it.
    """
    decoder, values, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        values.append(value)
    return values


def _json_whole(
    path: Path, first: str, encoding: str, name: str, quarantine: Quarantine
) -> Iterator[Any] | None:
    """Return the objects of a file that is no JSONL, None of one that is.

    Args:
        first: its first line that is not blank.
    """
    start = first.strip()[:1]
    if start not in ("[", "{"):
        return None
    if start == "{":
        with suppress(ValueError, RecursionError):
            value = json.loads(first.strip().rstrip(","))
            alone = not any(line.strip() for line in islice(byte_lines(path), 1, 9))
            return iter(_rows_within(path, value)) if alone else None
        if first.strip().endswith("}"):  # a broken line of JSONL
            return None
    lines, size = [], 0
    for line in byte_lines(path):
        lines.append(line)
        size += len(line)
        if size > MAX_JSON_BYTES:
            if start == "{":
                return None
            raise CatalogError(
                f"{path} is one JSON list of over {MAX_JSON_BYTES:,} bytes; write one object a "
                "line."
            )
    text = b"".join(lines).decode(encoding, "replace").lstrip("\ufeff")
    if start == "[":
        values, rest = _list_values(text, name, quarantine)
        return None if rest else iter(values)
    try:
        values = _in_turn(text)
    except (ValueError, RecursionError):
        return None
    return iter(_rows_within(path, values[0]) if len(values) == 1 else values)


def _list_values(text: str, name: str, quarantine: Quarantine) -> tuple[list[Any], bool]:
    """Return the members of a list, and whether more than blanks stand behind it."""
    decoder, values = json.JSONDecoder(), list[Any]()
    blank = re.compile(r"\s*,?\s*")
    at = text.index("[") + 1
    while True:
        found = blank.match(text, at)
        assert found is not None
        at = found.end()
        if text[at : at + 1] == "]":
            return values, bool(text[at + 1 :].strip())
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            if not values or not isinstance(values[0], Mapping):
                return [], True
            line = text.count("\n", 0, at) + 1
            quarantine.add(
                name,
                len(values) + 1,
                None,
                "row",
                "not JSON",
                f"the list breaks off in line {line:,}, with its object {len(values) + 1:,}, and "
                "nothing behind that is read; write it anew",
            )
            return values, False
        values.append(value)


# --- one object that holds a table ----------------------------------------------------------------


def _rows_within(path: Path, value: Any) -> Sequence[Any]:
    """Return the rows of a file that is one object: those in it, or it alone.

    Raises:
        CatalogError: it holds several tables, or columns of several lengths.
    """
    if not isinstance(value, Mapping) or not value:
        return [value]
    if any(name in value and not isinstance(value[name], (list, Mapping)) for name in _IDS):
        return [value]
    names, data = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(data, list):  # pandas' orient="split"
        return [dict(zip(map(str, names), row)) if isinstance(row, list) else row for row in data]
    told = {key: part for key, part in value.items() if key != "schema" or data is None}
    found = dict(_lists_of_rows(told, "", _NESTED))
    if len(found) > 1:
        several = " and ".join(f"{shown(name)} ({len(rows):,})" for name, rows in found.items())
        raise CatalogError(
            f"{path} is one JSON object with rows in {several}; write the list that is meant "
            "alone, or one object a line."
        )
    if found:
        (rows,) = found.values()
        inner = [row.get("node") for row in rows]  # GraphQL's edges
        return inner if all(isinstance(row, Mapping) for row in inner) else rows
    parts = list(value.values())
    if all(isinstance(part, list) for part in parts):
        if len({len(part) for part in parts}) > 1:
            sizes = ", ".join(f"{name} {len(part):,}" for name, part in value.items())
            raise CatalogError(
                f"{path} is one JSON object of columns that are not equally long ({sizes}); write "
                "one object a line."
            )
        return [dict(zip(value, row)) for row in zip(*parts)]
    if len(parts) == 1 and isinstance(parts[0], Mapping):
        return _rows_within(path, parts[0]) if _holds_objects(parts[0]) else [value]
    if not all(isinstance(part, Mapping) for part in parts):
        return [value]
    index = list(parts[0])
    alike = all(list(part) == index for part in parts)
    if alike and (_COLUMNS & value.keys() or index == [str(n) for n in range(len(index))]):
        return [{name: part[row] for name, part in value.items()} for row in index]  # pandas
    return [
        part if any(name in part for name in _IDS) else {"item_id": key, **part}
        for key, part in value.items()
    ]


def _holds_objects(value: Mapping[str, Any]) -> bool:
    return bool(value) and all(isinstance(part, (Mapping, list)) for part in value.values())


def _lists_of_rows(
    value: Mapping[str, Any], before: str, depth: int
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of objects in an object, each by its path, not those within other lists."""
    for key, part in value.items():
        if isinstance(part, Mapping) and depth > 1:
            yield from _lists_of_rows(part, f"{before}{key}.", depth - 1)
        elif isinstance(part, list) and part and all(isinstance(row, Mapping) for row in part):
            yield f"{before}{key}", part

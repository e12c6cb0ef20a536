"""Myntra fashion ("Fashion Product Images", Kaggle): 44,000 products, a photo each.

The layout::

    styles.csv     id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,
                   productDisplayName
    images/15970.jpg
    styles/15970.json     (in the large edition: brand and price)

Some rows of styles.csv have commas in the product's name and no quotes around it; as the name is
the last column, what is over belongs to it.

There are no pairs; `pair_by` makes some (see parts.Groups).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.parts import (
    Groups,
    Split,
    SplitOptions,
    finish,
    photos_by_stem,
    plain,
)
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.catalog.tables import rows_table
from tgqformer.catalog.text_files import byte_lines
from tgqformer.errors import CatalogError, ConfigError

_CATEGORY = ("masterCategory", "subCategory", "articleType")
_ATTRIBUTES = {
    "gender": "gender",
    "baseColour": "colour",
    "season": "season",
    "year": "year",
    "usage": "usage",
}


def import_myntra(
    source: Path,
    out: Path,
    *,
    pair_by: Sequence[str] = (),
    hidden: Sequence[str] = (),
    max_group: int = 200,
    limit: int | None = None,
    split: Split = "cold",
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import a folder in the Myntra layout.

    Args:
        source: the folder that holds `styles.csv` and `images`.
        out: the catalog's folder, which is written.
        pair_by: columns of styles.csv; products that agree in all of them become pairs. None for
            no pairs.
        hidden: columns that no model is shown; they are kept as labels.
        max_group: products are not paired where more than so many agree.
        limit: read only so many rows.
        split, val, test, seed: for the pairs; see parts.SplitOptions.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: styles.csv is missing or has other columns.
        ConfigError: pair_by or hidden names no column.
    """
    table = source / "styles.csv"
    if not table.is_file():
        raise CatalogError(f"{source} holds no styles.csv; name the folder of the unpacked data.")
    quarantine = Quarantine()
    photos = photos_by_stem(source / "images")
    groups = Groups(pair_by, max_group)
    labels: list[dict[str, str]] = []

    def rows() -> Iterator[tuple[int, Any]]:
        for number, fields in _records(table, quarantine, progress):
            if limit is not None and number > limit:
                return
            item_id = fields["id"]
            for column in (*pair_by, *hidden):
                if column not in fields or column == "id":
                    raise ConfigError(
                        f"{shown(column)} is no column to pair or hide by; use one of "
                        f"{', '.join(name for name in fields if name != 'id')}."
                    )
            groups.add(item_id, [_known(fields[column]) for column in pair_by])
            labels.append({"item_id": item_id, **{name: fields[name] for name in hidden}})
            told = {name: value for name, value in fields.items() if name not in hidden}
            row = {
                "item_id": item_id,
                "title": plain(told.get("productDisplayName")),
                "category": [told[name] for name in _CATEGORY if told.get(name)],
                "attributes": {
                    name: told[column]
                    for column, name in _ATTRIBUTES.items()
                    if _known(told.get(column))
                },
                **_style(source / "styles" / f"{item_id}.json"),
            }
            if item_id in photos:
                row["images"] = f"images/{photos[item_id].name}"
            else:
                reason = f"there is no file images/{item_id}.jpg; fetch it, or go without"
                quarantine.add("items", number, item_id, "images", "image missing", reason, CLEARED)
            yield number, row

    tables = {"items": rows_table(rows(), "items", quarantine)}
    if hidden:
        tables["labels"] = rows_table(enumerate(labels, start=1), "labels", quarantine)
    if pair_by:
        tables["pairs"] = groups.table(quarantine)
    return finish(
        tables,
        out,
        quarantine,
        root=source.absolute(),
        split=SplitOptions(split if pair_by else "none", val, test, seed),
        strict=strict,
        progress=progress,
    )


def _records(
    path: Path, quarantine: Quarantine, progress: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    lines = byte_lines(path, progress=progress)
    header = _text(next(lines, b"")).removeprefix("\ufeff").split(",")
    if "id" not in header or header[-1] != "productDisplayName":
        raise CatalogError(
            f"{path} begins with the columns {', '.join(header)}; a Myntra table begins with id "
            "and ends with productDisplayName (`tgqformer import table` reads any other)."
        )
    for number, line in enumerate(lines, start=1):
        text = _text(line)
        if not text:
            continue
        fields = text.split(",", len(header) - 1)
        if len(fields) < len(header):
            reason = (
                f"the row has {len(fields)} fields where the header names {len(header)}; complete "
                "it"
            )
            quarantine.add("items", number, fields[0], "row", "wrong number of fields", reason)
            continue
        name = fields[-1].rstrip(",")
        if len(name) > 1 and name[0] == name[-1] == '"':
            fields[-1] = name[1:-1].replace('""', '"')
        yield number, dict(zip(header, fields))


def _known(value: str | None) -> str:
    return "" if value in (None, "NA") else str(value)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _style(path: Path) -> dict[str, Any]:
    """Return brand and price from a product's own file, nothing where there is none."""
    try:
        data = json.loads(path.read_bytes())["data"]
        return {"brand": plain(data.get("brandName")), "price": data.get("price")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

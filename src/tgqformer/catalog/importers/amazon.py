"""What the Amazon importers share: from a metadata file, one product a line, to a catalog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.parts import Links, Split, finish, photos_by_stem, read_entry
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import Table, json_lines, rows_table
from tgqformer.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Product:
    """One line of a metadata file.

    Attributes:
        row: the item's fields, unchecked.
        urls: of its photos, the main one first, each in the best resolution.
        links: for each relation the products that it leads to.
        fault: (field, rule, reason) where the product is to be left out.
    """

    row: dict[str, Any]
    urls: list[str]
    links: Sequence[Sequence[str]]
    fault: tuple[str, str, str] | None = None


def import_products(
    source: Path,
    out: Path,
    read: Callable[[dict[str, Any]], Product],
    *,
    parse: Callable[[str], Any] = json.loads,
    images: Path | None,
    paired: bool,
    limit: int | None,
    split: Split,
    val: float,
    test: float,
    seed: int,
    strict: bool,
    progress: bool,
) -> Catalog:
    """Import a metadata file whose lines `parse` and `read` turn into products.

    Photos named ``<item id>.jpg`` in the folder `images` are taken; the URLs of the others stay in
    the labels (column `image_urls`), where `tgqformer download-images` finds them. Of a product
    that comes twice the first line counts. With `paired` only products that some pair names stay.

    Args:
        images, paired, limit: as for the importers.
        split, val, test, seed, strict, progress: see parts.finish.

    Raises:
        CatalogError: the file cannot be read.
    """
    quarantine = Quarantine()
    photos = photos_by_stem(images)
    links = Links()
    urls: dict[str, list[str]] = {}

    def with_photo(entry: dict[str, Any]) -> Product:
        product = read(entry)
        if (asin := product.row["item_id"]) in photos:
            product.row["images"] = [photos[asin]]
        return product

    def rows() -> Iterator[tuple[int, Any]]:
        for number, entry in _entries(source, parse, quarantine, progress):
            if limit is not None and number > limit:
                return
            if not isinstance(entry, dict):
                yield number, entry
                continue
            product = read_entry(with_photo, entry, number, quarantine)
            if product is None:
                continue
            asin = product.row["item_id"]
            if product.fault is not None:
                known = asin if isinstance(asin, str) else None
                quarantine.add("items", number, known, *product.fault)
                continue
            if isinstance(asin, str) and asin not in urls:
                urls[asin] = product.urls
                for targets in product.links:
                    links.add(asin, targets)
            yield number, product.row

    items = rows_table(rows(), "items", quarantine)
    pairs = links.table(urls, quarantine)
    if paired:
        items = _paired(items, pairs)
    left = set(items.columns.get("item_id", ()))
    labels = ({"item_id": asin, "image_urls": urls[asin]} for asin in urls if asin in left)
    tables = {"items": items, "pairs": pairs}
    tables["labels"] = rows_table(enumerate(labels, start=1), "labels", quarantine)
    return finish(
        tables,
        out,
        quarantine,
        sources=[source],
        split=split,
        val=val,
        test=test,
        seed=seed,
        strict=strict,
        progress=progress,
    )


def _entries(
    source: Path, parse: Callable[[str], Any], quarantine: Quarantine, progress: bool
) -> Iterator[tuple[int, Any]]:
    """Yield the numbered rows of a file, which is Parquet, as on the hub, or has one a line.

    What it is its first bytes say: downloads come under any name.
    """
    if {".csv", ".tsv"} & {suffix.lower() for suffix in source.suffixes}:
        raise CatalogError(
            f"{source} is a table of delimited text; the metadata of the Amazon reviews are JSON "
            "lines or the hub's Parquet, and `tgqformer import table` reads tables."
        )
    try:
        with source.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if not parquet:
            yield from json_lines(source, "items", quarantine, parse=parse, progress=progress)
            return
        with source.open("rb") as file:
            rows = 0
            for batch in pq.ParquetFile(file).iter_batches(1024):
                for entry in batch.to_pylist():
                    rows += 1
                    yield rows, entry
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{source} cannot be read ({error}); fetch it anew.") from error


def _paired(items: Table, pairs: Table) -> Table:
    """Keep the rows that a pair names, and those without an id, which are for the quarantine."""
    named = {*pairs.columns["query_id"], *pairs.columns["target_id"]}
    keep = [not isinstance(i, str) or i in named for i in items.columns.get("item_id", ())]
    columns: dict[str, pl.Series | list[Any]] = {
        name: list(compress(values, keep)) for name, values in items.columns.items()
    }
    return Table(items.name, items.rows[keep] if keep else items.rows, columns)

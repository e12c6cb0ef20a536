"""What the Amazon importers share: from a metadata file, one product a line, to a catalog."""

from __future__ import annotations

import ast
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
from tgqformer.catalog.importers.parts import (
    Links,
    Split,
    SplitOptions,
    amount,
    finish,
    photos_by_stem,
    plain,
    read_entry,
    strings,
)
from tgqformer.catalog.json_records import json_lines
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import Table, rows_table
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
    split: SplitOptions,
    strict: bool,
    progress: bool,
) -> Catalog:
    """Import a metadata file whose lines `parse` and `read` turn into products.

    Photos named ``<item id>.jpg`` in the folder `images` are taken; the URLs of the others stay in
    the labels (column `image_urls`), where `tgqformer download-images` finds them. Of a product
    that comes twice the first line counts. With `paired` only products that some pair names stay.

    Args:
        images, paired, limit: as for the importers.
        split, strict, progress: see parts.finish.

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


# -- amazon2018 ------------------------------------------------------------------------------------
# Amazon Reviews 2018 (Ni, Li and McAuley, EMNLP 2019), and its 2014 forerunner.
#
# Product metadata, one object a line: ``meta_Clothing_Shoes_and_Jewelry.json.gz``. The 2014 files
# are Python literals, not JSON, with other names for the same things; both are read. Co-purchases
# are `also_buy` (2014: `also_bought`, `bought_together`) and `also_view` (2014: `also_viewed`).

RELATIONS = ("also_buy", "also_view")
"""The links that may become pairs, by their names of 2018."""

_OLD_NAMES = {"also_buy": ("also_bought", "bought_together"), "also_view": ("also_viewed",)}
_MAX_CATEGORY_CHARS = 80
_PAGE_SCRIPT = (
    "title",
    "page script in title",
    "the title holds a piece of a page's script, as in some thousand rows of this data set; "
    "nothing can be done",
)


def import_amazon2018(
    source: Path,
    out: Path,
    *,
    images: Path | None = None,
    paired: bool = False,
    relations: Sequence[str] = RELATIONS,
    max_targets: int = 10,
    limit: int | None = None,
    split: Split = "random",
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import one category's metadata file.

    Photos are not downloaded: their URLs are kept in the labels (column `image_urls`), for
    `tgqformer download-images`, and photos named ``<asin>.jpg`` in the folder `images` are taken.
    Where two relations name one pair, its weight is 2.

    Args:
        source: ``meta_*.json.gz``, or the same unpacked.
        out: the catalog's folder, which is written.
        images: a folder with the photos.
        relations: which links become pairs, of RELATIONS.
        max_targets: of each relation of a product only the first so many count.
        paired: leave out the products that no pair names.
        limit: read only so many lines.
        split, val, test, seed: see parts.SplitOptions.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: the file cannot be read.
    """

    def read(entry: dict[str, Any]) -> Product:
        row = _row_2018(entry)
        found = entry.get("imageURLHighRes") or entry.get("imageURL") or entry.get("imUrl")
        return Product(
            row,
            strings(found),
            [_linked(entry, relation)[:max_targets] for relation in relations],
            _PAGE_SCRIPT if "getTime" in row["title"] else None,
        )

    return import_products(
        source,
        out,
        read,
        parse=_parse,
        images=images,
        paired=paired,
        limit=limit,
        split=SplitOptions(split, val, test, seed),
        strict=strict,
        progress=progress,
    )


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)  # constants only: nothing is run


def _row_2018(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "item_id": entry.get("asin"),
        "title": plain(entry.get("title")),
        "brand": plain(entry.get("brand")).removeprefix("by ").removeprefix("Visit Amazon's "),
        "category": _category(entry),
        "attributes": {"color": plain(entry.get("color"))} if entry.get("color") else {},
        "price": amount(entry.get("price")),
    }


def _category(entry: dict[str, Any]) -> list[str]:
    """The path; features that slipped into it (long texts, HTML) end it."""
    told = entry.get("category") or entry.get("categories") or []
    if told and isinstance(told[0], list):  # 2014: several paths, the first is the main one
        told = told[0]
    path: list[str] = []
    for part in strings(told):
        name = plain(part)
        if "<" in part or len(name) > _MAX_CATEGORY_CHARS:
            break
        path.append(name)
    return path


def _linked(entry: dict[str, Any], relation: str) -> list[str]:
    related = entry.get("related")
    if isinstance(related, dict):
        names = [name for old in _OLD_NAMES[relation] for name in strings(related.get(old))]
        return list(dict.fromkeys(names))
    return list(dict.fromkeys(strings(entry.get(relation))))


# -- amazon2023 ------------------------------------------------------------------------------------
# Amazon Reviews 2023 (Hou et al., arXiv 2403.03952).
#
# Product metadata, one object a line: ``meta_Clothing_Shoes_and_Jewelry.jsonl.gz``. A product is a
# `parent_asin`, the family of its sizes and colours. `bought_together` is empty in most categories;
# pairs then come from the reviews, which name user, parent_asin and timestamp: see sessions.py.

_MAX_ATTRIBUTES = 20
# Ranks, dates and parcels say nothing of the product.
_SKIPPED_DETAILS = {
    "best sellers rank",
    "customer reviews",
    "date first available",
    "is discontinued by manufacturer",
    "item model number",
    "package dimensions",
    "asin",
    "upc",
}


def import_amazon2023(
    source: Path,
    out: Path,
    *,
    images: Path | None = None,
    paired: bool = False,
    max_targets: int = 20,
    limit: int | None = None,
    split: Split = "random",
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import one category's metadata file.

    Photos are not downloaded: their URLs are kept in the labels (column `image_urls`, the main
    photo first), for `tgqformer download-images`; photos named ``<parent_asin>.jpg`` in the folder
    `images` are taken.

    Args:
        source: ``meta_*.jsonl.gz``, or the same unpacked, or a Parquet file of the hub's
            ``raw_meta_*``; the contents tell which, whatever the name.
        out: the catalog's folder, which is written.
        images: a folder with the photos.
        max_targets: of a product's `bought_together` only the first so many count.
        paired: leave out the products that no pair names.
        limit: read only so many lines.
        split, val, test, seed: see parts.SplitOptions.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: the file cannot be read.
    """

    def read(entry: dict[str, Any]) -> Product:
        linked = strings(entry.get("bought_together"))[:max_targets]
        return Product(_row_2023(entry), _image_urls(entry.get("images")), [linked])

    return import_products(
        source,
        out,
        read,
        images=images,
        paired=paired,
        limit=limit,
        split=SplitOptions(split, val, test, seed),
        strict=strict,
        progress=progress,
    )


def _row_2023(entry: dict[str, Any]) -> dict[str, Any]:
    details = _details(entry.get("details"))
    brand = plain(details.pop("Brand", None)) or plain(entry.get("store"))
    category = [plain(part) for part in strings(entry.get("categories"))]
    return {
        "item_id": entry.get("parent_asin"),
        "title": plain(entry.get("title")),
        "brand": brand,
        "category": category or plain(entry.get("main_category")),
        "attributes": details,
        "price": amount(entry.get("price")),
    }


def _details(told: Any) -> dict[str, str]:
    if isinstance(told, str):  # so in the Hugging Face edition
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    if not isinstance(told, dict):
        return {}
    kept = {
        name: plain(value)
        for name, value in told.items()
        if isinstance(value, str) and name.lower() not in _SKIPPED_DETAILS
    }
    return dict(list(kept.items())[:_MAX_ATTRIBUTES])


def _image_urls(told: Any) -> list[str]:
    """Read a list of photos, or the lists by resolution of the Hugging Face edition."""
    if isinstance(told, dict):
        names = list(told)
        columns = [list(told[name] or []) for name in names]
        told = [dict(zip(names, values)) for values in zip(*columns)]
    if not isinstance(told, list):
        return []
    photos = [photo for photo in told if isinstance(photo, dict)]
    photos.sort(key=lambda photo: photo.get("variant") != "MAIN")
    best = (photo.get("hi_res") or photo.get("large") or photo.get("thumb") for photo in photos)
    return [url for url in best if isinstance(url, str)]

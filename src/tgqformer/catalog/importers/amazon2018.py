"""Amazon Reviews 2018 (Ni, Li and McAuley, EMNLP 2019), and its 2014 forerunner.

Product metadata, one object a line: ``meta_Clothing_Shoes_and_Jewelry.json.gz``. The 2014 files are
Python literals, not JSON, with other names for the same things; both are read. Co-purchases are
`also_buy` (2014: `also_bought`, `bought_together`) and `also_view` (2014: `also_viewed`).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.amazon import Product, import_products
from tgqformer.catalog.importers.parts import Split, amount, plain, strings

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
        split, val, test, seed, strict, progress: see parts.finish.

    Raises:
        CatalogError: the file cannot be read.
    """

    def read(entry: dict[str, Any]) -> Product:
        row = _row(entry)
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
        split=split,
        val=val,
        test=test,
        seed=seed,
        strict=strict,
        progress=progress,
    )


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)  # constants only: nothing is run


def _row(entry: dict[str, Any]) -> dict[str, Any]:
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

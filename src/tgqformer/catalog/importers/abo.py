"""Amazon Berkeley Objects (Collins et al., CVPR 2022): 147,702 listings with photos, no pairs.

The layout as its archives unpack::

    listings/metadata/listings_0.json.gz ... listings_f.json.gz
    images/metadata/images.csv.gz        image_id,height,width,path
    images/small/8f/8f40cf2b.jpg         at most 256 pixels; or images/original/

Texts are lists of ``{"language_tag": "en_US", "value": "..."}``. One product may be listed in
several marketplaces under one item_id; the listing in the wanted language stands for it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.parts import finish, plain
from tgqformer.catalog.progress import byte_lines
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.tables import json_lines, rows_table
from tgqformer.errors import CatalogError

_ATTRIBUTES = ("color", "material", "style", "pattern", "finish_type", "fabric_type", "item_shape")


def import_abo(
    source: Path,
    out: Path,
    *,
    language: str = "en",
    size: str = "small",
    max_images: int = 4,
    limit: int | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Catalog:
    """Import the listings and photos of Amazon Berkeley Objects.

    Args:
        source: the folder that holds `listings` and `images`.
        out: the catalog's folder, which is written.
        language: the tag that texts should begin with; others are used where it is missing.
        size: "small" or "original", the folder of the photos.
        max_images: of a listing the main photo and so many more at most, this in all.
        limit: stop after so many listings.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: a file is missing or cannot be read.
    """
    folder = source / "listings" / "metadata"
    files = sorted((*folder.glob("listings_*.json.gz"), *folder.glob("listings_*.json")))
    if not files:
        raise CatalogError(
            f"{folder} holds no listings_*.json.gz; unpack abo-listings.tar in {source}."
        )
    quarantine = Quarantine()
    paths = _image_paths(source)
    chosen: dict[str, tuple[bool, int, dict[str, Any]]] = {}
    rest: list[tuple[int, Any]] = []
    for number, entry in _listings(files, quarantine, limit, progress):
        item_id = entry.get("item_id") if isinstance(entry, dict) else None
        if not isinstance(item_id, str):
            rest.append((number, {"item_id": None} if isinstance(entry, dict) else entry))
            continue
        native = _has_language(entry.get("item_name"), language)
        # The first listing in the wanted language stands, or else the first of all.
        if item_id not in chosen or (native and not chosen[item_id][0]):
            chosen[item_id] = (native, number, entry)

    def rows() -> Iterator[tuple[int, Any]]:
        for item_id, (_, number, entry) in chosen.items():
            images = []
            for image_id in _image_ids(entry)[:max_images]:
                if image_id in paths:
                    images.append(f"images/{size}/{paths[image_id]}")
                else:
                    quarantine.add(
                        "items",
                        number,
                        item_id,
                        "images",
                        "image missing",
                        f"images.csv knows no image {shown(image_id)}; fetch the metadata anew",
                        "value dropped",
                    )
            yield number, {**_row(entry, language), "images": images}
        yield from rest

    tables = {"items": rows_table(rows(), "items", quarantine)}
    labels = (
        {"item_id": item_id, "domain": entry.get("domain_name"), "country": entry.get("country")}
        for item_id, (_, _, entry) in chosen.items()
    )
    tables["labels"] = rows_table(enumerate(labels, start=1), "labels", quarantine)
    return finish(tables, out, quarantine, root=source.absolute(), strict=strict, progress=progress)


def _listings(
    files: list[Path], quarantine: Quarantine, limit: int | None, progress: bool
) -> Iterator[tuple[int, Any]]:
    number = 0
    for path in files:
        for _, entry in json_lines(path, "items", quarantine, progress=progress):
            number += 1
            if limit is not None and number > limit:
                return
            yield number, entry


def _image_paths(source: Path) -> dict[str, str]:
    folder = source / "images" / "metadata"
    for name in ("images.csv.gz", "images.csv"):
        if (folder / name).is_file():
            lines = (line.decode("utf-8", "replace") for line in byte_lines(folder / name))
            try:
                return {row["image_id"]: row["path"] for row in csv.DictReader(lines)}
            except (KeyError, csv.Error) as error:
                raise CatalogError(
                    f"{folder / name} is no table with image_id and path ({error}); fetch it anew."
                ) from error
    raise CatalogError(f"{folder} holds no images.csv.gz; unpack abo-images-small.tar in {source}.")


def _row(entry: dict[str, Any], language: str) -> dict[str, Any]:
    attributes = {name: _text(entry.get(name), language) for name in _ATTRIBUTES}
    return {
        "item_id": entry["item_id"],
        "title": _text(entry.get("item_name"), language),
        "brand": _text(entry.get("brand"), language),
        "category": _category(entry, language),
        "attributes": {name.replace("_", " "): text for name, text in attributes.items() if text},
    }


def _category(entry: dict[str, Any], language: str) -> list[str]:
    """The browse path, without its root, or else the product type."""
    for node in entry.get("node") or []:
        name = node.get("node_name") if isinstance(node, dict) else None
        if isinstance(name, str) and name.strip("/"):
            path = [plain(part) for part in name.strip("/").split("/")]
            return path[1:] if path[0] == "Categories" else path
    kind = _text(entry.get("product_type"), language)
    return [kind.replace("_", " ").capitalize()] if kind else []


def _text(values: Any, language: str) -> str:
    """Return the first text in the wanted language, or else the first of all."""
    told = [v for v in values or [] if isinstance(v, dict) and isinstance(v.get("value"), str)]
    native = [v for v in told if str(v.get("language_tag", language)).startswith(language)]
    return plain((native or told)[0]["value"]) if told else ""


def _has_language(values: Any, language: str) -> bool:
    return any(
        isinstance(v, dict) and str(v.get("language_tag", "")).startswith(language)
        for v in values or []
    )


def _image_ids(entry: dict[str, Any]) -> list[str]:
    told = [entry.get("main_image_id"), *(entry.get("other_image_id") or [])]
    return list(dict.fromkeys(name for name in told if isinstance(name, str) and name))

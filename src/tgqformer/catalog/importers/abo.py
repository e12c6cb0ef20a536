"""Amazon Berkeley Objects (Collins et al., CVPR 2022): 147,702 listings with photos.

The layout as its archives unpack::

    listings/metadata/listings_0.json.gz ... listings_f.json.gz
    images/metadata/images.csv.gz        image_id,height,width,path
    images/small/8f/8f40cf2b.jpg         at most 256 pixels; or images/original/

Texts are lists of ``{"language_tag": "en_US", "value": "..."}``. One product may be listed in
several marketplaces under one item_id; the listing in the wanted language stands for it.
There are no pairs; `pair_by` makes some (see parts.Groups).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.parts import Groups, Split, SplitOptions, finish, plain, read_entry
from tgqformer.catalog.json_records import json_lines
from tgqformer.catalog.quarantine import CLEARED, Quarantine, shown
from tgqformer.catalog.tables import rows_table
from tgqformer.catalog.text_files import byte_lines
from tgqformer.errors import CatalogError, ConfigError

_ATTRIBUTES = ("color", "material", "style", "pattern", "finish_type", "fabric_type", "item_shape")
_HIDEABLE = ("item_name", "brand", "node", "product_type", *_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class _Listing:
    """One line: whether it is in the wanted language, and what becomes of it."""

    native: bool
    row: dict[str, Any]
    image_ids: list[str]
    paired_by: list[str]
    labels: dict[str, Any]


def import_abo(
    source: Path,
    out: Path,
    *,
    language: str = "en",
    size: str = "small",
    max_images: int = 4,
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
    """Import the listings and photos of Amazon Berkeley Objects.

    Args:
        source: the folder that holds `listings` and `images`.
        out: the catalog's folder, which is written.
        language: the tag that texts should begin with; others are used where it is missing.
        size: "small" or "original", the folder of the photos.
        max_images: of a listing the main photo and so many more at most, this in all.
        pair_by: fields of a listing, as "brand" and "model_name"; products that agree in all of
            them become pairs. None for no pairs.
        hidden: fields that no model is shown, "item_name" (the title), "brand", "node" (the
            category) and the attributes; they are kept as labels.
        max_group: products are not paired where more than so many agree.
        limit: stop after so many listings.
        split, val, test, seed: for the pairs; see parts.SplitOptions.
        strict, progress: see parts.finish.

    Raises:
        CatalogError: a file is missing or cannot be read.
        ConfigError: hidden names what cannot be hidden.
    """
    folder = source / "listings" / "metadata"
    files = sorted((*folder.glob("listings_*.json.gz"), *folder.glob("listings_*.json")))
    if not files:
        raise CatalogError(
            f"{folder} holds no listings_*.json.gz; unpack abo-listings.tar in {source}."
        )
    for name in hidden:
        if name not in _HIDEABLE:
            raise ConfigError(f"{shown(name)} cannot be hidden; use one of {', '.join(_HIDEABLE)}.")
    quarantine = Quarantine()
    paths = _image_paths(source)
    chosen: dict[str, tuple[int, _Listing]] = {}
    rest: list[tuple[int, Any]] = []

    def read(entry: dict[str, Any]) -> _Listing:
        told = {name: value for name, value in entry.items() if name not in hidden}
        return _Listing(
            _has_language(entry.get("item_name"), language),
            _row(told, language),
            _image_ids(entry)[:max_images],
            [_text(entry.get(name), language) for name in pair_by],
            {
                "item_id": entry["item_id"],
                "domain": entry.get("domain_name"),
                "country": entry.get("country"),
                **{name: _hidden_text(entry, name, language) for name in hidden},
            },
        )

    for number, entry in _listings(files, quarantine, limit, progress):
        item_id = entry.get("item_id") if isinstance(entry, dict) else None
        if not isinstance(item_id, str):
            rest.append((number, {"item_id": None} if isinstance(entry, dict) else entry))
            continue
        listing = read_entry(read, entry, number, quarantine)
        if listing is None:
            continue
        # The first listing in the wanted language stands, or else the first of all.
        if item_id not in chosen or (listing.native and not chosen[item_id][1].native):
            chosen[item_id] = (number, listing)

    groups = Groups(pair_by, max_group)

    def rows() -> Iterator[tuple[int, Any]]:
        for item_id, (number, listing) in chosen.items():
            images = []
            for image_id in listing.image_ids:
                if image_id in paths:
                    images.append(f"images/{size}/{paths[image_id]}")
                else:
                    reason = f"images.csv knows no image {shown(image_id)}; fetch the metadata anew"
                    quarantine.add(
                        "items", number, item_id, "images", "image missing", reason, CLEARED
                    )
            groups.add(item_id, listing.paired_by)
            yield number, {**listing.row, "images": images}
        yield from rest

    tables = {"items": rows_table(rows(), "items", quarantine)}
    labels = (listing.labels for _, listing in chosen.values())
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


def _hidden_text(entry: dict[str, Any], name: str, language: str) -> str:
    if name == "node":
        return " > ".join(_category(entry, language))
    return _text(entry.get(name), language)


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

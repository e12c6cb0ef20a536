"""Writing a catalog's folder: tables atomically, photos by a second name for the same file."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tgqformer.catalog.images import decode_image, image_suffix
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.catalog.tables import TABLE_SUFFIXES, table_files, write_table
from tgqformer.catalog.text import replace_surrogates
from tgqformer.errors import ConfigError, ImageError, StorageError
from tgqformer.files import atomic_path, link_or_copy, write_bytes, write_text

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog


def save_catalog(catalog: Catalog, folder: Path, *, format: str = "parquet") -> None:
    """Write items, pairs, labels and photos to a folder, which becomes the catalog's root.

    Photos that lie in the folder stay where they are; others come to ``images/`` as hard links, or
    as copies where the file system has no such links. Photos given as bytes are stored in the
    table (Parquet) or as files (the other formats). Tables of the same name in another format are
    removed once the new ones stand. In memory the items are unchanged.

    Args:
        catalog: what to write.
        folder: made where it is not there.
        format: "parquet", "jsonl" or "csv".

    Raises:
        StorageError: the format is unknown or a file cannot be written.
    """
    suffix = f".{format}"
    if suffix not in TABLE_SUFFIXES:
        raise StorageError(
            f"{format!r} is no format of a catalog; use one of "
            f"{', '.join(known[1:] for known in TABLE_SUFFIXES)}."
        )
    photos = _PhotoWriter(folder, catalog.root, inline=format == "parquet")
    _write_items(catalog.items, photos.place, folder / f"items{suffix}")
    frames: dict[str, pl.DataFrame] = {}
    if catalog.pair_table.height:
        frames["pairs"] = pairs_frame(catalog)
    if catalog.labels is not None:
        labels = catalog.labels
        frames["labels"] = _flat(labels) if format == "csv" else labels
    for name, frame in frames.items():
        write_table(frame, folder / f"{name}{suffix}")
    for name in ("items", "pairs", "labels"):
        written = folder / f"{name}{suffix}" if name in ("items", *frames) else None
        for other in table_files(folder, name):
            if written is None or not other.samefile(written):
                other.unlink(missing_ok=True)
    catalog.root = folder.absolute()


def check_target(catalog: Catalog, folder: Path, mark: str) -> None:
    """Refuse a folder that a copy of the catalog would write over.

    Args:
        mark: the file by which copies of a kind are known; such a copy may be written again.

    Raises:
        ConfigError: the folder is the catalog's own, or holds a catalog without the mark.
    """
    place = folder.resolve()  # "no/../such" is there as soon as "no" has been made
    if catalog.root is not None and place == catalog.root.resolve():
        raise ConfigError(f"{folder} is the catalog itself; name another folder to write to.")
    held = bool(table_files(place, "items"))
    if held and not (place / mark).exists():
        raise ConfigError(f"{folder} holds a catalog already; name another folder to write to.")


def save_copy(
    catalog: Catalog, items: Sequence[Item], folder: Path, mark: str, told: str
) -> Catalog:
    """Write the catalog to another folder with changed items, pairs and labels as they are.

    Args:
        items: in the order of the catalog's, with the same ids.
        mark: see `check_target`; written first, so that a copy that was cut short has it.
        told: what the file of this name says of the copy.

    Raises:
        ConfigError: see `check_target`.
        StorageError: a file cannot be written.
    """
    check_target(catalog, folder, mark)
    write_text(folder / mark, told)
    copy = type(catalog)(items, catalog.pair_table, catalog.labels, root=catalog.root)
    save_catalog(copy, folder)
    return copy


class _PhotoWriter:
    """Decides what the table says of each photo, and brings photos from outside into the folder."""

    def __init__(self, folder: Path, origin: Path | None, *, inline: bool) -> None:
        self._root = folder.resolve()
        self._origin = None if origin is None else origin.resolve()
        self._inline = inline
        self._inside: dict[str, str | None] = {}
        self._placed: dict[Path, str] = {}

    def place(self, ref: ImageRef) -> str | bytes:
        """Return a path below the folder, or the bytes themselves where those go into the table."""
        if isinstance(ref, DrawnPhoto):
            drawn = BytesIO()
            decode_image(ref).save(drawn, "PNG")
            ref = drawn.getvalue()
        if isinstance(ref, bytes):
            if self._inline:
                return ref
            name = f"images/{hashlib.sha256(ref).hexdigest()}{image_suffix(ref)}"
            if not (self._root / name).exists():
                write_bytes(self._root / name, ref)
            return name
        if isinstance(ref, RemotePhoto):
            return ref.address
        # Text, not Path: it is ten times as fast, and there may be millions.
        told = str(ref)
        head, base = os.path.split(os.path.realpath(told) if os.path.islink(told) else told)
        if head not in self._inside:
            self._inside[head] = self._below_root(head)
        inside = self._inside[head]
        if inside is not None:
            return inside + base
        if ref not in self._placed:
            self._placed[ref] = self._bring(ref.resolve())
        return self._placed[ref]

    def _below_root(self, folder: str) -> str | None:
        """Return a folder as a prefix relative to the root, None where it lies outside."""
        real = Path(folder).resolve()
        if not real.is_relative_to(self._root):
            return None
        return "".join(f"{part}/" for part in real.relative_to(self._root).parts)

    def _bring(self, source: Path) -> str:
        if not source.is_file():
            raise ImageError(f"{source} does not exist; put the photo there or take it out.")
        name = f"images/{self._below_origin(source)}"
        target = self._root / name
        if target.exists() and not filecmp.cmp(source, target, shallow=False):
            mark = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
            name = f"images/{mark}-{source.name}"
        link_or_copy(source, self._root / name)
        return name

    def _below_origin(self, source: Path) -> str:
        """Keep the folders of the catalog that the photo comes from: no folder grows too large."""
        if self._origin is None or not source.is_relative_to(self._origin):
            return source.name
        return source.relative_to(self._origin).as_posix().removeprefix("images/")


def items_frame(items: Sequence[Item], place: Callable[[ImageRef], str | bytes]) -> pl.DataFrame:
    """Return items as a frame.

    Columns: item_id, title, brand, category (String), attributes (list of structs key and value),
    price (Float64), images (list of paths; of structs bytes and path where any are bytes).
    """
    photos = [[place(ref) for ref in item.images] for item in items]
    flat = [photo for row in photos for photo in row]
    paths = pl.Series([p if isinstance(p, str) else None for p in flat], dtype=pl.String)
    if any(isinstance(photo, bytes) for photo in flat):
        data = pl.Series([p if isinstance(p, bytes) else None for p in flat], dtype=pl.Binary)
        flat_images = pl.DataFrame({"bytes": data, "path": paths}).to_struct()
    else:
        flat_images = paths
    maps = [_sound(item.attributes) for item in items]
    entries = pl.DataFrame(
        {
            "key": pl.Series([key for entry in maps for key in entry], dtype=pl.String),
            "value": pl.Series([v for entry in maps for v in entry.values()], dtype=pl.String),
        }
    ).to_struct()
    texts = {
        name: pl.Series(
            name, [replace_surrogates(getattr(item, name)) for item in items], dtype=pl.String
        )
        for name in ("item_id", "title", "brand", "category")
    }
    return pl.DataFrame(
        {
            **texts,
            "attributes": _lists(entries, [len(entry) for entry in maps]),
            "price": pl.Series("price", [item.price for item in items], dtype=pl.Float64),
            "images": _lists(flat_images, [len(row) for row in photos]),
        }
    )


def _write_items(
    items: Sequence[Item], place: Callable[[ImageRef], str | bytes], path: Path
) -> None:
    frame = items_frame(items, place)
    if path.suffix == ".parquet":
        write_table(frame, path)
        return
    maps = [_sound(item.attributes) for item in items]
    if path.suffix == ".csv":
        told = [
            pl.Series("price", [_amount(item.price) for item in items], pl.String),
            pl.Series("attributes", [_json(entry) if entry else "" for entry in maps], pl.String),
            pl.Series(
                "images",
                [_json(row) if row else "" for row in frame["images"].to_list()],
                pl.String,
            ),
        ]
        write_table(frame.with_columns(told), path)
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row, entry in zip(frame.iter_rows(named=True), maps):
            file.write(_json({**row, "attributes": entry}) + "\n")


def _amount(price: float | None) -> str | None:
    """A price that reads as itself: 1.299 could be 1299, and 1.2990 could not."""
    if price is None:
        return None
    text = repr(float(price))
    return f"{text}0" if len(text.partition(".")[2]) == 3 and "e" not in text else text


def _lists(flat: pl.Series, lengths: Sequence[int]) -> pl.Series:
    """Cut a series into lists of the given lengths.

    Row by row, polars takes minutes a million; by way of Arrow, its versions before 2 read structs
    of text wrongly.
    """
    rows = np.arange(len(lengths), dtype=np.int64)
    grouped = (
        pl.DataFrame({"row": np.repeat(rows, np.asarray(lengths, dtype=np.int64)), "list": flat})
        .group_by("row", maintain_order=True)
        .agg("list")
    )
    joined = pl.DataFrame({"row": rows}).join(grouped, on="row", how="left", maintain_order="left")
    empty = pl.lit(pl.Series([[]], dtype=pl.List(flat.dtype)))
    return joined.select(pl.coalesce("list", empty)).to_series()


def _sound(attributes: Mapping[str, str]) -> dict[str, str]:
    return {replace_surrogates(key): replace_surrogates(value) for key, value in attributes.items()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def pairs_frame(catalog: Catalog) -> pl.DataFrame:
    """Return the pairs with the columns query_id, target_id, weight and split."""
    ids = pl.Series("item_id", [item.item_id for item in catalog.items], dtype=pl.String)
    table = catalog.pair_table
    return pl.DataFrame(
        {
            "query_id": ids.gather(table["query"]),
            "target_id": ids.gather(table["target"]),
            "weight": table["weight"],
            "split": table["split"],
        }
    )


def _flat(labels: pl.DataFrame) -> pl.DataFrame:
    """Turn lists and structs, which CSV has no place for, into JSON."""
    nested = [name for name, dtype in labels.schema.items() if dtype.is_nested()]
    return labels.with_columns(
        pl.Series(
            name,
            [None if value is None else _json(value) for value in labels[name].to_list()],
            dtype=pl.String,
        )
        for name in nested
    )

"""Hugging Face data sets: folders of `save_to_disk`, and Parquet as the hub holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.frames import dataset_splits, file_features, is_image, read_source
from tgqformer.catalog.importers.offers import Variants
from tgqformer.catalog.importers.parts import finish
from tgqformer.catalog.importers.table import TABLE_FIELDS, item_tables, unread_of
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import Table
from tgqformer.catalog.values import Decimal
from tgqformer.errors import CatalogError


def import_huggingface(
    source: Path,
    out: Path,
    *,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] = (),
    labels: Sequence[str] = (),
    part: str | None = None,
    variants: Variants | None = None,
    decimal: Decimal | None = None,
    strict: bool = False,
) -> Catalog:
    """Import a Hugging Face data set, by a map of its columns.

    A ClassLabel becomes its name. A column with the feature Image is the photo where no other is
    named; its bytes are stored as they are, undecoded.

    Args:
        source: a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, a Parquet
            file, or a folder of them, as the hub holds data sets.
        out: the catalog's folder, which is written.
        columns: field to column, ``{"item_id": "id", "title": "name"}``, as for `import table`; "#"
            is the row's number, for data sets without an id.
        attributes: columns that become attributes.
        labels: columns that are kept as labels and never shown to a model.
        part: the split of a DatasetDict, or of the hub's files, ``train``.
        variants: what becomes of rows of one `group`; as for `import table`.
        decimal: as for `import table`.
        strict: raise on the first rejection.

    Raises:
        CatalogError: the data set cannot be read, is a DatasetDict without `part`, or lacks a
            column that was named.
        ConfigError: a field that was named is none.
    """
    quarantine = Quarantine()
    folder, split = _part(source, part)
    raw, features = _read(folder, split, quarantine)
    mapped = dict(columns or {})
    photos = [name for name in raw.columns if is_image(features.get(name))]
    if photos and "images" not in mapped and not {"images", "image"} & set(raw.columns):
        mapped["images"] = photos[0]
    if "item_id" not in mapped and "item_id" not in raw.columns:
        raise CatalogError(
            f"{folder} has no column 'item_id' (found: {', '.join(raw.columns)}); name the one "
            "with the ids (--column item_id=COLUMN), or take the rows' numbers "
            "(--column item_id=#)."
        )
    tables = item_tables(
        raw,
        quarantine,
        columns=mapped,
        attributes=attributes,
        labels=labels,
        variants=variants,
        decimal=decimal,
    )
    root = (folder if folder.is_dir() else folder.parent).absolute()
    unread = unread_of(raw, TABLE_FIELDS, mapped, (*attributes, *labels))
    return finish(
        tables, out, quarantine, root=root, sources=[source], strict=strict, unread=unread
    )


def _part(source: Path, part: str | None) -> tuple[Path, str | None]:
    """Return the folder or file to read, and which of the hub's splits of it."""
    splits = dataset_splits(source)
    if not splits:
        if part is not None:
            raise CatalogError(f"{source} is no DatasetDict, so it has no part {part!r}.")
        return source, None
    if part is None and len(splits) > 1:
        raise CatalogError(
            f"{source} is a data set of the splits {', '.join(splits)}; name one, as in --set "
            f"part={splits[0]}."
        )
    if part is not None and part not in splits:
        raise CatalogError(f"{source} has no split {part!r}; use one of {', '.join(splits)}.")
    chosen = part or splits[0]
    return (source / chosen, None) if (source / chosen).is_dir() else (source, chosen)


def _read(
    source: Path, split: str | None, quarantine: Quarantine
) -> tuple[Table, Mapping[str, object]]:
    if not source.exists():
        raise CatalogError(f"{source} does not exist; name the data set's folder or Parquet file.")
    shards = source.is_dir() and (list(source.glob("*.arrow")) or list(source.glob("*.parquet")))
    if source.is_dir() and not shards:
        # A repository of the hub keeps them in data/.
        if (source / "data").is_dir():
            return _read(source / "data", split, quarantine)
        raise CatalogError(
            f"{source} holds no .arrow or .parquet file; name the folder that save_to_disk wrote, "
            "or a Parquet file."
        )
    return read_source(source, "items", quarantine, split), file_features(source)

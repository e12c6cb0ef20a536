"""The photos whose URLs stand in a catalog's labels, fetched and put into its items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.download import Downloads, download_images
from tgqformer.catalog.files import link_or_copy
from tgqformer.catalog.importers.table import ITEM_FIELDS
from tgqformer.catalog.items import Item
from tgqformer.catalog.quarantine import CLEARED, DROPPED
from tgqformer.catalog.tables import find_table, read_table
from tgqformer.catalog.values import links
from tgqformer.errors import CatalogError, ConfigError

FOLDER = "images/fetched"
"""Where fetched photos lie in a catalog's folder."""


def download_catalog_images(
    folder: Path,
    config: DownloadConfig | None = None,
    *,
    column: str = "image_urls",
    per_item: int = 1,
    paired: bool = False,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> tuple[Catalog, Downloads]:
    """Fetch the photos of an imported catalog and write its items table anew with them.

    An item whose photo cannot be fetched stays without it, and the catalog's quarantine tells why.
    Photos that an item has from elsewhere stay before the fetched ones.

    Args:
        folder: the catalog's folder, as `tgqformer import` writes it.
        config: the download's options.
        column: of the labels, with a list of URLs for each item, or a text of one or several, which
            values.split_links parts.
        per_item: of each item's URLs the first so many.
        paired: only for items that some pair names.
        limit: only for the first so many items, of the paired ones where `paired`.
        cache: where the photos are kept by URL, to be shared by catalogs; the catalog's own
            images/fetched where None.
        progress: show a bar on stderr.

    Raises:
        CatalogError: the catalog is not as an importer writes it, or has no such column.
        ConfigError: an option breaks its rule.
        StorageError: a photo or table cannot be written.
    """
    for name, value in (("per_item", per_item), ("limit", limit)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} ({value}) must be 1 or more.")
    catalog = _imported(folder)
    chosen = _chosen(catalog, paired, limit)
    urls = {i: told[:per_item] for i, told in zip(chosen, _urls(catalog, column, chosen))}
    place = folder / FOLDER
    every = (url for told in urls.values() for url in told)
    found = download_images(every, cache or place, config, progress=progress)
    if cache is not None:
        for url, path in found.paths.items():
            link_or_copy(path, place / path.parent.name / path.name)
            found.paths[url] = place / path.parent.name / path.name
    for position, told in urls.items():
        item = catalog.items[position]
        catalog.items[position] = _with_photos(item, told, found, place.resolve())
        for failure in (found.failures[url] for url in told if url in found.failures):
            catalog.quarantine.add(
                "items", position + 1, item.item_id, "images", "photo not fetched",
                f"{failure.url}: {failure.reason}", CLEARED,
            )  # fmt: skip
    catalog.save(folder)
    return catalog, found


def _imported(folder: Path) -> Catalog:
    """Load a catalog that may be written anew without a loss."""
    catalog = Catalog.load(folder)
    source = find_table(folder, "items")
    assert source is not None
    known = source.suffix == ".parquet" and source.is_file()
    columns = set(read_table(source, "items", catalog.quarantine).columns) if known else set()
    if not known or not columns <= set(ITEM_FIELDS):
        raise CatalogError(
            f"{source} is no items table as `tgqformer import` writes it, and would lose what is "
            "more in it; import it first (`tgqformer import table`)."
        )
    lost = sum(entry.action == DROPPED for entry in catalog.quarantine)
    if lost:
        raise CatalogError(
            f"{source} holds {lost:,} rows that break a rule and would be lost; see `tgqformer "
            f"validate {folder} --no-images` and mend them, or import the catalog anew."
        )
    return catalog


def _chosen(catalog: Catalog, paired: bool, limit: int | None) -> list[int]:
    positions = np.arange(len(catalog))
    if paired:
        table = catalog.pair_table
        positions = np.union1d(table["query"].to_numpy(), table["target"].to_numpy())
    return [int(position) for position in positions[:limit]]


def _urls(catalog: Catalog, column: str, positions: list[int]) -> Iterator[list[str]]:
    labels = catalog.labels
    if labels is None or column not in labels.columns:
        found = "none" if labels is None else ", ".join(labels.columns)
        raise CatalogError(
            f"The labels of {catalog.root} have no column {column!r} (found: {found}); name the "
            "one with the URLs, or import the catalog with it as a label."
        )
    values = labels[column]
    told = values.to_list()
    return (links(told[position]) for position in positions)


def _with_photos(item: Item, urls: list[str], found: Downloads, place: Path) -> Item:
    own = [ref for ref in item.images if not (isinstance(ref, Path) and ref.is_relative_to(place))]
    fetched = [found.paths[url].resolve() for url in urls if url in found.paths]
    return replace(item, images=(*own, *fetched))

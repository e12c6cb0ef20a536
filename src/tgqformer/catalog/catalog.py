"""A catalog: items, which of them are wanted together, and what is known but never shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.columns import as_text
from tgqformer.catalog.frames import no_items, read_source, table_of
from tgqformer.catalog.item_rules import check_items, id_fault
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.pair_rules import (
    PAIR_SCHEMA,
    SPLITS,
    Twins,
    check_pairs,
    id_column,
    pair_frame,
)
from tgqformer.catalog.photos import decodable_photos
from tgqformer.catalog.quarantine import DROPPED, Quarantine, shown
from tgqformer.catalog.tables import Table, UnreadColumn, find_table, unread_columns
from tgqformer.catalog.values import MISSING_TEXTS
from tgqformer.errors import CatalogError

Indices: TypeAlias = npt.NDArray[np.int64]
Weights: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = Any
"""A DataFrame, an Arrow table, a Hugging Face Dataset, or an iterable of mappings."""

GROUP = "item_group_id"
"""The label that variants of one product share, as Google's and Meta's feeds name it."""


class Catalog:
    """N items and M pairs in memory; photos stay on disk until they are asked for.

    On disk a catalog is a folder: ``items.parquet`` (or .jsonl, .csv, or a folder ``items/`` of
    Parquet shards), ``pairs.parquet`` and ``labels.parquet`` (both optional, same formats), and
    the photos, which the items name by paths relative to the folder.

    Attributes:
        items: the items, in the order that every vector, index and label row follows.
        index: the position of each item by its id.
        pair_table: M pairs as polars columns query, target (Int64 positions), weight (Float32) and
            split; `pairs` is the same as objects.
        labels: what is known of items but never shown to a model: column item_id and any others,
            row i for items[i]; None where nothing is.
        quarantine: what was left out on the way in.
        unread: the columns of items and pairs that nothing reads; none where it was built of parts.
        root: the folder it was read from or written to, None for one in memory.
    """

    def __init__(
        self,
        items: Iterable[Item],
        pairs: Iterable[Pair] | pl.DataFrame = (),
        labels: pl.DataFrame | None = None,
        *,
        quarantine: Quarantine | None = None,
        root: Path | None = None,
    ) -> None:
        """Build a catalog from parts that are sound; `load` and `from_rows` take any.

        Args:
            items: with well-formed ids of their own.
            pairs: pairs, or a frame with the columns of `pair_table`.
            labels: with a column item_id; rows are brought into the order of the items.
            quarantine: an empty one where None.
            root: the catalog's folder.

        Raises:
            CatalogError: an id is bad or not unique, or a pair breaks a rule.
        """
        self.items = list(items)
        self.quarantine = Quarantine() if quarantine is None else quarantine
        self.unread: list[UnreadColumn] = []
        self.root = root
        self.index = {item.item_id: position for position, item in enumerate(self.items)}
        if len(self.index) < len(self.items):
            raise CatalogError(_first_twice(self.items))
        for item in self.items:
            if (fault := id_fault(item.item_id)) is not None:
                raise CatalogError(f"An item cannot be in a catalog: {fault[1]}.")
        self.pair_table = (
            pairs if isinstance(pairs, pl.DataFrame) else pair_frame(pairs, self.index)
        )
        self.labels = None if labels is None else _align_labels(labels, self.index, self.quarantine)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        strict: bool = False,
        check_images: bool = False,
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Read a catalog from its folder; what breaks a rule goes to `quarantine`.

        Args:
            path: the folder.
            strict: raise on the first rejection instead.
            check_images: decode every photo too (slow; `tgqformer validate` does).
            workers: threads for that, the number of cores where None.
            progress: show a bar on stderr.

        Raises:
            CatalogError: there is no such folder, no items table, a required column is missing, a
                table cannot be read, or (strict) a row breaks a rule.
        """
        root = Path(path)
        if not root.is_dir():
            raise CatalogError(f"{root} is no folder; name the folder that holds items.parquet.")
        quarantine = Quarantine()
        source = find_table(root, "items")
        if source is None:
            raise CatalogError(no_items(root))
        tables = {"items": read_source(source, "items", quarantine)}
        for name in ("pairs", "labels"):
            if (source := find_table(root, name)) is not None:
                tables[name] = read_source(source, name, quarantine)
        return cls.from_tables(
            tables,
            root.absolute(),
            quarantine,
            strict=strict,
            check_images=check_images,
            workers=workers,
            progress=progress,
        )

    @classmethod
    def from_rows(
        cls,
        items: Rows,
        pairs: Rows = (),
        labels: Rows | None = None,
        *,
        root: str | Path | None = None,
        strict: bool = False,
        check_images: bool = False,
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Build a catalog from rows: data frames, Hugging Face data sets, or any iterables.

        Args:
            items: a DataFrame (pandas, polars), an Arrow table, a Dataset, or mappings, with
                item_id and, where known, title, brand, category, attributes, price and images
                (paths, addresses, bytes, ``{"bytes", "path"}`` or Pillow images).
            pairs: the same with query_id, target_id and, where known, weight and split.
            labels: the same with item_id and anything else.
            root: the folder that image paths are relative to and may not leave; without one they
                are taken as they are.
            strict, check_images, workers, progress: as for `load`.

        Raises:
            CatalogError: as for `load`.
        """
        quarantine = Quarantine()
        tables = {
            "items": table_of(items, "items", quarantine),
            "pairs": table_of(pairs, "pairs", quarantine),
        }
        if labels is not None:
            tables["labels"] = table_of(labels, "labels", quarantine)
        return cls.from_tables(
            tables,
            None if root is None else Path(root).absolute(),
            quarantine,
            strict=strict,
            check_images=check_images,
            workers=workers,
            progress=progress,
        )

    @classmethod
    def from_tables(
        cls,
        tables: Mapping[str, Table],
        root: Path | None,
        quarantine: Quarantine,
        *,
        strict: bool = False,
        check_images: bool = False,
        workers: int | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Build a catalog from tables as read, which is how importers do it.

        Args:
            tables: "items" and, if there are, "pairs" and "labels".
            root: the folder that image paths may not leave, None where they may lie anywhere.
            quarantine: what reading found already.
            strict, check_images, workers, progress: as for `load`.

        Raises:
            CatalogError: as for `load`.
        """
        items, rows = check_items(tables["items"], root, quarantine)
        if check_images:
            items = decodable_photos(items, rows, quarantine, workers=workers, progress=progress)
        index = {item.item_id: position for position, item in enumerate(items)}
        pairs = pl.DataFrame(schema=PAIR_SCHEMA)
        if "pairs" in tables:
            pairs = check_pairs(tables["pairs"], index, quarantine)
        labels = _labels(tables["labels"], index, quarantine) if "labels" in tables else None
        catalog = cls(items, pairs, labels, quarantine=quarantine, root=root)
        for name in ("items", "pairs"):
            if name in tables:
                catalog.unread += unread_columns(name, tables[name].columns)
        if strict:
            quarantine.raise_first(str(root) if root is not None else "The rows")
        return catalog

    def save(self, path: str | Path, *, format: str = "parquet") -> None:
        """Write the catalog to a folder and take it as `root`; see writing.save_catalog."""
        from tgqformer.catalog.writing import save_catalog

        save_catalog(self, Path(path), format=format)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Item:
        return self.items[position]

    def __repr__(self) -> str:
        return f"Catalog({len(self.items):,} items, {self.pair_table.height:,} pairs)"

    @cached_property
    def pairs(self) -> list[Pair]:
        """The pairs as objects; for millions of them `pair_table` is the light form."""
        ids = [item.item_id for item in self.items]
        return [
            Pair(ids[query], ids[target], weight, split)
            for query, target, weight, split in self.pair_table.iter_rows()
        ]

    def pair_indices(self, split: str) -> tuple[Indices, Indices, Weights]:
        """Return the pairs of a split as (query [M], target [M], weight [M]).

        Raises:
            CatalogError: the split is not "train", "val" or "test".
        """
        part = self.pair_table.filter(pl.col("split") == _known(split))
        return (
            part["query"].to_numpy().astype(np.int64),
            part["target"].to_numpy().astype(np.int64),
            part["weight"].to_numpy().astype(np.float32),
        )

    def pool_indices(self, split: str) -> Indices:
        """Return the positions [N'] of the items among which a split's queries search.

        All, unless the labels have a column `pool` with the splits of each item, ``"val,test"``;
        null there means every pool, "" none.

        Raises:
            CatalogError: the split is not "train", "val" or "test".
        """
        _known(split)
        if self.labels is None or "pool" not in self.labels.columns:
            return np.arange(len(self.items), dtype=np.int64)
        return np.flatnonzero(_in_pool(self.labels["pool"], split)).astype(np.int64)

    @cached_property
    def groups(self) -> Indices:
        """[N] a number for each item, equal for variants of one product; -1 for one without.

        They are told by the label `item_group_id`.
        """
        if self.labels is None or GROUP not in self.labels.columns:
            return np.full(len(self), -1, dtype=np.int64)
        return _group_codes(self.labels[GROUP])

    def with_pairs(self, pairs: Iterable[Pair] | pl.DataFrame) -> Catalog:
        """Return a catalog of the same items with other pairs."""
        return Catalog(self.items, pairs, self.labels, quarantine=self.quarantine, root=self.root)

    def require_items(self) -> None:
        """Raise CatalogError where the catalog is empty."""
        if not self.items:
            first = next((e for e in self.quarantine if e.action == DROPPED), None)
            why = "; add rows to its items table."
            if first is not None:
                why = f": {self.quarantine.summary()}; {first}"
            raise CatalogError(f"The catalog {self._name()} has no items{why}")

    def require_groups(self) -> None:
        """Raise CatalogError where no item has a group."""
        if not (self.groups >= 0).any():
            raise CatalogError(
                f"The catalog {self._name()} knows of no variants: its labels have no {GROUP!r}; "
                "import it with --variants group, or add that column."
            )

    def group_members(self, item_id: str) -> set[str]:
        """Return the ids of the variants of an item's product, itself among them; {} of a
        stranger."""
        row = self.index.get(item_id)
        if row is None or self.groups[row] < 0:
            return set() if row is None else {item_id}
        same = np.flatnonzero(self.groups == self.groups[row])
        return {self.items[place].item_id for place in same.tolist()}

    def require_pairs(self, split: str) -> None:
        """Raise CatalogError where the catalog has no pairs in a split."""
        self.require_items()
        if not len(self.pair_indices(split)[0]):
            counts = self.describe()["pairs"]
            found = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise CatalogError(
                f"The catalog {self._name()} has no pairs in split {split!r} (found: {found}); add "
                "a pairs table, or make one from session logs with `tgqformer pairs`."
            )

    def describe(self) -> dict[str, Any]:
        """Return counts of items, photos and missing fields; pairs, queries and pool by split.

        The values are integers, or maps to integers, ready for JSON.
        """
        items = self.items
        parts = {split: self.pair_table.filter(pl.col("split") == split) for split in SPLITS}
        return {
            "items": len(items),
            "images": sum(len(item.images) for item in items),
            "items without image": sum(not item.images for item in items),
            "items without title": sum(not item.title.strip() for item in items),
            "items without category": sum(not item.category.strip() for item in items),
            "items with price": sum(item.price is not None for item in items),
            "pairs": {split: part.height for split, part in parts.items()},
            "queries": {split: part["query"].n_unique() for split, part in parts.items()},
            "pool": {split: len(self.pool_indices(split)) for split in SPLITS},
            "quarantine": self.quarantine.counts(),
        }

    def summary(self) -> str:
        """Return the counts that matter in one line."""
        told = self.describe()
        pairs = ", ".join(f"{name} {count:,}" for name, count in told["pairs"].items())
        return (
            f"{told['items']:,} items ({told['items without image']:,} without image, "
            f"{told['items without title']:,} without title), {told['images']:,} images, "
            f"{self.pair_table.height:,} pairs ({pairs}); {self.quarantine.summary()}"
        )

    def _name(self) -> str:
        return "in memory" if self.root is None else str(self.root)


def _known(split: str) -> str:
    if split not in SPLITS:
        raise CatalogError(f"{shown(split)} is no split; use one of {', '.join(SPLITS)}.")
    return split


def _first_twice(items: Sequence[Item]) -> str:
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            return f"The id {shown(item.item_id)} stands twice; give each item an id of its own."
        seen.add(item.item_id)
    raise AssertionError("no id stands twice")


# -- labels ----------------------------------------------------------------------------------------
# What is known of items and never shown to a model, such as boxes, noise and pools.


def _labels(table: Table, index: Mapping[str, int], quarantine: Quarantine) -> pl.DataFrame | None:
    """Return a table of labels in the order of the items; None where it has no column."""
    if "item_id" in table.columns:
        ids = id_column(table, "item_id", quarantine)
        table = replace(table, columns={**table.columns, "item_id": ids})
    labels = table.frame(quarantine)
    if not labels.columns:
        return None
    rows = table.rows
    if "item_id" in labels.columns:
        # The item's own rejection tells enough; its labels need no second one.
        gone = {e.item_id for e in quarantine if e.table == "items" and e.action == DROPPED}
        lost = labels["item_id"].is_in(list(gone - index.keys()))
        labels, rows = labels.filter(~lost), rows[~lost.to_numpy()]
    return _align_labels(labels, index, quarantine, rows=rows.tolist())


def _align_labels(
    labels: pl.DataFrame,
    index: Mapping[str, int],
    quarantine: Quarantine,
    *,
    rows: Sequence[int] | None = None,
) -> pl.DataFrame:
    """Return the labels with one row for each item, in the items' order; nulls where unknown.

    Rows of items that are not there, and second rows of one item, go to quarantine.

    Args:
        labels: with a column item_id.
        index: the position of each item by its id.
        quarantine: takes what breaks a rule.
        rows: the number of each row, 1 and so on where None.

    Raises:
        CatalogError: there is no column `item_id`.
    """
    if "item_id" not in labels.columns:
        found = ", ".join(labels.columns) or "none"
        raise CatalogError(
            f"The labels table has no column 'item_id' (found: {found}); rename the column that "
            "holds the ids."
        )
    numbers = range(1, labels.height + 1) if rows is None else rows
    numbered = labels.with_columns(
        pl.col("item_id").cast(pl.String), pl.Series("__row", numbers, dtype=pl.Int64)
    )
    order = pl.DataFrame({"item_id": pl.Series(list(index), dtype=pl.String)})
    strange = numbered.join(order, on="item_id", how="anti")
    twins = Twins(index)
    for row, item_id in strange.select("__row", "item_id").iter_rows():
        remedy = twins.remedy(item_id or "") or "add the item or remove the labels"
        reason = f"no item has the id {shown(item_id)}; {remedy}"
        quarantine.add("labels", row, item_id, "item_id", "names no item", reason)
    first = pl.col("item_id").is_first_distinct()
    known = numbered.join(order, on="item_id", how="semi", maintain_order="left")
    for row, item_id in known.filter(~first).select("__row", "item_id").iter_rows():
        reason = f"the labels of {shown(item_id)} stand twice, the first are kept; keep one row"
        quarantine.add("labels", row, item_id, "item_id", "duplicate id", reason)
    kept = known.filter(first).drop("__row")
    return order.join(kept, on="item_id", how="left", maintain_order="left")


def _in_pool(pool: pl.Series, split: str) -> npt.NDArray[np.bool_]:
    """Return which items belong to a split's pool; null means every pool, "" none."""
    told = pool.cast(pl.String)
    every = told.str.strip_chars().is_in(list(MISSING_TEXTS - {""})).fill_null(True)
    names = told.set(every, split).str.to_lowercase().str.split(",")
    return names.list.eval(pl.element().str.strip_chars()).list.contains(split).to_numpy()


def _group_codes(groups: pl.Series) -> Indices:
    """Return [N] a number for each item, equal where their groups are; -1 for an item without."""
    names = as_text(groups).str.strip_chars()
    known = ~names.is_in(list(MISSING_TEXTS)).fill_null(True)
    codes = names.rank("dense").cast(pl.Int64)
    return pl.select(pl.when(known).then(codes).otherwise(-1)).to_series().fill_null(-1).to_numpy()

"""Labels: what is known of items and never shown to a model, such as boxes, noise and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.columns import as_text
from tgqformer.catalog.pair_rules import Twins
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.values import MISSING_TEXTS
from tgqformer.errors import CatalogError

GROUP = "item_group_id"
"""The label that variants of one product share, as Google's and Meta's feeds name it."""


def align_labels(
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
        quarantine.add(
            "labels",
            row,
            item_id,
            "item_id",
            "names no item",
            f"no item has the id {shown(item_id)}; "
            + (twins.remedy(item_id or "") or "add the item or remove the labels"),
        )
    first = pl.col("item_id").is_first_distinct()
    known = numbered.join(order, on="item_id", how="semi", maintain_order="left")
    for row, item_id in known.filter(~first).select("__row", "item_id").iter_rows():
        quarantine.add(
            "labels",
            row,
            item_id,
            "item_id",
            "duplicate id",
            f"the labels of {shown(item_id)} stand twice, the first are kept; keep one row",
        )
    kept = known.filter(first).drop("__row")
    return order.join(kept, on="item_id", how="left", maintain_order="left")


def in_pool(pool: pl.Series, split: str) -> npt.NDArray[np.bool_]:
    """Return which items belong to a split's pool; null means every pool, "" none."""
    told = pool.cast(pl.String)
    every = told.str.strip_chars().is_in(list(MISSING_TEXTS - {""})).fill_null(True)
    names = told.set(every, split).str.to_lowercase().str.split(",")
    return names.list.eval(pl.element().str.strip_chars()).list.contains(split).to_numpy()


def group_codes(groups: pl.Series | None, items: int) -> npt.NDArray[np.int64]:
    """Return [N] a number for each item, equal where their groups are; -1 for an item without."""
    if groups is None:
        return np.full(items, -1, dtype=np.int64)
    names = as_text(groups).str.strip_chars()
    known = ~names.is_in(list(MISSING_TEXTS)).fill_null(True)
    codes = names.rank("dense").cast(pl.Int64)
    return pl.select(pl.when(known).then(codes).otherwise(-1)).to_series().fill_null(-1).to_numpy()

"""Ids as text, and why those of two files do not meet.

Ids lose their form in a program that takes them for numbers: ``0108775015`` becomes 108775015,
and a column with a gap becomes floats, 461713.0. Floats that are whole numbers in all of a column
are read as those; nothing else is changed. Where an id names no item, `Twins` finds the item's id
that differs by such a loss alone, so that the message can say what would make them meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from tgqformer.catalog.columns import text_column
from tgqformer.catalog.quarantine import Quarantine, shown
from tgqformer.catalog.tables import Table

_EXACT = 2**53  # up to here a float is every whole number
_DECIMAL = re.compile(r"\.0+$")
_ZEROS = re.compile(r"^0+(?=\d+$)")

_STEPS = (
    (
        "spaces or quotes around the id",
        "remove them",
        lambda text: text.strip("\ufeff\u200b \t\r\n'\"\u00a0"),
    ),
    (
        "a decimal place",
        "write ids as whole numbers or as text (in pandas `astype('Int64')`)",
        lambda text: _DECIMAL.sub("", text),
    ),
    (
        "leading zeros",
        "keep ids as text wherever a program reads them as numbers (in pandas `dtype=str`)",
        lambda text: _ZEROS.sub("", text),
    ),
    ("upper and lower case", "write them alike", str.casefold),
)
"""What ids differ in, what helps, and how it is taken away: one after the other."""


def id_column(table: Table, name: str, quarantine: Quarantine) -> pl.Series:
    """Return a column of ids as `text_column` does; floats that are whole numbers as such."""
    values = table.columns.get(name)
    if isinstance(values, pl.Series) and values.dtype.is_float():
        known = values.drop_nulls().drop_nans()
        if len(known) and ((known == known.floor()) & (known.abs() < _EXACT)).all():
            values = values.fill_nan(None).cast(pl.Int64)
    elif isinstance(values, list):
        values = [_whole(value) for value in values]
    if values is None:
        return text_column(table, name, quarantine, ids=True)
    told = replace(table, columns={**table.columns, name: values})
    return text_column(told, name, quarantine, ids=True)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


class Twins:
    """The ids of the items by what stays of them when their form is lost."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = known
        self._bare: dict[str, str] | None = None

    def find(self, item_id: str) -> str | None:
        """Return the id of the item that an id was meant for, None where there is none."""
        if self._bare is None:
            self._bare = {}
            for known in self._known:
                self._bare.setdefault(_bare(known), known)
        return self._bare.get(_bare(item_id))

    def remedy(self, item_id: str) -> str:
        """Return what to do about an id that names no item: what its twin is, or nothing known."""
        twin = self.find(item_id)
        if twin is None:
            return ""
        return f"{shown(twin)} is one, and differs in {difference(item_id, twin)}"


def difference(one: str, two: str) -> str:
    """Return in what two ids that are twins differ, and what helps."""
    told, helps = [], []
    for what, remedy, without in _STEPS:
        bare = without(one), without(two)
        if one != two and (bare[0] == bare[1] or (bare[0] == one) != (bare[1] == two)):
            told.append(what)
            helps.append(remedy)
        one, two = bare
    return f"{' and '.join(told) or 'form'}; {helps[0] if helps else 'write them alike'}"


def _bare(item_id: str) -> str:
    for _, _, without in _STEPS:
        item_id = without(item_id)
    return item_id


def meeting(log_ids: pl.Series, twins: Twins, known: Iterable[str], side: str) -> str:
    """Return a sentence on ids that name no item: one of each side, and what would make them meet.

    Args:
        log_ids: distinct ids that name no item, at least one.
        twins: of the items' ids.
        known: the items' ids.
        side: what the first are called, "log" say.
    """
    for item_id in log_ids.head(1_000).to_list():
        twin = twins.find(item_id)
        if twin is not None:
            return (
                f"the {side} has {shown(item_id)} where the catalog has {shown(twin)}, and they "
                f"differ in {difference(item_id, twin)}"
            )
    first = next(iter(known), "")
    return f"the {side} has {shown(log_ids[0])}, the catalog {shown(first)}"

"""The rules for pairs. What breaks one goes to quarantine with its reason; the rest goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from tgqformer.catalog.columns import number_column, require_columns, text_column
from tgqformer.catalog.items import Pair
from tgqformer.catalog.quarantine import DROPPED, REPAIRED, Quarantine, shown
from tgqformer.catalog.tables import Table
from tgqformer.catalog.values import MISSING_TEXTS

SPLITS = ("train", "val", "test")
"""What a pair's `split` may be."""

PAIR_SCHEMA = {"query": pl.Int64, "target": pl.Int64, "weight": pl.Float32, "split": pl.String}
"""Pairs as a Catalog keeps them: positions in its items."""

_NO_ITEM = "no item has the id {}"
_WEIGHT = pl.col("weight")
_RULES: tuple[tuple[str, str, pl.Expr, str], ...] = (
    ("query_id", "names no item", pl.col("query").is_null(), _NO_ITEM),
    ("target_id", "names no item", pl.col("target").is_null(), _NO_ITEM),
    (
        "target_id",
        "pair of an item with itself",
        pl.col("query") == pl.col("target"),
        "the query and the target are both {}; an item is no neighbour of itself, so remove the "
        "pair",
    ),
    (
        "weight",
        "bad weight",
        ~(_WEIGHT.is_finite() & (_WEIGHT > 0)),
        "the weight is {}; a weight is a finite number over 0, so correct it or leave it empty",
    ),
    (
        "split",
        "unknown split",
        ~pl.col("split").is_in(SPLITS),
        f"the split is {{}}; use one of {', '.join(SPLITS)}",
    ),
)
"""Field, name of the rule, which rows break it, and what to say, {} standing for the value."""


def pair_frame(pairs: Iterable[Pair], index: Mapping[str, int]) -> pl.DataFrame:
    """Return pairs that should be sound with the columns of PAIR_SCHEMA.

    Raises:
        CatalogError: a pair breaks a rule.
    """
    listed = list(pairs)
    columns: dict[str, pl.Series | list[Any]] = {
        "query_id": [pair.query_id for pair in listed],
        "target_id": [pair.target_id for pair in listed],
        "weight": [pair.weight for pair in listed],
        "split": [pair.split for pair in listed],
    }
    rows = np.arange(1, len(listed) + 1, dtype=np.int64)
    faults = Quarantine()
    frame = check_pairs(Table("pairs", rows, columns), index, faults)
    faults.raise_first("A pair cannot be in the catalog")
    return frame


def check_pairs(table: Table, index: Mapping[str, int], quarantine: Quarantine) -> pl.DataFrame:
    """Return the pairs that keep the rules, with the columns of PAIR_SCHEMA.

    Args:
        table: columns query_id, target_id and, if they are there, weight (1 where empty) and split
            ("train" where empty).
        index: the position of each item by its id.
        quarantine: takes what breaks a rule.

    Raises:
        CatalogError: there is no column `query_id` or `target_id`.
    """
    require_columns(
        table,
        ["query_id", "target_id"],
        "a pair names two items by their ids, so rename the columns",
    )
    before = len(quarantine)
    weights = number_column(table, "weight", quarantine, action=DROPPED)
    unread = [entry.row for entry in list(quarantine)[before:]]
    frame = pl.DataFrame(
        {
            "row": table.rows,
            "query_id": id_column(table, "query_id", quarantine),
            "target_id": id_column(table, "target_id", quarantine),
            "weight": weights.fill_null(1.0),
            "split": text_column(table, "split", quarantine),
        }
    ).filter(~pl.col("row").is_in(unread))
    frame = frame.with_columns(
        split=pl.when(pl.col("split") == "").then(pl.lit("train")).otherwise("split")
    )
    known = pl.DataFrame(
        {
            "id": pl.Series(list(index), dtype=pl.String),
            "position": pl.Series(list(index.values()), dtype=pl.Int64),
        }
    )
    frame = frame.join(
        known.rename({"id": "query_id", "position": "query"}),
        on="query_id",
        how="left",
        maintain_order="left",
    ).join(
        known.rename({"id": "target_id", "position": "target"}),
        on="target_id",
        how="left",
        maintain_order="left",
    )
    twins = Twins(index)
    for field, rule, broken, reason in _RULES:
        for entry in frame.filter(broken).iter_rows(named=True):
            told = reason.replace("{}", shown(entry[field]))
            if reason == _NO_ITEM:
                told += f"; {twins.remedy(entry[field]) or 'add the item or remove the pair'}"
            quarantine.add("pairs", entry["row"], entry["query_id"], field, rule, told)
        frame = frame.filter(~broken)
    first = pl.struct("query", "target", "split").is_first_distinct()
    for entry in frame.filter(~first).iter_rows(named=True):
        quarantine.add(
            "pairs",
            entry["row"],
            entry["query_id"],
            "target_id",
            "pair told twice",
            f"the pair with {shown(entry['target_id'])} stands in split {entry['split']!r} "
            "already; add the weights up in one row",
        )
    return frame.filter(first).select("query", "target", pl.col("weight").cast(pl.Float32), "split")


# -- ids -------------------------------------------------------------------------------------------
# Ids as text, and why those of two files do not meet.
#
# Ids lose their form in a program that takes them for numbers: ``0108775015`` becomes 108775015,
# and a column with a gap becomes floats, 461713.0. Floats that are whole numbers in all of a column
# are read as those, and blanks and the marks by which a spreadsheet keeps a text from being a
# number (``="0042"``, ``'0042``) are left out, which is told; nothing else is changed. Where an id
# names no item, `Twins` finds the item's id that differs by such a loss alone, or by a prefix or
# signs, so that the message can say what would make them meet.

_EXACT = 2**53  # up to here a float is every whole number
_AROUND = " \t\r\n\ufeff\u200b\u00a0"
_KEPT_AS_TEXT = r"^=\"(.*)\"$|^'([^']+)$"
_SHORTENED = r"^[+-]?\d([.,]\d+)?E\+\d+$"
_DECIMAL = re.compile(r"\.0+$")
_ZEROS = re.compile(r"^0+(?=\d+$)")

_Step: TypeAlias = "tuple[str, str, Callable[[str], str]]"

_STEPS: tuple[_Step, ...] = (
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

_PREFIX = re.compile(r"^.*[:/#=](?=[^:/#=]+$)|^[^\W\d_]+[_-]?(?=\d+$)")
_SIGNS = re.compile(r"[\W_]+")
_GUESSES: tuple[_Step, ...] = (
    ("signs between letters and digits", "write them alike", lambda text: _SIGNS.sub("", text)),
    (
        "a prefix",
        "cut it off, or put it before both",
        lambda text: _ZEROS.sub("", _PREFIX.sub("", text)),
    ),
)
"""What more they may differ in, each by itself: no program does this, so of several items that an
id could name so, none is meant."""


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
    given = replace(table, columns={**table.columns, name: values})
    told = text_column(given, name, quarantine, ids=True)
    bare = told.str.strip_chars(_AROUND)
    bare = bare.zip_with(bare != "", told)
    if bare.str.contains("^[='].").any():
        groups = bare.str.extract_groups(_KEPT_AS_TEXT)
        held = groups.struct.field("1").fill_null(groups.struct.field("2"))
        bare = held.fill_null(bare).alias(name)
    for found, rule, reason in (
        (
            (bare != told) & ~bare.is_in(list(MISSING_TEXTS)),
            "marks around ids",
            "{} of {} ids have blanks or a spreadsheet's marks around them, the first {}, and are "
            "read without; write them bare",
        ),
        (
            bare.str.contains(_SHORTENED),
            "shortened ids",
            "{} of {} ids are numbers that a spreadsheet has shortened, the first {}, so that "
            "their last digits are lost; export that column as text",
        ),
    ):
        if found.any():
            first = told.filter(found)[0]
            text = reason.format(f"{found.sum():,}", f"{len(told):,}", shown(first))
            quarantine.add(table.name, 0, None, name, rule, text, REPAIRED)
    return bare


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


class Twins:
    """The ids of the items by what stays of them when their form is lost."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = known
        self._bare: dict[str, str] | None = None
        self._guesses: list[dict[str, str]] = [{} for _ in _GUESSES]

    def find(self, item_id: str) -> str | None:
        """Return the id of the item that an id was meant for, None where there is none."""
        if self._bare is None:
            self._bare = {}
            for known in self._known:
                bare = _bare(known)
                self._bare.setdefault(bare, known)
                for (_, _, without), found in zip(_GUESSES, self._guesses):
                    told = without(bare)
                    found[told] = "" if told in found else known
        bare = _bare(item_id)
        if bare in self._bare:
            return self._bare[bare]
        guessed = (
            found.get(without(bare)) for (_, _, without), found in zip(_GUESSES, self._guesses)
        )
        return next(filter(None, guessed), None)

    def remedy(self, item_id: str) -> str:
        """Return what to do about an id that names no item: what its twin is, or nothing known."""
        twin = self.find(item_id)
        if twin is None:
            return ""
        return f"{shown(twin)} is one, and differs in {difference(item_id, twin)}"


def difference(one: str, two: str) -> str:
    """Return in what two ids that are twins differ, and what helps."""
    bare = _bare(one), _bare(two)
    if bare[0] != bare[1]:
        told = (step for step in _GUESSES if step[2](bare[0]) == step[2](bare[1]))
        what, remedy, _ = next(told, ("form", "write them alike", str))
        return f"{what}; {remedy}"
    names, helps = [], []
    for what, remedy, without in _STEPS:
        bare = without(one), without(two)
        if one != two and (bare[0] == bare[1] or (bare[0] == one) != (bare[1] == two)):
            names.append(what)
            helps.append(remedy)
        one, two = bare
    return f"{' and '.join(names) or 'form'}; {helps[0] if helps else 'write them alike'}"


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

"""Naming what a split lets through: pairs, queries, photos and items that training has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.photos import photo_groups
from tgqformer.errors import ConfigError

Promise: TypeAlias = Literal["warm", "query", "cold"]
"""What a split promises; see splits.py."""

_PROMISES: tuple[Promise, ...] = ("warm", "query", "cold")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Leak:
    """One way in which two splits know of each other.

    Attributes:
        kind: "pair in two splits", "reversed pair in two splits", "query in two splits", "photo of
            queries in two splits", "cold query in pairs" or "photo of a cold query in pairs".
        splits: the earlier and the later split.
        count: how many pairs, queries or items.
        examples: up to five of them by id.
    """

    kind: str
    splits: tuple[str, str]
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.kind}, {self.splits[0]} and {self.splits[1]}: {self.count:,} ({shown}{more})"


def check_leaks(
    catalog: Catalog, *, promise: Promise = "query", progress: bool = False
) -> list[Leak]:
    """Return what breaks a promise, an empty list where it is kept.

    Args:
        catalog: its pairs with their splits.
        promise: "warm", "query" or "cold", as splits.py defines them.
        progress: show a bar while photos are compared.

    Raises:
        ConfigError: the promise is none of these.
    """
    if promise not in _PROMISES:
        raise ConfigError(f"{promise!r} is no promise of a split; use one of {list(_PROMISES)}.")
    groups = photo_groups(catalog.items, progress=progress)
    parts = {split: catalog.pair_indices(split)[:2] for split in ("train", "val", "test")}
    leaks: list[Leak] = []
    for earlier, later in (("train", "val"), ("train", "test"), ("val", "test")):
        found = _pair_leaks(catalog, groups, parts[earlier], parts[later])
        if promise != "warm":
            found |= _query_leaks(catalog, groups, parts[earlier][0], parts[later][0])
        if promise == "cold":
            known = np.concatenate(parts[earlier])
            found |= _cold_leaks(catalog, groups, known, parts[later][0])
        leaks += [
            Leak(kind, (earlier, later), len(names), tuple(names[:_SHOWN]))
            for kind, names in found.items()
            if names
        ]
    return leaks


Side: TypeAlias = "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]"


def _pair_leaks(
    catalog: Catalog, groups: npt.NDArray[np.int64], earlier: Side, later: Side
) -> dict[str, list[str]]:
    """Pairs are one where their items are, or show the same photos."""
    known = pl.DataFrame({"one": groups[earlier[0]], "two": groups[earlier[1]]})
    asked = pl.DataFrame(
        {"one": groups[later[0]], "two": groups[later[1]], "query": later[0], "target": later[1]}
    )
    ids = [item.item_id for item in catalog.items]
    found: dict[str, list[str]] = {}
    for kind, side in (
        ("pair in two splits", known),
        ("reversed pair in two splits", known.rename({"one": "two", "two": "one"})),
    ):
        both = asked.join(side, on=["one", "two"], how="semi", maintain_order="left")
        both = both.select("query", "target")
        found[kind] = [f"{ids[query]} -> {ids[target]}" for query, target in both.iter_rows()]
    return found


def _query_leaks(
    catalog: Catalog,
    groups: npt.NDArray[np.int64],
    earlier: npt.NDArray[np.int64],
    later: npt.NDArray[np.int64],
) -> dict[str, list[str]]:
    again = np.intersect1d(later, earlier)
    others = np.setdiff1d(later, earlier)
    photos = others[np.isin(groups[others], groups[earlier])]
    return {
        "query in two splits": _ids(catalog, again),
        "photo of queries in two splits": _ids(catalog, photos),
    }


def _cold_leaks(
    catalog: Catalog,
    groups: npt.NDArray[np.int64],
    known: npt.NDArray[np.int64],
    queries: npt.NDArray[np.int64],
) -> dict[str, list[str]]:
    seen = np.intersect1d(queries, known)
    others = np.setdiff1d(queries, known)
    photos = others[np.isin(groups[others], groups[known])]
    return {
        "cold query in pairs": _ids(catalog, seen),
        "photo of a cold query in pairs": _ids(catalog, photos),
    }


def _ids(catalog: Catalog, positions: npt.NDArray[np.int64]) -> list[str]:
    return [catalog.items[position].item_id for position in positions.tolist()]

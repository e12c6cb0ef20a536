"""Naming what a split lets through: pairs, queries, photos and items that training has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.photos import photo_groups, with_variants
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
            queries in two splits", "cold query in pairs" or "photo of a cold query in pairs"; and
            "variant of ..." where items are of one product by the label `item_group_id` alone.
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
    photos = photo_groups(catalog.items, progress=progress)
    products = with_variants(photos, catalog.groups)
    parts = {split: catalog.pair_indices(split)[:2] for split in ("train", "val", "test")}
    leaks: list[Leak] = []
    for earlier, later in (("train", "val"), ("train", "test"), ("val", "test")):
        found = _pair_leaks(catalog, products, parts[earlier], parts[later])
        queries = parts[later][0]
        if promise != "warm":
            names = (
                "query in two splits",
                "photo of queries in two splits",
                "variant of queries in two splits",
            )
            told = _known_leaks(catalog, (photos, products), parts[earlier][0], queries)
            found |= dict(zip(names, told))
        if promise == "cold":
            names = (
                "cold query in pairs",
                "photo of a cold query in pairs",
                "variant of a cold query in pairs",
            )
            known = np.concatenate(parts[earlier])
            told = _known_leaks(catalog, (photos, products), known, queries)
            found |= dict(zip(names, told))
        leaks += [
            Leak(kind, (earlier, later), len(ids), tuple(ids[:_SHOWN]))
            for kind, ids in found.items()
            if ids
        ]
    return leaks


Side: TypeAlias = "tuple[Indices, Indices]"


def _pair_leaks(
    catalog: Catalog, groups: Indices, earlier: Side, later: Side
) -> dict[str, list[str]]:
    """Pairs are one where their items are, show the same photos, or are of one product."""
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


def _known_leaks(
    catalog: Catalog,
    groups: tuple[Indices, Indices],
    known: Indices,
    queries: Indices,
) -> list[list[str]]:
    """The ids of queries that are known, then of others by their photos, then by their product."""
    found = [np.intersect1d(queries, known)]
    rest = np.setdiff1d(queries, known)
    for own in groups:
        shared = np.isin(own[rest], own[known])
        found.append(rest[shared])
        rest = rest[~shared]
    return [_ids(catalog, positions) for positions in found]


def _ids(catalog: Catalog, positions: Indices) -> list[str]:
    return [catalog.items[position].item_id for position in positions.tolist()]

"""Cutting pairs into train, val and test so that nothing of the answer leaks.

Three promises, each with all of those before it:

- "warm": no pair, in either direction, is in two splits;
- "query": no query is in two splits, nor are queries that share a byte-identical photo;
- "cold": no val or test query, nor an item that shares its photo, is in any pair of an earlier
  split, on either side: the model meets it for the first time.

`check_leaks` names whatever breaks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.catalog import Catalog, Indices
from tgqformer.catalog.pair_rules import SPLITS
from tgqformer.catalog.photos import photo_groups, product_groups, with_variants
from tgqformer.errors import CatalogError, ConfigError

_TRAIN, _VAL, _TEST = range(3)


def split_random(
    catalog: Catalog, *, val: float = 0.1, test: float = 0.1, seed: int = 0, progress: bool = False
) -> Catalog:
    """Give each query, with all its pairs, to a split at random ("query" promise).

    Where a pair comes to one split and its reverse to another, the earlier split gives way: a test
    query keeps all its targets, or those left out would count as wrong answers.

    Args:
        catalog: its pairs' own splits are overwritten.
        val, test: the shares of the queries, within [0, 1) together.
        seed: equal seeds give equal splits.
        progress: show a bar while photos are compared.

    Raises:
        ConfigError: the shares are no shares.
    """
    groups = product_groups(catalog, progress=progress)
    table = catalog.pair_table
    queries = groups[table["query"].to_numpy()]
    window = _draw(groups, groups[np.unique(table["query"].to_numpy())], val, test, seed)
    return _with_splits(catalog, groups, window[queries], earlier_wins=False)


def split_cold(
    catalog: Catalog, *, val: float = 0.1, test: float = 0.1, seed: int = 0, progress: bool = False
) -> Catalog:
    """Give each item to a split at random and keep it out of the earlier ones ("cold" promise).

    Pairs of a val or test query stay, whatever their target: it may be an old item. Pairs of an
    earlier query with a later target are left out.

    Args:
        catalog, val, test, seed, progress: as for split_random; the shares are of the items.

    Raises:
        ConfigError: the shares are no shares.
    """
    groups = product_groups(catalog, progress=progress)
    table = catalog.pair_table
    window = _draw(groups, groups, val, test, seed)
    query = window[groups[table["query"].to_numpy()]]
    target = window[groups[table["target"].to_numpy()]]
    return _with_splits(catalog, groups, query, keep=target <= query)


def split_by_time(
    catalog: Catalog,
    times: Sequence[float] | npt.NDArray[np.float64],
    *,
    val: float = 0.1,
    test: float = 0.1,
    new_queries: bool = True,
    progress: bool = False,
) -> Catalog:
    """Cut the pairs by time: the latest are test, those before them val ("query" promise).

    A query, with those that share its photo, belongs to the split in whose time it first appears;
    its later pairs are left out. So test asks for items that were not queries before, as a shop
    does of new listings. With ``new_queries=False`` every pair goes by its own time, queries may
    return, and only pairs that an earlier split has already are left out ("warm" promise).

    Args:
        catalog: M pairs.
        times: [M], when each pair of `catalog.pair_table` was seen, in any unit.
        val, test: the shares of the pairs, within [0, 1) together.
        new_queries: see above.
        progress: show a bar while photos are compared.

    Raises:
        ConfigError: the shares are no shares.
        CatalogError: there is not one finite time for each pair.
    """
    table = catalog.pair_table
    moments = np.asarray(times, dtype=np.float64)
    if moments.shape != (table.height,) or not np.isfinite(moments).all():
        raise CatalogError(
            f"There are {int(np.isfinite(moments).sum()):,} finite times for {table.height:,} "
            "pairs; give one for each pair, in the order of the pair table."
        )
    cuts = time_cuts(moments, val=val, test=test)
    own = np.searchsorted(cuts, moments, side="right")
    groups = product_groups(catalog, progress=progress)
    if not new_queries:
        return _with_splits(catalog, groups, own)
    queries = groups[table["query"].to_numpy()]
    first = np.full(len(catalog), _TEST, dtype=np.int64)
    np.minimum.at(first, queries, own)
    return _with_splits(catalog, groups, own, keep=own == first[queries])


def split_warm(
    catalog: Catalog,
    *,
    val: float = 0.1,
    test: float = 0.1,
    min_weight: float = 0.0,
    seed: int = 0,
    progress: bool = False,
) -> Catalog:
    """Hold some training pairs out for val and test, so that known items are asked for ("warm").

    A pair goes with its reverse, and only where both its items keep another training partner. What
    stands in val and test already, of new items say, stays: their figures come apart by `history`.

    Args:
        catalog: with pairs in split "train".
        val, test: the shares of the training pairs of `min_weight` or more, either way round one.
        min_weight: lighter pairs stay in training.
        seed: equal seeds give equal splits.
        progress: show a bar while photos are compared.

    Raises:
        ConfigError: the shares are no shares.
    """
    _check_shares(val, test)
    groups = product_groups(catalog, progress=progress)
    table = catalog.pair_table
    ends = np.sort(
        np.stack([groups[table[name].to_numpy()] for name in ("query", "target")]), axis=0
    ).astype(np.int64)
    keys = ends[0] * len(groups) + ends[1]
    training = (table["split"] == "train").to_numpy() & (ends[0] != ends[1])
    heavy = np.unique(keys[training & (table["weight"].to_numpy() >= min_weight)])
    partners = np.bincount(
        np.concatenate(np.divmod(np.unique(keys[training]), len(groups))), minlength=len(groups)
    )
    tests, vals = round(len(heavy) * test), round(len(heavy) * val)
    held: list[int] = []
    for key in np.random.default_rng(seed).permutation(heavy).tolist():
        if len(held) == tests + vals:
            break
        both = list(divmod(key, len(groups)))
        if (partners[both] > 1).all():
            partners[both] -= 1
            held.append(key)
    window = np.full(len(table), -1, dtype=np.int64)
    for number, part in ((_TEST, held[:tests]), (_VAL, held[tests:])):
        window[training & np.isin(keys, part)] = number
    names = pl.Series([*SPLITS, None], dtype=pl.String).gather(pl.Series(window % 4))
    return catalog.with_pairs(table.with_columns(split=names.fill_null(table["split"])))


def time_cuts(
    times: npt.NDArray[np.float64], *, val: float = 0.1, test: float = 0.1
) -> npt.NDArray[np.float64]:
    """Return the moments [2] from which val and test begin; equal times are never parted.

    Raises:
        ConfigError: the shares are no shares.
    """
    _check_shares(val, test)
    if not len(times):
        return np.array([np.inf, np.inf])
    ordered = np.sort(times)
    starts = [round(len(ordered) * (1 - val - test)), round(len(ordered) * (1 - test))]
    return np.array([ordered[start] if start < len(ordered) else np.inf for start in starts])


def _draw(
    groups: Indices,
    members: Indices,
    val: float,
    test: float,
    seed: int,
) -> Indices:
    """Return a split for each group number: a random share of the members, else train.

    Args:
        groups: [N], each item's group.
        members: the group of each item that counts; a group goes to one split with all of them.
    """
    _check_shares(val, test)
    candidates, sizes = np.unique(members, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(candidates))
    window = np.full(len(groups), _TRAIN, dtype=np.int64)
    for split, share in ((_TEST, test), (_VAL, val)):
        left = round(len(members) * share)
        for place in order.tolist():
            group, size = candidates[place], int(sizes[place])
            if window[group] == _TRAIN and size <= left:  # one too large is left for training
                window[group] = split
                left -= size
            if not left:
                break
    return window


def _with_splits(
    catalog: Catalog,
    groups: Indices,
    window: Indices,
    keep: npt.NDArray[np.bool_] | None = None,
    *,
    earlier_wins: bool = True,
) -> Catalog:
    """Return the catalog with a split for each pair, and each pair in one split alone.

    Two pairs are one where their items share photos, whichever way round.
    """
    names = np.array(SPLITS, dtype=object)
    table = catalog.pair_table.with_columns(
        split=pl.Series(names[window].tolist(), dtype=pl.String),
        window=pl.Series(window, dtype=pl.Int64),
        one=pl.Series(groups).gather(catalog.pair_table["query"]),
        two=pl.Series(groups).gather(catalog.pair_table["target"]),
    )
    if keep is not None:
        table = table.filter(pl.Series(keep, dtype=pl.Boolean))
    winner = pl.col("window").min() if earlier_wins else pl.col("window").max()
    ends = (pl.min_horizontal("one", "two"), pl.max_horizontal("one", "two"))
    table = table.filter(pl.col("window") == winner.over(*ends))
    # The pair may have stood in several splits before.
    first = pl.struct("query", "target", "split").is_first_distinct()
    return catalog.with_pairs(table.filter(first).select("query", "target", "weight", "split"))


def _check_shares(val: float, test: float) -> None:
    if not (min(val, test) >= 0 and val + test < 1):
        raise ConfigError(
            f"val ({val}) and test ({test}) must be shares from 0 upward that leave something for "
            "training; make their sum less than 1."
        )


# -- leaks -----------------------------------------------------------------------------------------
# Naming what a split lets through: pairs, queries, photos and items that training has seen.

Promise: TypeAlias = Literal["warm", "query", "cold"]
"""What a split promises, as the head of this file says; each with those before it."""

_PROMISES: tuple[Promise, ...] = ("warm", "query", "cold")
_KNOWN = {
    "query": (
        "query in two splits",
        "photo of queries in two splits",
        "variant of queries in two splits",
    ),
    "cold": (
        "cold query in pairs",
        "photo of a cold query in pairs",
        "variant of a cold query in pairs",
    ),
}
"""Kinds of leaks by the promise that they break: of the item, of its photo, of its product."""

_SHOWN = 5
_Side: TypeAlias = "tuple[Indices, Indices]"


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
        promise: "warm", "query" or "cold", as defined above.
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
        asked = {"query": parts[earlier][0], "cold": np.concatenate(parts[earlier])}
        for kept in _PROMISES[1 : _PROMISES.index(promise) + 1]:
            told = _known_leaks(catalog, (photos, products), asked[kept], parts[later][0])
            found |= dict(zip(_KNOWN[kept], told))
        leaks += [
            Leak(kind, (earlier, later), len(ids), tuple(ids[:_SHOWN]))
            for kind, ids in found.items()
            if ids
        ]
    return leaks


def _pair_leaks(
    catalog: Catalog, groups: Indices, earlier: _Side, later: _Side
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

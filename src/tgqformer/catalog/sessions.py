"""From session logs to pairs: what the same people look at belongs together.

A log is a table of (user, item, time). Two measures of how strongly items i and j are tied, with
U_i the users of item i and I_u the items of user u:

Item-to-item cosine (Sarwar et al., "Item-based collaborative filtering recommendation algorithms",
WWW 2001, on binary data; Linden, Smith and York, "Amazon.com recommendations", 2003)::

    cos(i, j) = |U_i & U_j| / sqrt(|U_i| |U_j|)

Swing (Yang et al., "Large Scale Product Graph Construction for Recommendation in E-commerce",
arXiv 2010.05525), which trusts a common user the more, the less else two such users share::

    swing(i, j) = sum over unordered {u, v} in U_i & U_j, u != v, of
                  w_u w_v / (alpha + |I_u & I_v|),     w_u = 1 / sqrt(|I_u|)

The paper sums over ordered pairs, which doubles every value and changes no order.

Memory is bounded whatever the log: of each user the latest `max_items_per_user` items count, for
Swing of each item the latest `max_users_per_item` users, and items are worked off in blocks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.logs import check_log
from tgqformer.errors import ConfigError
from tgqformer.progress import track

Method: TypeAlias = Literal["cosine", "swing"]

Integers: TypeAlias = npt.NDArray[np.int64]

_TIES = {"i": pl.Int64, "j": pl.Int64, "weight": pl.Float64}

_BLOCK_ROWS = 4_000_000
"""Rows of a block's join; some 200 MB."""


def pairs_from_log(
    log: pl.DataFrame,
    *,
    method: Method = "swing",
    top_k: int = 20,
    min_users: int = 2,
    max_items_per_user: int = 100,
    max_users_per_item: int = 300,
    alpha: float = 1.0,
    progress: bool = False,
) -> pl.DataFrame:
    """Return for each item of a log the items most strongly tied to it.

    Args:
        log: columns user, item and time, in any order; repeated events count once.
        method: "cosine" or "swing"; see the module.
        top_k: at most so many targets for a query.
        min_users: leave out pairs with fewer common users; Swing needs two in any case.
        max_items_per_user: of a user's items only the latest count.
        max_users_per_item: for Swing, of an item's users only the latest count.
        alpha: Swing's smoothing, over 0.
        progress: show a bar on stderr.

    Returns:
        Columns query_id, target_id (String) and weight (Float64), by query, strongest first, ties
        by target.

    Raises:
        CatalogError: a column is missing.
        ConfigError: an option is out of range.
    """
    for name, value in (
        ("top_k", top_k),
        ("min_users", min_users),
        ("max_items_per_user", max_items_per_user),
        ("max_users_per_item", max_users_per_item),
    ):
        if value < 1:
            raise ConfigError(f"{name} ({value}) must be at least 1.")
    if not alpha > 0:
        raise ConfigError(f"alpha ({alpha}) must be over 0.")
    events = user_items(log, max_items_per_user)
    if method == "cosine":
        ties = _cosine(events, top_k, min_users, progress)
    elif method == "swing":
        ties = _swing(events, top_k, max(min_users, 2), max_users_per_item, alpha, progress)
    else:
        raise ConfigError(f"{method!r} is no measure; use 'cosine' or 'swing'.")
    ties = ties.sort(["i", "weight", "j"], descending=[False, True, False])
    ids = events.select("i", "item").unique().sort("i")["item"]
    return pl.DataFrame(
        {
            "query_id": ids.gather(ties["i"]),
            "target_id": ids.gather(ties["j"]),
            "weight": ties["weight"],
        }
    )


def user_items(log: pl.DataFrame, max_items_per_user: int = 100) -> pl.DataFrame:
    """Return each (user, item) of a log once, by user and latest first.

    Args:
        log: columns user, item and time, in any order.
        max_items_per_user: of a user's items only the latest count.

    Returns:
        Columns user, item, time and the Int64 u and i, which number users and items by their ids.

    Raises:
        CatalogError: a column is missing.
    """
    return (
        check_log(log)
        .group_by("user", "item")
        .agg(pl.col("time").max())
        .sort(["user", "time", "item"], descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("user") < max_items_per_user)
        .with_columns(
            u=pl.col("user").rank("dense").cast(pl.Int64) - 1,
            i=pl.col("item").rank("dense").cast(pl.Int64) - 1,
        )
    )


def _cosine(events: pl.DataFrame, top_k: int, min_users: int, progress: bool) -> pl.DataFrame:
    links = events.select("u", "i")
    users = links.group_by("i").agg(n=pl.len()).sort("i")["n"].to_numpy().astype(np.float64)
    # A block's join has a row for each item of each user of each of its items.
    cost = (
        links.with_columns(size=pl.len().over("u"))
        .group_by("i")
        .agg(pl.col("size").sum())
        .sort("i")
    )["size"]
    block = cost.to_numpy().cumsum() // _BLOCK_ROWS
    numbers = np.unique(block)
    frames = [pl.DataFrame(schema=_TIES)]
    for number in track(numbers.tolist(), total=len(numbers), text="items", show=progress):
        first, last = np.flatnonzero(block == number)[[0, -1]].tolist()
        counts = (
            links.filter(pl.col("i").is_between(first, last))
            .join(links.rename({"i": "j"}), on="u")
            .filter(pl.col("i") != pl.col("j"))
            .group_by("i", "j")
            .agg(common=pl.len())
            .filter(pl.col("common") >= min_users)
        )
        product = users[counts["i"].to_numpy()] * users[counts["j"].to_numpy()]
        weight = pl.Series("weight", counts["common"].to_numpy() / np.sqrt(product))
        frames.append(
            counts.select("i", "j", weight)
            .sort(["i", "weight", "j"], descending=[False, True, False])
            .filter(pl.int_range(pl.len()).over("i") < top_k)
        )
    return pl.concat(frames)


def _swing(
    events: pl.DataFrame,
    top_k: int,
    min_users: int,
    max_users_per_item: int,
    alpha: float,
    progress: bool,
) -> pl.DataFrame:
    u, items = events["u"].to_numpy(), events["i"].to_numpy()
    # events go by user: the items of user n are items[start[n]:start[n + 1]].
    start = np.searchsorted(u, np.arange(u.max(initial=-1) + 2))
    latest = events.sort(["i", "time", "u"], descending=[False, True, False]).filter(
        pl.int_range(pl.len()).over("i") < max_users_per_item
    )
    users = latest["u"].to_numpy()
    bounds = np.searchsorted(latest["i"].to_numpy(), np.arange(items.max(initial=-1) + 2))
    found: list[tuple[Integers, Integers, npt.NDArray[np.float64]]] = []
    for item in track(range(len(bounds) - 1), total=len(bounds) - 1, text="items", show=progress):
        mine = users[bounds[item] : bounds[item + 1]]
        if len(mine) < min_users:
            continue
        baskets = [items[start[user] : start[user + 1]] for user in mine]
        others, score = _swing_scores(baskets, min_users, alpha)
        keep = np.flatnonzero((score > 0) & (others != item))
        keep = keep[np.lexsort((others[keep], -score[keep]))][:top_k]
        found.append((np.full(len(keep), item), others[keep], score[keep]))
    if not found:
        return pl.DataFrame(schema=_TIES)
    columns = (np.concatenate(column) for column in zip(*found))
    return pl.DataFrame(dict(zip(_TIES, columns)), schema=_TIES)


def _swing_scores(
    baskets: list[Integers], min_users: int, alpha: float
) -> tuple[Integers, npt.NDArray[np.float64]]:
    """Return all items of some users' baskets and how strongly each is tied to what all share."""
    others, column = np.unique(np.concatenate(baskets), return_inverse=True)
    seen = np.zeros((len(baskets), len(others)))  # [U, J]
    seen[np.repeat(np.arange(len(baskets)), [len(basket) for basket in baskets]), column] = 1.0
    trust = 1.0 / np.sqrt(seen.sum(axis=1))
    tie = np.outer(trust, trust) / (alpha + seen @ seen.T)  # [U, U]
    np.fill_diagonal(tie, 0.0)
    score = (seen * (tie @ seen)).sum(axis=0) / 2.0  # [J], each unordered {u, v} once
    score[seen.sum(axis=0) < min_users] = 0.0
    return others, score

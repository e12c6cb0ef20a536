"""``tgqformer pairs``: from who looked at what, to pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tgqformer.cli.output import json_option, print_json, quiet_option

if TYPE_CHECKING:
    import polars as pl

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.sessions import Method

Split = Literal["random", "cold", "time"]


@click.command(short_help="Make pairs out of a session log.")
@click.argument("log_path", metavar="LOG", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--method", type=click.Choice(["cosine", "swing"]), default="swing", show_default=True
)
@click.option("--user", default="user", show_default=True, help="The column of users or sessions.")
@click.option("--item", default="item", show_default=True, help="The column of item ids.")
@click.option("--time", default="time", show_default=True, help='The column of times, or "none".')
@click.option("--gap", type=float, help="Cut a user's log where so many seconds pass.")
@click.option("--top-k", default=20, show_default=True, help="Targets for a query, at most.")
@click.option("--min-users", default=2, show_default=True, help="Common users, at least.")
@click.option("--max-items-per-user", default=100, show_default=True, help="The latest count.")
@click.option(
    "--split",
    type=click.Choice(["random", "cold", "time"]),
    default="random",
    show_default=True,
    help="random: each query in one split; cold: no val or test query in an earlier pair; "
    "time: the latest events make the test pairs.",
)
@click.option("--val", default=0.1, show_default=True, help="Share of the val split.")
@click.option("--test", default=0.1, show_default=True, help="Share of the test split.")
@click.option("--seed", default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace the pairs that CATALOG has.")
@quiet_option
@json_option
def pairs(
    log_path: Path,
    catalog_path: Path,
    method: Method,
    user: str,
    item: str,
    time: str,
    gap: float | None,
    split: Split,
    val: float,
    test: float,
    seed: int,
    force: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Tie the items of CATALOG by LOG, a table of user, item and time, and write its pairs table.

    LOG is a .parquet, .jsonl or .csv file. Two items are tied by the users that looked at both, by
    cosine or by Swing.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.files import TABLE_SUFFIXES, write_table
    from tgqformer.catalog.logs import complete, read_rows, sessions_of
    from tgqformer.catalog.writing import pairs_frame
    from tgqformer.errors import CatalogError

    tables = [catalog_path / f"pairs{suffix}" for suffix in TABLE_SUFFIXES]
    old = [path for path in tables if path.exists()]
    if old and not force:
        raise CatalogError(f"{old[0]} is there already; --force replaces it")
    catalog = Catalog.load(catalog_path)
    catalog.require_items()
    rows = read_rows(log_path, user=user, item=item, time=None if time == "none" else time)
    log = complete(rows)
    if gap is not None:
        log = sessions_of(log, gap=gap)
    known = log.filter(log["item"].is_in(list(catalog.index)))
    options |= {"method": method, "progress": not quiet}
    left_out = (
        f"{len(rows) - len(log):,} of {len(rows):,} rows lack a user, an item or a time that can "
        "be read (a number or an ISO date)"
    )
    if known.is_empty():
        raise CatalogError(
            f"{log_path} has no event to make pairs of: {left_out}, and {len(log):,} name no item "
            f"of {catalog_path}; correct the log, or say what its columns are called"
        )
    made = _split(catalog, known, split, val, test, seed, options)
    frame = pairs_frame(made)
    if frame.is_empty():
        raise CatalogError(_untied(log_path, method, int(options["min_users"])))
    write_table(frame, catalog_path / "pairs.parquet")
    for path in old:
        if path.suffix != ".parquet":
            path.unlink()
    counts = made.describe()["pairs"]
    told = {
        "rows left out": len(rows) - len(log),
        "events": len(log),
        "events of unknown items": len(log) - len(known),
        "users": known["user"].n_unique(),
        "pairs": counts,
        "items with a target": frame["query_id"].n_unique(),
    }
    if as_json:
        print_json(told)
        return
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    click.echo(f"Wrote {len(frame):,} pairs ({listed}) to {catalog_path / 'pairs.parquet'}")
    if told["rows left out"]:
        click.echo(f"{left_out}, and are left out")
    if told["events of unknown items"]:
        click.echo(f"{told['events of unknown items']:,} of {len(log):,} events name no item")


def _untied(log_path: Path, method: str, min_users: int) -> str:
    needed = max(2, min_users) if method == "swing" else min_users
    users = "users" if needed > 1 else "user"
    fewer = "; --method cosine --min-users 1 asks for one alone" if needed > 1 else ""
    return (
        f"{log_path} ties no two items: after --gap, --max-items-per-user and --split none are "
        f"left that have {needed} {users} in common{fewer}"
    )


def _split(
    catalog: Catalog,
    log: pl.DataFrame,
    split: Split,
    val: float,
    test: float,
    seed: int,
    options: dict[str, Any],
) -> Catalog:
    from tgqformer.catalog.sessions import pairs_from_log
    from tgqformer.catalog.splits import split_cold, split_random

    if split == "time":
        return catalog.with_pairs(_by_time(catalog, log, val, test, options))
    tied = catalog.with_pairs(_positions(catalog, pairs_from_log(log, **options), "train"))
    cut = split_random if split == "random" else split_cold
    return cut(tied, val=val, test=test, seed=seed, progress=bool(options["progress"]))


def _by_time(
    catalog: Catalog, log: pl.DataFrame, val: float, test: float, options: dict[str, Any]
) -> pl.DataFrame:
    """Tie the items of each window on its own; a pair, either way round, stays in its first."""
    import polars as pl

    from tgqformer.catalog.logs import windows_of
    from tgqformer.catalog.sessions import pairs_from_log

    windows = windows_of(log, val=val, test=test)
    tied = pl.concat(
        _positions(catalog, pairs_from_log(part, **options), name).with_columns(window=number)
        for number, (name, part) in enumerate(windows.items())
    )
    ends = [pl.min_horizontal("query", "target"), pl.max_horizontal("query", "target").alias("to")]
    first = pl.col("window").min().over(ends)
    return tied.filter(pl.col("window") == first).drop("window")


def _positions(catalog: Catalog, named: pl.DataFrame, split: str) -> pl.DataFrame:
    """Return pairs of ids as pairs of positions, the columns of ``Catalog.pair_table``."""
    import polars as pl

    from tgqformer.catalog.pair_rules import PAIR_SCHEMA

    ids, rows = list(catalog.index), list(catalog.index.values())
    place = {
        name: named[f"{name}_id"].replace_strict(ids, rows, return_dtype=pl.Int64)
        for name in ("query", "target")
    }
    frame = pl.DataFrame({**place, "weight": named["weight"]})
    return frame.with_columns(split=pl.lit(split)).cast(PAIR_SCHEMA)  # type: ignore[arg-type]

"""``tgqformer pairs``: from who looked at what, to pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tgqformer.cli.shared import (
    SHOWN,
    json_option,
    print_json,
    print_quarantine,
    quarantine_option,
    quiet_option,
)

if TYPE_CHECKING:
    import polars as pl

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.logs import Log
    from tgqformer.catalog.quarantine import Quarantine
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
@click.option(
    "--time-format",
    help="Of dates that are not those of ISO 8601, in the letters of strptime: '%m/%d/%Y %H:%M'.",
)
@click.option(
    "--time-unit",
    type=click.Choice(["s", "ms", "us", "ns", "d", "excel"]),
    help="What numbers count since 1970; found by their size unless said. excel: its days.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="COLUMN=VALUE,...",
    help="Rows with one of these values alone, as in --only event=view,purchase.",
)
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
@quarantine_option
@quiet_option
@json_option
def pairs(
    log_path: Path,
    catalog_path: Path,
    method: Method,
    user: str,
    item: str,
    time: str,
    time_format: str | None,
    time_unit: str | None,
    only: tuple[str, ...],
    gap: float | None,
    split: Split,
    val: float,
    test: float,
    seed: int,
    force: bool,
    table_path: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Tie the items of CATALOG by LOG, a table of user, item and time, and write its pairs table.

    LOG is a .parquet, .jsonl, .csv or .tsv file, read as every table is. Two items are tied by the
    users that looked at both, by cosine or by Swing. A time is a number (seconds, milli-, micro- or
    nanoseconds since 1970) or a date of ISO 8601; any other form needs --time-format.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.logs import read_events, sessions_of
    from tgqformer.catalog.photos import find_placeholders
    from tgqformer.catalog.quarantine import Quarantine
    from tgqformer.catalog.tables import table_files, write_table
    from tgqformer.catalog.writing import pairs_frame
    from tgqformer.errors import CatalogError

    old = table_files(catalog_path, "pairs")
    if old and not force:
        raise CatalogError(f"{old[0]} is there already; --force replaces it")
    catalog = Catalog.load(catalog_path)
    catalog.require_items()
    left_out = Quarantine()
    log = read_events(
        log_path,
        user=user,
        item=item,
        time=None if time == "none" else time,
        time_format=time_format,
        time_unit=time_unit,
        only=_only(only),
        quarantine=left_out,
    )
    if table_path is not None:
        left_out.save(table_path)
    events = log.events if gap is None else sessions_of(log.events, gap=gap)
    known = events.filter(events["item"].is_in(list(catalog.index)))
    unknown = events.filter(~events["item"].is_in(list(catalog.index)))["item"]
    meet = _meeting(catalog, unknown) if len(unknown) else ""
    options |= {"method": method, "progress": not quiet}
    if known.is_empty():
        raise CatalogError(_no_event(log_path, catalog_path, log, left_out, meet))
    made, tied = _split(catalog, known, split, val, test, seed, options)
    frame = pairs_frame(made)
    if frame.is_empty():
        untied = _untied(log_path, method, int(options["min_users"]), log, gap)
        raise CatalogError(untied + _first_of(left_out))
    target = catalog_path / "pairs.parquet"
    write_table(frame, target)
    for path in old:
        if not path.samefile(target):
            path.unlink()
    counts = made.describe()["pairs"]
    placeholders = find_placeholders(catalog.items)
    told = {
        "rows left out": log.rows - log.others - log.events.height,
        "rows not asked for": log.others,
        "unread columns": log.unread,
        "events": log.events.height,
        "events of unknown items": len(unknown),
        "times": log.span(),
        "users": known["user"].n_unique(),
        "pairs": counts,
        "pairs left out": tied - len(frame),
        "items with a target": frame["query_id"].n_unique(),
        "placeholders": placeholders,
        "rejections": [entry for _, entry in zip(range(SHOWN), left_out)],
    }
    if as_json:
        print_json(told)
        return
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    click.echo(f"Wrote {len(frame):,} pairs ({listed}) to {target}")
    click.echo(f"The times are {told['times']}")
    if gap is not None and log.unit == "number":
        click.echo(f"--gap counts in these numbers: {gap:g} of them end a session")
    if log.others:
        click.echo(f"{log.others:,} of {log.rows:,} rows are not among --only {' '.join(only)}")
    if log.unread:
        click.echo(
            f"Columns that nothing reads: {', '.join(log.unread)}; --only COLUMN=VALUE takes the "
            "rows of one kind alone"
        )
    if tied > len(frame):
        click.echo(
            f"{tied - len(frame):,} of {tied:,} pairs are left out: they stood, as such, the other "
            "way round or by a shared photo, in two splits"
        )
    for placeholder in placeholders:
        click.echo(f"{placeholder}: a placeholder, which ties none of them")
    if told["rows left out"]:
        click.echo(f"{_left_out(log)}, and are left out")
    if len(unknown):
        click.echo(f"{len(unknown):,} of {log.events.height:,} events name no item: {meet}")
    print_quarantine(left_out)


def _only(assignments: Sequence[str]) -> dict[str, list[str]]:
    from tgqformer.errors import ConfigError

    result: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, values = assignment.partition("=")
        if not equals or not values:
            raise ConfigError(f"--only {assignment} names no value; write it as COLUMN=VALUE.")
        result.setdefault(name, []).extend(value.strip() for value in values.split(","))
    return result


def _left_out(log: Log) -> str:
    lost = log.rows - log.others - log.events.height
    return f"{lost:,} of {log.rows:,} rows lack a user, an item or a time that can be read"


def _meeting(catalog: Catalog, unknown: pl.Series) -> str:
    from tgqformer.catalog.pair_rules import Twins, meeting

    distinct = unknown.unique(maintain_order=True)
    return meeting(distinct, Twins(catalog.index), catalog.index, "log")


def _no_event(log_path: Path, catalog_path: Path, log: Log, left_out: Quarantine, meet: str) -> str:
    told = f"{log_path} has no event to make pairs of: {_left_out(log)}"
    if log.events.height:
        told += f", and {log.events.height:,} name no item of {catalog_path}: {meet}"
    return told + _first_of(left_out)


def _first_of(left_out: Quarantine) -> str:
    first = next(iter(left_out), None)
    return "" if first is None else f"; {left_out.summary()}, the first: {first}".rstrip(".")


def _untied(log_path: Path, method: str, min_users: int, log: Log, gap: float | None) -> str:
    needed = max(2, min_users) if method == "swing" else min_users
    users = "users" if needed > 1 else "user"
    fewer = "; --method cosine --min-users 1 asks for one alone" if needed > 1 else ""
    pause = ""
    if gap is not None:
        unit = "" if log.unit in ("number", "row") else " seconds"
        pause = f"; the times are {log.span()}, and --gap is {gap:g}{unit}"
    return (
        f"{log_path} ties no two items: after --gap, --max-items-per-user and --split none are "
        f"left that have {needed} {users} in common{pause}{fewer}"
    )


def _split(
    catalog: Catalog,
    log: pl.DataFrame,
    split: Split,
    val: float,
    test: float,
    seed: int,
    options: dict[str, Any],
) -> tuple[Catalog, int]:
    """Return the catalog with pairs in their splits, and how many were tied before that."""
    from tgqformer.catalog.sessions import pairs_from_log
    from tgqformer.catalog.splits import split_cold, split_random

    if split == "time":
        frame, tied = _by_time(catalog, log, val, test, options)
        return catalog.with_pairs(frame), tied
    whole = catalog.with_pairs(_positions(catalog, pairs_from_log(log, **options), "train"))
    cut = split_random if split == "random" else split_cold
    made = cut(whole, val=val, test=test, seed=seed, progress=bool(options["progress"]))
    return made, whole.pair_table.height


def _by_time(
    catalog: Catalog, log: pl.DataFrame, val: float, test: float, options: dict[str, Any]
) -> tuple[pl.DataFrame, int]:
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
    return tied.filter(pl.col("window") == first).drop("window"), tied.height


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

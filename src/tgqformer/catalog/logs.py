"""Reading logs of who looked at what and when, and cutting them into sessions and windows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import polars as pl

from tgqformer.catalog.files import TABLE_SUFFIXES
from tgqformer.catalog.splits import time_cuts
from tgqformer.errors import CatalogError


def read_log(
    path: str | Path, *, user: str = "user", item: str = "item", time: str | None = "time"
) -> pl.DataFrame:
    """Read a log from Parquet, JSONL or CSV.

    Args:
        path: the file.
        user, item, time: what its columns are called; None where there is no time, and the order of
            the rows stands for it.

    Returns:
        Columns user (String), item (String), time (Float64; dates become seconds since 1970, in UTC
        where they name no zone). Rows without a user, an item or a time are left out.

    Raises:
        CatalogError: the file or a column cannot be read.
    """
    return complete(read_rows(path, user=user, item=item, time=time))


def read_rows(path: str | Path, *, user: str, item: str, time: str | None) -> pl.DataFrame:
    """Read a log as `read_log` does, with null or no finite time for what cannot be read."""
    source = Path(path)
    try:
        frame = _read(source)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CatalogError(f"{source} cannot be read ({error}); write it anew.") from error
    wanted = [user, item] if time is None else [user, item, time]
    for name in wanted:
        if name not in frame.columns:
            raise CatalogError(
                f"{source} has no column {name!r} (found: {', '.join(frame.columns) or 'none'}); "
                "say what the columns for user, item and time are called."
            )
    order = pl.int_range(len(frame), eager=True).cast(pl.Float64)
    try:
        return pl.DataFrame(
            {
                "user": frame[user].cast(pl.String),
                "item": frame[item].cast(pl.String),
                "time": order if time is None else _seconds(frame[time]),
            }
        )
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{name} {frame.schema[name]}" for name in wanted)
        raise CatalogError(
            f"The columns of {source} have the types {types}; users and items are text or numbers "
            "and times numbers or dates, so convert them."
        ) from error


def complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a log that have a user, an item and a finite time."""
    return rows.drop_nulls().filter(pl.col("time").is_finite())


def sessions_of(log: pl.DataFrame, *, gap: float) -> pl.DataFrame:
    """Cut each user's log where `gap` passes without an event, in the unit of its times.

    Returns:
        The log with a session in the place of the user, ``"user/0"``, ``"user/1"`` and so on.
    """
    ordered = check_log(log).sort("user", "time", maintain_order=True)
    pause = pl.col("time").diff().over("user") > gap
    marked = ordered.with_columns(pause=pause.fill_null(False).cast(pl.Int64))
    numbered = marked.with_columns(number=pl.col("pause").cum_sum().over("user"))
    session = pl.format("{}/{}", pl.col("user"), pl.col("number"))
    return numbered.select(session.alias("user"), "item", "time")


def windows_of(
    log: pl.DataFrame, *, val: float = 0.1, test: float = 0.1
) -> dict[str, pl.DataFrame]:
    """Cut a log by time: the latest events are test, those before them val, the rest train.

    Args:
        log: columns user, item and time.
        val, test: the shares of the events, within [0, 1) together.

    Raises:
        ConfigError: the shares are no shares.
    """
    events = check_log(log)
    to_val, to_test = time_cuts(events["time"].cast(pl.Float64).to_numpy(), val=val, test=test)
    time = pl.col("time")
    return {
        "train": events.filter(time < to_val),
        "val": events.filter((time >= to_val) & (time < to_test)),
        "test": events.filter(time >= to_test),
    }


def check_log(log: pl.DataFrame) -> pl.DataFrame:
    """Return columns user, item (String) and time of a log, without rows that lack one.

    Raises:
        CatalogError: a column is missing.
    """
    for name in ("user", "item", "time"):
        if name not in log.columns:
            raise CatalogError(
                f"The log has no column {name!r} (found: {', '.join(log.columns) or 'none'}); "
                "rename its columns to user, item and time."
            )
    return log.select(
        pl.col("user").cast(pl.String), pl.col("item").cast(pl.String), pl.col("time")
    ).drop_nulls()


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path, infer_schema_length=None)
    if path.suffix == ".csv":
        return pl.read_csv(path, infer_schema=False)  # ids such as 007 stay as they are
    raise CatalogError(
        f"{path} has the suffix {path.suffix!r}; logs are read from {', '.join(TABLE_SUFFIXES)}."
    )


def _seconds(times: pl.Series) -> pl.Series:
    """Return times as seconds; of text each value by itself, as a number or as a date."""
    if times.dtype.is_nested():
        raise pl.exceptions.InvalidOperationError(f"{times.dtype} holds no times")
    if times.dtype.is_temporal():
        return times.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    if times.dtype != pl.String:
        return times.cast(pl.Float64)
    # Of what ISO 8601 and databases write for a zone, polars reads Z, +02:00 and +0200.
    text = times.str.strip_chars().str.replace(r"\s*(UTC|GMT)$", "Z")
    text = text.str.replace(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", "${1}:00")
    # Parted, as polars finds the format by one value and holds the others against it.
    zoned = text.str.contains(r":\d\d\S*(Z|[+-]\d\d:?\d\d)$")
    found = text.cast(pl.Float64, strict=False)
    for part, zone in ((~zoned, None), (zoned, "UTC")):
        dates = text.set(~part, None)
        with suppress(pl.exceptions.ComputeError):  # of polars 1, where no value is a date
            moments = dates.str.to_datetime(time_zone=zone, strict=False)
            found = found.zip_with(found.is_not_null(), moments.dt.epoch("us") / 1e6)
    return found

"""Reading logs of who looked at what and when, and cutting them into sessions and windows.

A log is read as every other table is (tables.py). A time is a date with the year first, as ISO 8601
writes it (2015-06-02, also as the day of a week, 2015-W23-2, or of the year, 2015-153), or a
number. Numbers that are moments of 1980 to 2100 when they count seconds, milliseconds, microseconds
or nanoseconds since 1970 are taken as that; so are whole dates in digits alone, 20150602. Any other
form of a date needs its format: which of 06/02 is the month is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tgqformer.catalog.columns import text_column
from tgqformer.catalog.pair_rules import id_column
from tgqformer.catalog.quarantine import DROPPED, Quarantine, shown
from tgqformer.catalog.splits import time_cuts
from tgqformer.catalog.tables import Table, likely_meant, read_table
from tgqformer.catalog.values import MISSING_TEXTS
from tgqformer.errors import CatalogError, ConfigError

_DAY = 86_400.0
_SIZED = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
TIME_UNITS = {**_SIZED, "d": 1 / _DAY, "excel": 1 / _DAY}
"""What a number may count since 1970, and how many of it make a second; Excel counts days since
1899-12-30. Only the first four show by their size."""

_UNIT_NAMES = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "d": "days",
    "excel": "days",
}  # fmt: skip
_EXCEL_1970 = 25_569.0
_SERIALS = (3_652.0, 73_051.0)  # days: since 1970 in 1980, since 1899-12-30 in 2100
_FIRST, _LAST = 315_532_800.0, 4_102_444_800.0  # seconds: 1980 and 2100
_MOST = 0.9  # of the numbers must agree on a unit

_CLOCK = r"([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)?)?$"
_ISO = rf"^\d{{4}}-\d{{2}}-\d{{2}}{_CLOCK}"
_DATES = {
    "%Y-%m-%d": _ISO,
    "%G-W%V-%u": rf"^\d{{4}}-W\d{{2}}-[1-7]{_CLOCK}",
    "%Y-%j": rf"^\d{{4}}-\d{{3}}{_CLOCK}",
}
_WRITINGS = (  # of the same dates, as programs and people have them
    (r"^(\d{4})(\d{2})(\d{2})T(\d{2}):?(\d{2})", "${1}-${2}-${3}T${4}:${5}"),
    (r"^(\d{4})W(\d{2})(\d)", "${1}-W${2}-${3}"),
    (r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(T| |$)", "${1}-0${2}-0${3}${4}"),
    (r"^(\d{4})-0(\d{2})-", "${1}-${2}-"),
    (r"^(\d{4}-\d{2})-0(\d{2})", "${1}-${2}"),
    (r"([T ]\d{2}:\d{2})(\d{2})", "${1}:${2}"),
    (r"[T ](\d):", "T0${1}:"),
)
_NO_DAY = r"^(\d{4}|\d{4}-\d{2}|\d{4}-?W\d{2})$"
_FORMATS = (
    "%d %b %Y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S", "%b %d, %Y", "%b %d, %Y %H:%M",
    "%b %d, %Y %I:%M %p", "%B %d, %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%a %b %d %Y %H:%M:%S",
    "%Y-%m-%d %I:%M %p", "%Y-%m-%d %I:%M:%S %p",
)  # fmt: skip
"""What dates look like that name their month, or have their year first."""
_DIGITS = {
    8: r"^(19[89]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$",
    12: r"^(19[89]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d$",
    14: r"^(19[89]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){2}$",
}
_DIGIT_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_PARTS = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})"
    r"(?:[T, ]+\d{1,2}:\d{2}(:\d{2})?(\.\d+)?( ?[AaPp][Mm])?)?"
)


@dataclass(frozen=True, slots=True)
class Log:
    """A log as read.

    Attributes:
        events: user, item (String) and time (Float64): seconds since 1970, or what `unit` says.
        rows: of the file, with those that were left out.
        unit: "s", "ms", "us" or "ns" where the times are numbers that counted this since 1970,
            "date" where they are dates, "number" where they are numbers of no known unit, "row"
            where the order of the rows stands for them.
        others: rows of the file that were not asked for, among `rows`.
        unread: columns that nothing reads.
    """

    events: pl.DataFrame
    rows: int
    unit: str
    others: int = 0
    unread: tuple[str, ...] = ()

    def span(self) -> str:
        """Return what the times are and from when to when, as a person reads it."""
        if not self.events.height or self.unit == "row":
            return "the order of the rows"
        times = self.events["time"].to_numpy()
        first, last = float(times.min()), float(times.max())
        if self.unit == "number":
            serial = _SERIALS[0] <= first and last <= _SERIALS[1]
            named = "; days are --time-unit d, or of Excel --time-unit excel" if serial else ""
            return f"numbers of no known unit, {first:.15g} to {last:.15g}{named}"
        ends = pl.from_epoch(pl.Series([first, last]).cast(pl.Int64), time_unit="s")
        told = " to ".join(ends.dt.strftime("%Y-%m-%d %H:%M").to_list())
        since = "1899-12-30" if self.unit == "excel" else "1970"
        what = "dates" if self.unit == "date" else f"{_UNIT_NAMES[self.unit]} since {since}"
        return f"{what}, {told} UTC"


def read_log(
    path: str | Path,
    *,
    user: str = "user",
    item: str = "item",
    time: str | None = "time",
    time_format: str | None = None,
    time_unit: str | None = None,
    quarantine: Quarantine | None = None,
) -> pl.DataFrame:
    """Read a log from a Parquet, JSONL or CSV file, as `read_events` does.

    Returns:
        Columns user (String), item (String), time (Float64, see `Log`). Rows without a user, an
        item or a time are left out.
    """
    given = Quarantine() if quarantine is None else quarantine
    return read_events(
        path,
        user=user,
        item=item,
        time=time,
        time_format=time_format,
        time_unit=time_unit,
        quarantine=given,
    ).events


def read_events(
    path: str | Path,
    *,
    user: str,
    item: str,
    time: str | None,
    quarantine: Quarantine,
    time_format: str | None = None,
    time_unit: str | None = None,
    only: Mapping[str, Sequence[str]] | None = None,
) -> Log:
    """Read a log, and what its times are.

    Args:
        path: the file.
        user, item, time: what its columns are called; no time, and the order of the rows stands for
            it.
        quarantine: takes the rows that are left out.
        time_format: of dates that are not those of ISO 8601, ``"%m/%d/%Y %H:%M"`` say, in the
            letters of Python's strptime.
        time_unit: what numbers count, of TIME_UNITS; found where None, as far as sizes show it.
        only: column to values, ``{"event": ["view", "purchase"]}``: other rows are not asked for.

    Raises:
        CatalogError: the file or a column cannot be read, or its times are of several units.
        ConfigError: the unit is unknown, or the format names no year, month and day.
    """
    _check_time_options(time_format, time_unit)
    source, reading = Path(path), Quarantine()
    table = read_table(source, "log", reading)
    lost = sum(entry.action == DROPPED for entry in reading)
    quarantine.extend(reading)
    wanted = [user, item] if time is None else [user, item, time]
    for name in [*wanted, *(only or ())]:
        if name not in table.columns and (table.columns or len(table.rows)):
            raise CatalogError(
                f"{source} has no column {name!r} (found: {', '.join(table.columns) or 'none'}); "
                f"say what the columns for user, item and time are called{_likely(table)}."
            )
    unread = tuple(name for name in table.columns if name not in (*wanted, *(only or ())))
    asked = _asked_for(table, only or {})
    rows = len(table.rows)
    columns: dict[str, Any] = {name: _flat_series(table, name).filter(asked) for name in wanted}
    table = Table("log", table.rows[asked.to_numpy()], columns)
    kinds = {name: pl.Series(values).dtype for name, values in table.columns.items()}
    unfit = CatalogError(
        f"The columns of {source} have the types "
        f"{', '.join(f'{name} {kind}' for name, kind in kinds.items())}; users and items are text "
        "or numbers and times numbers or dates, so convert them."
    )
    if any(kind.is_nested() or kind == pl.Binary for kind in kinds.values()):
        raise unfit
    told: pl.Series | None = None if time is None else pl.Series(table.columns[time])
    seconds, unit = pl.Series(table.rows - 1, dtype=pl.Float64), "row"
    if told is not None:
        try:
            seconds, unit = _seconds(told, time_format, time_unit, source)
        except pl.exceptions.PolarsError as error:
            raise unfit from error
    frame = pl.DataFrame(
        {
            "row": table.rows,
            "user": id_column(table, user, quarantine),
            "item": id_column(table, item, quarantine),
            "time": seconds,
            "told": seconds if told is None else told,
        }
    )
    for field, name in (("user", user), ("item", item)):
        empty = frame[field].str.strip_chars().is_in(list(MISSING_TEXTS))
        reason = f"the row names no {field}; complete it"
        quarantine.add_rows("log", frame["row"].filter(empty), name, f"no {field}", reason)
        frame = frame.filter(~empty)
    bad = ~frame["time"].is_finite().fill_null(False)
    if time is not None and bad.any():
        reasons = _time_reasons(frame["told"].filter(bad), time_format, unit)
        quarantine.add_rows("log", frame["row"].filter(bad), time, "no time", reasons)
    events = frame.filter(~bad).select("user", "item", "time")
    return Log(events, rows + lost, unit, rows - len(table.rows), unread)


def _asked_for(table: Table, only: Mapping[str, Sequence[str]]) -> pl.Series:
    """Return which rows have one of the wanted values in each of the columns."""
    asked = pl.Series([True], dtype=pl.Boolean).new_from_index(0, len(table.rows))
    for name, values in only.items():
        told = text_column(table, name, Quarantine()).str.strip_chars()
        asked &= told.is_in(list(values))
        if not asked.any() and len(told):
            found = ", ".join(map(shown, told.unique().sort().head(10).to_list()))
            raise CatalogError(
                f"No row of the log has {name} {' or '.join(map(shown, values))} (found: {found}); "
                "name values that are there."
            )
    return asked


def _likely(table: Table) -> str:
    """Return options for the columns that a log likely means by user, item and time."""
    wanted = ["user", "item", "time"]
    meant: dict[str, str] = {}
    for name in table.columns:
        meant.setdefault(likely_meant(name, [w for w in wanted if w not in meant]), name)
    told = ", ".join(f"--{name} {meant[name]}" for name in wanted if meant.get(name, name) != name)
    return f" ({told}?)" if told else ""


def _flat_series(table: Table, name: str) -> pl.Series:
    """Return a column as a series: of texts where any value is one, and else of what they are."""
    values = table.columns.get(name, [])
    if isinstance(values, pl.Series):
        return values
    nested = [isinstance(value, (list, Mapping)) for value in values]
    if any(nested) and not all(deep or value is None for deep, value in zip(nested, values)):
        values = [None if deep else value for deep, value in zip(nested, values)]
    if any(isinstance(value, str) for value in values):
        texts = [None if value is None else _plain(value) for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    return pl.Series(name, values, strict=False)


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _check_time_options(time_format: str | None, time_unit: str | None) -> None:
    if time_unit is not None and time_unit not in TIME_UNITS:
        raise ConfigError(f"{time_unit!r} is no unit of time; use one of {', '.join(TIME_UNITS)}.")
    if time_format is None:
        return
    if time_unit is not None:
        raise ConfigError("A format of dates and a unit of numbers exclude each other; give one.")
    parts = re.findall(r"%[-_0]?(.)", time_format)
    lacks = [
        what
        for what, letters in (("year", "YyGFDcxs"), ("month", "mbBhjFDcxs"), ("day", "dejFDcxs"))
        if not set(letters) & set(parts)
    ]
    if lacks:
        raise ConfigError(
            f"The format {time_format!r} names no {lacks[0]}; write it as in '%d/%m/%Y %H:%M'."
        )


def _seconds(
    times: pl.Series, time_format: str | None, time_unit: str | None, source: Path
) -> tuple[pl.Series, str]:
    """Return times as seconds, null where they cannot be read, and what they are (`Log.unit`)."""
    if times.dtype == pl.Time or times.dtype == pl.Duration:
        raise pl.exceptions.InvalidOperationError(f"{times.dtype} is no moment")
    if times.dtype.is_temporal():
        return times.cast(pl.Datetime("us")).dt.epoch("us") / 1e6, "date"
    text = _told(times)
    if time_format is not None:
        return _by_format(text, time_format), "date"
    numbers = (text if times.dtype == pl.String else times).cast(pl.Float64, strict=False)
    dates = _iso(text)
    found, unit = _by_unit(numbers, text, time_unit, source)
    if unit == "number" and dates.count():
        found = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(times))
    seconds = dates.zip_with(dates.is_not_null(), found)
    return seconds, unit if found.count() else "date"


def _told(times: pl.Series) -> pl.Series:
    """Return times as texts, "" where one is missing in whatever writing."""
    text = times.cast(pl.String).fill_null("").str.strip_chars()
    return text.set(text.is_in(list(MISSING_TEXTS)), "")


def _by_format(text: pl.Series, time_format: str) -> pl.Series:
    # Of strptime's letters only the fraction of a second has another name here.
    parsed = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(text))
    with suppress(pl.exceptions.ComputeError):  # of polars 1, where no value fits
        moments = text.str.to_datetime(time_format.replace(".%f", "%.f"), strict=False)
        parsed = moments.dt.epoch("us") / 1e6
    return parsed


def _iso(text: pl.Series) -> pl.Series:
    """Return dates with the year first as seconds, null for other texts; UTC without a zone."""
    told = text.str.to_uppercase()
    odd = ~told.str.contains(_ISO).fill_null(False)
    if odd.any():
        other = told
        for pattern, writing in _WRITINGS:
            other = other.str.replace(pattern, writing)
        told = other.zip_with(odd, told)
    clock = told.str.extract(r"^[^T ]+[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)").fill_null("00:00")
    clock = clock.str.replace(",", ".", literal=True).str.replace(r"^(\d\d:\d\d)$", "${1}:00")
    late = clock.str.contains(r"^24:00:00(\.0+)?$")  # the end of the day
    clock = clock.set(late, "00:00:00")
    zone = told.str.extract(r":\d\d(?:[.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
    zone = zone.str.replace(r"^(Z|UTC|GMT)$", "+00:00").fill_null("+00:00")
    zone = zone.str.replace(r"^([+-]\d\d):?(\d\d)?$", "${1}:${2}").str.replace(":$", ":00")
    result = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(text))
    for form, pattern in _DATES.items():
        fit = told.str.contains(pattern).fill_null(False)
        if fit.any():
            known = told.set(~fit, None).str.extract(r"^([^T ]+)")
            found = _by_format(known + " " + clock + zone, f"{form} %H:%M:%S.%f%z")
            result = found.zip_with(fit, result)
    return result + late.cast(pl.Float64) * _DAY


def _by_unit(
    numbers: pl.Series, text: pl.Series, time_unit: str | None, source: Path
) -> tuple[pl.Series, str]:
    if time_unit is not None:
        start = _EXCEL_1970 if time_unit == "excel" else 0.0
        return (numbers - start) / TIME_UNITS[time_unit], time_unit
    finite = numbers.filter(numbers.is_finite().fill_null(False))
    if not len(finite):
        return numbers, "number"
    digits = text.filter(numbers.is_finite().fill_null(False))
    for length, pattern in _DIGITS.items():
        if digits.str.contains(pattern).all():
            return _by_format(text, _DIGIT_FORMATS[length]), "date"
    within = {
        unit: int(finite.is_between(_FIRST * factor, _LAST * factor).sum())
        for unit, factor in _SIZED.items()
    }
    unit = max(within, key=lambda name: within[name])
    if within[unit] >= _MOST * len(finite):
        factor = _SIZED[unit]
        fit = numbers.is_between(_FIRST * factor, _LAST * factor).fill_null(False)
        return (numbers / factor).set(~fit, None), unit
    if any(count for name, count in within.items() if name != "s"):
        told = " and ".join(
            f"{count:,} times in {_UNIT_NAMES[name]}" for name, count in within.items() if count
        )
        raise CatalogError(
            f"{source} has {told} among {len(finite):,}, as far as 1980 to 2100 goes; bring them "
            "to one unit, or name it (--time-unit)."
        )
    return numbers, "number"


def _time_reasons(values: pl.Series, time_format: str | None, unit: str) -> pl.Series:
    """Return for each time that cannot be read why, and what to do."""
    text = _told(values)
    short = text.str.slice(0, 60)
    number = text.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    upper = text.str.to_uppercase()
    if time_format is not None:
        other = f"' does not have the format '{time_format}'; correct it"
    else:
        other = f"' is no number and no date of ISO 8601; {_suggestion(text)}"
    far = f"' is no moment of 1980 to 2100 in {_UNIT_NAMES.get(unit, 'seconds')}, as the others are"
    free = pl.lit(time_format is None)
    return pl.select(
        pl.when(text == "")
        .then(pl.lit("the row has no time; complete it"))
        .when(upper.str.contains(_NO_DAY) & free)
        .then(pl.format("the time '{}' names no day; write the day, as in 2024-01-31", short))
        .when(number & free)
        .then(pl.format("the time '{}{}", short, pl.lit(f"{far}; correct it")))
        .when(upper.str.contains(_ISO) & free)
        .then(pl.format("the time '{}' is no day or hour that there is; correct it", short))
        .otherwise(pl.format("the time '{}{}", short, pl.lit(other)))
    ).to_series()


def _suggestion(text: pl.Series) -> str:
    """Return which format to name for dates that are not ISO, as far as they show it."""
    values = [value for value in text.head(10_000).to_list() if value]
    found = [m for value in values if (m := _PARTS.fullmatch(value))]
    if not found:
        named = next((form for form in _FORMATS if values and _has_form(values[0], form)), None)
        if named is not None:
            return f"name its format with --time-format '{named}'"
        return "name its format with --time-format, as in '%d %b %Y %H:%M'"
    first = found[0]
    year = "%Y" if len(first[4]) == 4 else "%y"
    clock = ""
    if ":" in first[0]:
        between = re.split(r"\d", first[0][first.end(4) :])[0]
        clock = between + ("%I:%M" if first[7] else "%H:%M") + (":%S" if first[5] else "")
        clock += (".%f" if first[6] else "") + ((first[7] or "").rstrip("AaPpMm") + "%p") * bool(
            first[7]
        )
    mark = first[2]
    day_first, month_first = f"%d{mark}%m{mark}{year}{clock}", f"%m{mark}%d{mark}{year}{clock}"
    if any(int(m[1]) > 12 for m in found):
        return f"name its format with --time-format '{day_first}'"
    if any(int(m[3]) > 12 for m in found):
        return f"name its format with --time-format '{month_first}'"
    return f"name its format, --time-format '{day_first}' or '{month_first}'"


def _has_form(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


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

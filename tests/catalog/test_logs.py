"""Laws of logs: a bad row costs itself alone, and no time and no id is guessed in silence."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.logs import Log, read_events, read_log
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.errors import CatalogError, ConfigError

MOMENT = datetime(2015, 6, 2, 5, 52, 12, tzinfo=timezone.utc).timestamp()


def events(path: Path, **options: str) -> tuple[Log, Quarantine]:
    quarantine = Quarantine()
    names = {"user": "user", "item": "item", "time": "time"}
    return read_events(path, **names, quarantine=quarantine, **options), quarantine


def log_of(tmp_path: Path, times: list[object], suffix: str = ".csv") -> Path:
    path = tmp_path / f"log{suffix}"
    if suffix == ".csv":
        path.write_text("user,item,time\n" + "".join(f"u,i{n},{t}\n" for n, t in enumerate(times)))
    elif suffix == ".jsonl":
        rows = ({"user": "u", "item": f"i{n}", "time": t} for n, t in enumerate(times))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        items = [f"i{n}" for n in range(len(times))]
        pl.DataFrame({"user": "u", "item": items, "time": times}).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("log.csv", "user,item,time\nu,a,1\nv,b,2,extra\nw,c\nx,d,3\n", [2, 3]),
        ("log.csv", 'user,item,time\nu,a,1\nv,"b,2,extra\nx,d,3\n', [2]),
        ("log.TSV", "user\titem\ttime\nu\ta\t1\n\tb\t2\nx\td\t3\n", [2]),
        ("log.txt", "user;item;time\r\nu;a;1\r\nv; ;2\r\nw;c;noon\r\nx;d;3\r\n", [2, 3]),
        ("log.jsonl", '{"user":"u","item":"a","time":1}\nbroken\n[1]\n'
         '{"user":"x","item":"d","time":3}\n', [2, 3]),
        ("log.json", '[{"user":"u","item":"a","time":1},{"user":"v","time":2},'
         '{"user":"x","item":"d","time":3},{"user":"x","item":["d"],"time":3}]', [2, 4]),
    ],
)  # fmt: skip
def test_a_bad_row_costs_itself_alone(
    tmp_path: Path, name: str, text: str, rows: list[int]
) -> None:
    path = tmp_path / name
    path.write_text(text, newline="")
    log, quarantine = events(path)
    assert log.events.rows() == [("u", "a", 1.0), ("x", "d", 3.0)]
    assert [(entry.table, entry.row) for entry in quarantine] == [("log", row) for row in rows]
    assert log.rows == len(rows) + 2
    assert read_log(path).equals(log.events)
    quarantine.save(tmp_path / "left.csv")
    assert pl.read_csv(tmp_path / "left.csv")["row"].to_list() == rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
def test_the_unit_of_numbers_shows_by_their_size(
    tmp_path: Path, suffix: str, unit: str, factor: int
) -> None:
    whole = [(int(MOMENT) + n) * factor for n in range(10)]
    log, quarantine = events(log_of(tmp_path, list(whole), suffix))
    assert log.unit == unit
    assert log.events["time"].to_list() == pytest.approx([MOMENT + n for n in range(10)])
    assert "2015-06-02 05:52" in log.span()
    assert not len(quarantine)
    log, quarantine = events(log_of(tmp_path, [*whole, 0], suffix))
    assert (log.unit, log.events.height, [e.row for e in quarantine]) == (unit, 10, [11])
    named, _ = events(log_of(tmp_path, [0, 5 * factor], suffix), time_unit=unit)
    assert named.events["time"].to_list() == [0.0, 5.0]


def test_numbers_of_no_unit_stay_as_they_are(tmp_path: Path) -> None:
    log, _ = events(log_of(tmp_path, [0, 1, 2.5, -3]))
    assert (log.unit, log.events["time"].to_list()) == ("number", [0.0, 1.0, 2.5, -3.0])


def test_numbers_of_two_units_are_refused(tmp_path: Path) -> None:
    path = log_of(tmp_path, [int(MOMENT), int(MOMENT) * 1000] * 3)
    with pytest.raises(
        CatalogError, match="3 times in seconds and 3 times in milliseconds among 6"
    ):
        events(path)


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (["20150602", "20150603"], "date"),
        (["201506020000", "201506030000"], "date"),
        (["20150602000000", "20150603000000"], "date"),
        ([20150602, 20150603], "date"),
        (["2015-06-02", "2015-06-03T00:00:00,000+00"], "date"),
    ],
)
def test_whole_dates_are_dates(tmp_path: Path, times: list[object], unit: str) -> None:
    log, _ = events(log_of(tmp_path, times, ".parquet"))
    assert log.unit == unit
    assert log.events["time"].to_list() == [1433203200.0, 1433203200.0 + 86_400]


AMBIGUOUS = {
    "%m/%d/%Y %H:%M": ["06/02/2015 05:52", "06/15/2015 05:52"],
    "%d.%m.%Y %H:%M:%S": ["02.06.2015 05:52:12", "15.06.2015 05:52:12"],
    "%d/%m/%y": ["02/06/15", "15/06/15"],
    "%m/%d/%Y %I:%M %p": ["6/2/2015 5:52 AM", "6/15/2015 5:52 PM"],
    "%m-%d-%Y %H:%M:%S.%f": ["06-02-2015 05:52:12.25", "06-15-2015 05:52:12.5"],
}


@pytest.mark.parametrize("form", AMBIGUOUS)
def test_other_dates_are_read_by_their_format_alone(tmp_path: Path, form: str) -> None:
    path = log_of(tmp_path, [*AMBIGUOUS[form], ""], ".parquet")
    log, quarantine = events(path)
    assert log.events.is_empty()
    assert [entry.row for entry in quarantine] == [1, 2, 3]
    assert f"--time-format '{form}'" in str(next(iter(quarantine)))
    log, quarantine = events(path, time_format=form)
    days = pl.from_epoch(log.events["time"].cast(pl.Int64)).dt.strftime("%Y-%m-%d").to_list()
    assert days == ["2015-06-02", "2015-06-15"]
    assert [entry.row for entry in quarantine] == [3]


def test_where_no_date_tells_month_from_day_both_are_named(tmp_path: Path) -> None:
    _, quarantine = events(log_of(tmp_path, ["06/02/2015", "07/03/2015"]))
    assert "'%d/%m/%Y' or '%m/%d/%Y'" in str(next(iter(quarantine)))


def test_dates_with_names_and_zones_by_their_format(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["02/Jun/2015:07:52:12 +0200", "never"])
    log, quarantine = events(path, time_format="%d/%b/%Y:%H:%M:%S %z")
    assert log.events["time"].to_list() == [MOMENT]
    assert "'never' does not have the format '%d/%b/%Y:%H:%M:%S %z'" in str(next(iter(quarantine)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time_format": "%H:%M"}, "names no year"),
        ({"time_format": "%Y-%m"}, "names no day"),
        ({"time_unit": "min"}, "'min' is no unit of time; use one of s, ms, us, ns"),
        ({"time_format": "%Y%m%d", "time_unit": "s"}, "exclude each other"),
    ],
)
def test_bad_options_of_times(tmp_path: Path, options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        events(log_of(tmp_path, [1]), **options)


def test_ids_that_became_floats_are_whole_numbers_everywhere(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1.0, 2.0, None], "item": [461686.0, 461687.0, 5.0], "time": 1})
    frame.write_parquet(tmp_path / "log.parquet")
    assert read_log(tmp_path / "log.parquet").rows() == [("1", "461686", 1.0), ("2", "461687", 1.0)]
    pl.DataFrame({"item_id": [461686.0, 461687.0]}).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"query_id": [461686.0], "target_id": [461687.0]}).write_parquet(
        tmp_path / "pairs.parquet"
    )
    pl.DataFrame({"item_id": [461687.0], "n": [1]}).write_parquet(tmp_path / "labels.parquet")
    catalog = Catalog.load(tmp_path, strict=True)
    assert [item.item_id for item in catalog.items] == ["461686", "461687"]
    assert catalog.labels is not None
    assert catalog.labels["n"].to_list() == [None, 1]
    rows = [{"item_id": 8.0}, {"item_id": "x.0"}]
    assert [item.item_id for item in Catalog.from_rows(rows).items] == ["8", "x.0"]


TWINS = {
    ("0108775015", "108775015"): "leading zeros",
    ("461686", "461686.0"): "a decimal place",
    ("abc-1", "ABC-1"): "upper and lower case",
    ("A1", " A1"): "spaces or quotes",
    ("A1", "'A1'"): "spaces or quotes",
    ("0042", "42.0"): "a decimal place and leading zeros",
}


@pytest.mark.parametrize(("known", "told"), TWINS)
def test_an_id_that_lost_its_form_is_shown_beside_the_items(known: str, told: str) -> None:
    items = [{"item_id": known}, {"item_id": "other"}]
    pairs = [{"query_id": "other", "target_id": told}, {"query_id": "other", "target_id": "gone"}]
    labels = [{"item_id": told, "n": 1}]
    reasons = [e.reason for e in Catalog.from_rows(items, pairs, labels).quarantine]
    assert len(reasons) == 3
    for reason in (reasons[0], reasons[2]):
        assert f"no item has the id {told!r}; {known!r} is one, and differs in" in reason
        assert TWINS[known, told] in reason
    assert "add the item or remove the pair" in reasons[1]

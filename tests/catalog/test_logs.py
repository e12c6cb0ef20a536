"""Laws of logs: a bad row costs itself alone, and no time and no id is guessed in silence."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.logs import Log, read_events, read_log
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.errors import CatalogError, ConfigError

MOMENT = datetime(2015, 6, 2, 5, 52, 12, tzinfo=timezone.utc).timestamp()


def events(path: Path, **options: Any) -> tuple[Log, Quarantine]:
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


DATES = {
    "2015-W23-2": "2015-06-02 00:00", "2015W232": "2015-06-02 00:00",
    "2015-153": "2015-06-02 00:00", "20150602T0552Z": "2015-06-02 05:52",
    "20150602T075212+0200": "2015-06-02 05:52", "2015/6/2 5:52": "2015-06-02 05:52",
    "2015.06.02": "2015-06-02 00:00", "2015-06-01T24:00": "2015-06-02 00:00",
}  # fmt: skip


@pytest.mark.parametrize("told", DATES)
def test_a_date_with_its_year_first_is_read_however_written(tmp_path: Path, told: str) -> None:
    log, quarantine = events(log_of(tmp_path, ["2015-06-01", told]))
    assert (log.unit, len(quarantine)) == ("date", 0)
    moments = pl.from_epoch(log.events["time"].cast(pl.Int64)).dt.strftime("%Y-%m-%d %H:%M")
    assert moments.to_list() == ["2015-06-01 00:00", DATES[told]]


NO_DATES = {
    "2015-W23": "names no day", "2015-06": "names no day", "2015-02-30": "no day or hour that",
    "NULL": "the row has no time", "Jun 2, 2015": "--time-format '%b %d, %Y'",
    "02/Jun/2015:05:52:12 +0000": "--time-format '%d/%b/%Y:%H:%M:%S %z'",
}  # fmt: skip


@pytest.mark.parametrize("told", NO_DATES)
def test_what_is_no_moment_says_why(tmp_path: Path, told: str) -> None:
    log, quarantine = events(log_of(tmp_path, ["2015-06-01", told], ".jsonl"))
    assert log.events.height == 1
    assert NO_DATES[told] in next(iter(quarantine)).reason


def test_days_of_a_spreadsheet_are_told_and_read_when_named(tmp_path: Path) -> None:
    path = log_of(tmp_path, [42157, 42157.5])
    log, _ = events(path)
    assert log.unit == "number"
    assert "--time-unit excel" in log.span()
    log, _ = events(path, time_unit="excel")
    assert log.span() == "days since 1899-12-30, 2015-06-02 00:00 to 2015-06-02 12:00 UTC"
    log, _ = events(log_of(tmp_path, [16588]), time_unit="d")
    assert log.span().startswith("days since 1970, 2015-06-02")


def test_what_stands_for_nothing_is_no_user_and_no_item(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    missing = ["NULL", "nan", "(not set)", " ", "N/A", "-"]
    path.write_text(
        "user,item,time\n" + "".join(f"{m},a,1\nu,{m},1\n" for m in missing) + " v ,a,1\n"
    )
    log, quarantine = events(path)
    assert log.events.rows() == [("v", "a", 1.0)]
    counts = quarantine.counts()
    assert (counts["log: no user"], counts["log: no item"]) == (6, 6)
    assert counts["log: marks around ids"] == 1


def test_rows_of_other_kinds_are_counted_and_columns_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time,event,bot\nu,a,1,view,0\nu,b,2,buy,0\nv,a,3,cart,0\n")
    log, quarantine = events(path)
    assert (log.unread, log.events.height) == (("event", "bot"), 3)
    log, quarantine = events(path, only={"event": ["buy", "view"]})
    assert (log.rows, log.others, log.events.height, log.unread) == (3, 1, 2, ("bot",))
    assert not len(quarantine)
    with pytest.raises(CatalogError, match="No row of the log has event 'sale' .found: 'buy'"):
        events(path, only={"event": ["sale"]})
    with pytest.raises(CatalogError, match="no column 'kind'"):
        events(path, only={"kind": ["sale"]})


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
    ("10", "product:10"): "a prefix",
    ("10", "gid://shop/Product/10"): "a prefix",
    ("SKU-4", "SKU4"): "signs between letters and digits",
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


def test_marks_around_ids_are_left_out_on_every_side(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text('item_id\n="0042"\n\'0043\n" 7 "\n')
    (tmp_path / "pairs.csv").write_text('query_id, target_id\n0042, 0043\n="0043",7\n')
    (tmp_path / "labels.csv").write_text("item_id,n\n 0042,5\n")
    catalog = Catalog.load(tmp_path)
    assert [item.item_id for item in catalog] == ["0042", "0043", "7"]
    assert [(p.query_id, p.target_id) for p in catalog.pairs] == [("0042", "0043"), ("0043", "7")]
    assert catalog.labels is not None
    assert catalog.labels["n"].to_list() == [5, None, None]
    told = {(e.table, e.field): e.reason for e in catalog.quarantine}
    assert "3 of 3 ids" in told["items", "item_id"]
    assert set(told) == {
        ("items", "item_id"), ("pairs", "query_id"), ("pairs", "target_id"), ("labels", "item_id"),
    }  # fmt: skip


def test_ids_that_a_spreadsheet_has_shortened_are_told() -> None:
    ids = ["4.06E+12", "4.06E+12", "E+1"]
    catalog = Catalog.from_rows([{"item_id": item_id} for item_id in ids])
    assert catalog.quarantine.counts() == {"items: duplicate id": 1, "items: shortened ids": 1}


def test_a_prefix_that_two_items_could_have_names_none() -> None:
    catalog = Catalog.from_rows(
        [{"item_id": "A-1"}, {"item_id": "B-1"}], [{"query_id": "1", "target_id": "B1"}]
    )
    assert "add the item" in next(iter(catalog.quarantine)).reason


def test_groups_and_pools_that_stand_for_nothing_bind_nothing(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\na\nb\nc\nd\ne\nf\n")
    (tmp_path / "labels.csv").write_text(
        "item_id,item_group_id,pool\na,NULL,\nb,NULL,N/A\nc,1.10,Val\nd,1.1,test\ne,-,\nf, 1.1,x\n"
    )
    catalog = Catalog.load(tmp_path)
    one, two, three, four, five, six = catalog.groups.tolist()
    assert (one, two, five) == (-1, -1, -1)
    assert three != four == six
    assert catalog.pool_indices("val").tolist() == [0, 1, 2, 4]

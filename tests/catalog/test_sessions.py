"""Laws of pairs from logs: both measures equal a reckoning by hand and by brute force."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.catalog import sessions
from tgqformer.catalog.logs import read_log, sessions_of, windows_of
from tgqformer.catalog.sessions import pairs_from_log
from tgqformer.errors import CatalogError, ConfigError

# A shared machine may be slow at any moment; that is no fault of the code.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def log_of(baskets: dict[str, str]) -> pl.DataFrame:
    """A log from {user: items in the order of time}."""
    events = [
        (user, item, float(t)) for user, items in baskets.items() for t, item in enumerate(items)
    ]
    return pl.DataFrame(events, schema=["user", "item", "time"], orient="row")


def table_of(frame: pl.DataFrame) -> dict[tuple[str, str], float]:
    return {(query, target): weight for query, target, weight in frame.iter_rows()}


# Four users; a and b meet in u1, u2 and u3, and so on.
BY_HAND = {"u1": "abc", "u2": "ab", "u3": "abd", "u4": "cd"}


def test_cosine_by_hand() -> None:
    found = table_of(pairs_from_log(log_of(BY_HAND), method="cosine", min_users=1))
    half = [
        ("a", "b", 3 / math.sqrt(3 * 3)),
        ("a", "c", 1 / math.sqrt(3 * 2)),
        ("a", "d", 1 / math.sqrt(3 * 2)),
        ("b", "c", 1 / math.sqrt(3 * 2)),
        ("b", "d", 1 / math.sqrt(3 * 2)),
        ("c", "d", 1 / math.sqrt(2 * 2)),
    ]
    expected = {(i, j): w for i, j, w in half} | {(j, i): w for i, j, w in half}
    assert found == pytest.approx(expected)


def test_swing_by_hand() -> None:
    # a and b share u1, u2, u3; each two of these share {a, b}, so alpha + 2 = 3 stands below.
    found = table_of(pairs_from_log(log_of(BY_HAND), method="swing", alpha=1.0))
    u1, u2, u3 = (1 / math.sqrt(size) for size in (3, 2, 3))
    expected = (u1 * u2 + u1 * u3 + u2 * u3) / 3
    assert found == pytest.approx({("a", "b"): expected, ("b", "a"): expected})


LOGS = st.dictionaries(
    st.sampled_from("stuvwxyz"), st.text("abcdefg", min_size=1, max_size=8), min_size=1, max_size=8
)


def brute_force(
    baskets: dict[str, str], method: str, min_users: int
) -> dict[tuple[str, str], float]:
    sets = {user: set(items) for user, items in baskets.items()}
    items = sorted(set().union(*sets.values()))
    users = {item: {user for user in sets if item in sets[user]} for item in items}
    result = {}
    for i in items:
        for j in items:
            common = users[i] & users[j]
            if i == j or len(common) < min_users:
                continue
            if method == "cosine":
                weight = len(common) / math.sqrt(len(users[i]) * len(users[j]))
            else:
                weight = sum(
                    1 / math.sqrt(len(sets[u]) * len(sets[v])) / (0.7 + len(sets[u] & sets[v]))
                    for u, v in combinations(common, 2)
                )
            if weight > 0:
                result[i, j] = weight
    return result


@given(LOGS, st.sampled_from(["cosine", "swing"]), st.integers(1, 3))
@settings(RELAXED, max_examples=60)
def test_both_equal_brute_force(baskets: dict[str, str], method: str, min_users: int) -> None:
    found = pairs_from_log(log_of(baskets), method=method, min_users=min_users, alpha=0.7)
    assert table_of(found) == pytest.approx(brute_force(baskets, method, min_users))
    assert found.columns == ["query_id", "target_id", "weight"]


@given(LOGS, st.sampled_from(["cosine", "swing"]))
@settings(RELAXED, max_examples=30)
def test_top_k_is_the_head_of_the_whole_and_order_is_fixed(
    baskets: dict[str, str], method: str
) -> None:
    log = log_of(baskets)
    whole = pairs_from_log(log, method=method, min_users=1, top_k=100)
    head = pairs_from_log(log, method=method, min_users=1, top_k=2)
    assert head.equals(whole.group_by("query_id", maintain_order=True).head(2))
    assert whole["query_id"].is_sorted()
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=1)
    assert pairs_from_log(shuffled, method=method, min_users=1, top_k=2).equals(head)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "user": rng.integers(0, 60, 900),
            "item": rng.integers(0, 80, 900),
            "time": np.arange(900.0),
        }
    )
    whole = pairs_from_log(log, method="cosine")
    monkeypatch.setattr(sessions, "_BLOCK_ROWS", 100)
    assert pairs_from_log(log, method="cosine").equals(whole)
    assert whole.height > 100


@pytest.mark.parametrize("method", ["cosine", "swing"])
def test_of_a_long_history_the_latest_counts(method: str) -> None:
    baskets = {"u": "xyzab", "v": "xyzab", "w": "xa"}
    found = pairs_from_log(log_of(baskets), method=method, max_items_per_user=2)
    assert set(table_of(found)) == {("a", "b"), ("b", "a")}


def test_swing_takes_the_latest_users_of_an_item() -> None:
    log = pl.DataFrame(
        [(u, i, float(t)) for t, u in enumerate(("old", "mid", "new")) for i in ("a", "b")],
        schema=["user", "item", "time"],
        orient="row",
    )
    found = pairs_from_log(log, method="swing", max_users_per_item=2)
    assert table_of(found)["a", "b"] == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("method", ["cosine", "swing"])
def test_an_empty_log_gives_no_pairs(method: str) -> None:
    empty = log_of({}).cast({"user": pl.String, "item": pl.String, "time": pl.Float64})
    found = pairs_from_log(empty, method=method)
    assert found.height == 0
    assert found.columns == ["query_id", "target_id", "weight"]


def test_sessions_end_where_time_passes() -> None:
    log = pl.DataFrame(
        {
            "user": ["u", "v", "u", "u", "v"],
            "item": ["c", "x", "a", "b", "y"],
            "time": [100.0, 0.0, 0.0, 10.0, 11.0],
        }
    )
    cut = sessions_of(log, gap=10)
    assert set(cut.select("user", "item").iter_rows()) == {
        ("u/0", "a"),
        ("u/0", "b"),
        ("u/1", "c"),
        ("v/0", "x"),
        ("v/1", "y"),
    }


def test_windows_part_a_log_by_time() -> None:
    log = pl.DataFrame({"user": ["u"] * 10, "item": list("abcdefghij"), "time": range(10)})
    parts = windows_of(log.sample(fraction=1.0, shuffle=True, seed=0), val=0.2, test=0.1)
    assert {name: set(part["item"]) for name, part in parts.items()} == {
        "train": set("abcdefg"),
        "val": set("hi"),
        "test": set("j"),
    }


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_logs_of_every_format(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {"who": ["1", "2", None], "sku": ["007", "b", "c"], "ts": [5, 7, 9], "more": [1, 2, 3]}
    )
    path = tmp_path / f"log{suffix}"
    {".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson, ".csv": frame.write_csv}[
        suffix
    ](path)
    log = read_log(path, user="who", item="sku", time="ts")
    assert log.rows() == [("1", "007", 5.0), ("2", "b", 7.0)]
    assert read_log(path, user="who", item="sku", time=None)["time"].to_list() == [0.0, 1.0]


def test_dates_become_seconds(tmp_path: Path) -> None:
    moments = [datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 1)]
    pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "time": moments}).write_parquet(
        tmp_path / "log.parquet"
    )
    first, second = read_log(tmp_path / "log.parquet")["time"]
    assert second - first == 60
    assert first == 1704067200
    (tmp_path / "log.csv").write_text("user,item,time\nu,a,2024-01-01 00:00:00\nu,b,nonsense\n")
    assert read_log(tmp_path / "log.csv").rows() == [("u", "a", 1704067200.0)]


NOON = 1704110400.0
MOMENTS = [
    "2024-01-01T12:00:00Z",
    "2024-01-01T12:00:00.000Z",
    "2024-01-01 12:00:00 UTC",
    "2024-01-01T13:00:00+01:00",
    "2024-01-01T07:00:00-0500",
    "2024-01-01 12:00:00.000000+00",
    "2024-01-01T12:00:00",
    "2024-01-01 12:00",
    " 2024-01-01 12:00:00 ",
    "1704110400",
]


@given(st.permutations([*MOMENTS, "n/a", "", "inf"]))
@settings(RELAXED, max_examples=20)
def test_times_are_read_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, told: list[str]
) -> None:
    """Whatever form a time has, and whatever stands around it."""
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pl.DataFrame({"user": "u", "item": told, "time": told}).write_parquet(path)
    log = read_log(path)
    assert log["item"].to_list() == [text.strip() for text in told if text in MOMENTS]
    assert log["time"].to_list() == [NOON] * len(MOMENTS)


@pytest.mark.parametrize(("name", "value"), [("item", ["a"]), ("time", ["a"]), ("time", {"s": 1})])
def test_a_column_of_another_kind_says_so(tmp_path: Path, name: str, value: object) -> None:
    row = {"user": "u", "item": "a", "time": 1, name: value}
    pl.DataFrame([row]).write_ndjson(tmp_path / "log.jsonl")
    with pytest.raises(CatalogError, match=r"user String, item .*, time .*; users and items are"):
        read_log(tmp_path / "log.jsonl")


def test_bad_logs_and_options(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,item\nu,a\n")
    with pytest.raises(CatalogError, match=r"has no column 'user' \(found: who, item\)"):
        read_log(tmp_path / "log.csv")
    with pytest.raises(CatalogError, match="cannot be read"):
        read_log(tmp_path / "gone.parquet")
    (tmp_path / "log.xlsx").write_text("user,item\nu,a\n")
    with pytest.raises(CatalogError, match=r"tables are read from \.parquet, \.jsonl"):
        read_log(tmp_path / "log.xlsx")
    with pytest.raises(CatalogError, match="The log has no column 'time'"):
        pairs_from_log(pl.DataFrame({"user": [1], "item": [2]}))
    log = log_of(BY_HAND)
    for options in ({"top_k": 0}, {"min_users": 0}, {"alpha": 0.0}, {"method": "magic"}):
        with pytest.raises(ConfigError, match=next(iter(str(value) for value in options.values()))):
            pairs_from_log(log, **options)

"""Laws of `pairs`: what a log ties, split as promised, and nothing lost to a log that ties none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tgqformer.catalog.catalog import Catalog


@pytest.mark.parametrize(
    ("split", "promise"), [("random", "query"), ("cold", "cold"), ("time", "warm")]
)
def test_pairs_out_of_a_log_keep_the_promise_of_their_split(
    shop: Path, tmp_path: Path, tgqformer_json, split: str, promise: str
) -> None:
    catalog = tmp_path / "catalog"
    shutil.copytree(shop, catalog)
    options = ["-q", "--force", "--split", split, "--test", 0.3]
    told = tgqformer_json("pairs", catalog / "sessions.parquet", catalog, *options)
    checked = tgqformer_json("validate", catalog, "--promise", promise, "--no-images", "-q")
    assert checked["pairs"] == told["pairs"]
    assert min(told["pairs"].values()) > 0


def test_pairs_by_hand(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\nC\n")
    log = tmp_path / "clicks.csv"
    log.write_text("who,what\nu,A\nu,B\nv,A\nv,B\nw,C\nw,X\n")
    options = ["--method", "cosine", "--test", 0, "--val", 0, "-q"]
    options += ["--user", "who", "--item", "what", "--time", "none"]
    told = tgqformer_json("pairs", log, tmp_path, *options)
    assert told["pairs"] == {"train": 2, "val": 0, "test": 0}
    assert told["events of unknown items"] == 1
    made = {(pair.query_id, pair.target_id): pair.weight for pair in Catalog.load(tmp_path).pairs}
    assert made == {("A", "B"): 1.0, ("B", "A"): 1.0}
    code, _, err = tgqformer("pairs", log, tmp_path, *options)
    assert (code, "--force" in err) == (2, True)


def test_a_log_without_an_event_leaves_the_pairs_alone(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\n")
    (tmp_path / "pairs.csv").write_text("query_id,target_id\nA,B\n")
    log = tmp_path / "clicks.csv"
    for rows in ("u,A,noon\nu,B,\n", "u,X,1\nu,Y,2\n", ""):
        log.write_text(f"user,item,time\n{rows}")
        code, _, err = tgqformer("pairs", log, tmp_path, "--force", "-q")
        assert (code, "has no event to make pairs of" in err, err.count("\n")) == (2, True, 1)
    log.write_text("user,item,time\nu,A,1\nv,B,2\n")
    fewer = ["--method", "cosine", "--min-users", 1]
    code, _, err = tgqformer("pairs", log, tmp_path, "--force", "-q")
    assert (code, "ties no two items" in err, err.count("\n")) == (2, True, 1)
    assert "none are left that have 2 users in common; --method cosine --min-users 1 asks" in err
    code, _, err = tgqformer("pairs", log, tmp_path, "--force", "-q", *fewer)
    assert (code, err.count("\n"), err.endswith("have 1 user in common\n")) == (2, 1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clicks.csv",
        "items.csv",
        "pairs.csv",
    ]
    log.write_text("user,item,time\nu,A,1\nu,B,2\nv,A,1\nv,B,2\nv,A,n/a\n")
    assert tgqformer_json("pairs", log, tmp_path, "--force", "-q")["rows left out"] == 1
    out = tgqformer("pairs", log, tmp_path, "--force", "-q")[1]
    assert "1 of 5 rows lack a user, an item or a time" in out


def test_pairs_names_a_column_that_is_absent(tmp_path: Path, tgqformer) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\n")
    (tmp_path / "clicks.csv").write_text("who,item,time\nu,A,1\n")
    code, _, err = tgqformer("pairs", tmp_path / "clicks.csv", tmp_path, "-q")
    assert (code, "'user'" in err, err.count("\n")) == (2, True, 1)


def log_in(tmp_path: Path, text: str, items: str = "A B C") -> Path:
    (tmp_path / "items.csv").write_text("item_id\n" + "\n".join(items.split()) + "\n")
    (tmp_path / "clicks.csv").write_text(text)
    return tmp_path / "clicks.csv"


def test_pairs_tells_first_reasons_and_writes_them_all(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    text = "user,item,time\nu,A,1\nu,B,2\nv,A,1\nv,B,2\nv,C,x\nbad\n,A,1\n"
    log, left = log_in(tmp_path, text), tmp_path / "left.jsonl"
    options = ["--method", "cosine", "--force", "-q"]
    out = tgqformer("pairs", log, tmp_path, *options, "--quarantine", left)[1]
    assert "log row 5, time: the time 'x' is no number and no date of ISO 8601" in out
    assert "3 of 7 rows lack a user, an item or a time" in out
    assert len(left.read_text().splitlines()) == 3
    told = tgqformer_json("pairs", log, tmp_path, *options)
    assert (told["rows left out"], len(told["rejections"])) == (3, 3)


def test_the_likely_columns_of_a_log_are_named(tmp_path: Path, tgqformer) -> None:
    log = log_in(tmp_path, "timestamp,visitorid,event,itemid\n1,u,view,A\n")
    code, _, err = tgqformer("pairs", log, tmp_path, "-q")
    assert code == 2
    assert "(--user visitorid, --item itemid, --time timestamp?)" in err


def test_a_gap_is_in_seconds_whatever_the_times_count(tmp_path: Path, tgqformer_json) -> None:
    made = {}
    for factor in (1, 1000, 10**6):
        rows = [
            (user, item, 1433221332 + visit * 86_400 + n * 60)
            for user in "uvw"
            for visit, pair in enumerate(("AB", "CA"))
            for n, item in enumerate(pair)
        ]
        text = "".join(f"{user},{item},{time * factor}\n" for user, item, time in rows)
        log = log_in(tmp_path, "user,item,time\n" + text)
        told = tgqformer_json("pairs", log, tmp_path, "--gap", 1800, "--force", "-q")
        made[factor] = {(p.query_id, p.target_id) for p in Catalog.load(tmp_path).pairs}
        assert "2015-06-02 05:02 to 2015-06-03 05:03 UTC" in told["times"]
    assert made[1] == made[1000] == made[10**6]
    assert made[1] <= {("A", "B"), ("B", "A"), ("A", "C"), ("C", "A")}


def test_dates_of_another_form_need_their_format(tmp_path: Path, tgqformer) -> None:
    text = "user,item,time\nu,A,06/02/2015\nu,B,06/15/2015\nv,A,06/02/2015\nv,B,06/15/2015\n"
    log = log_in(tmp_path, text)
    code, _, err = tgqformer("pairs", log, tmp_path, "-q")
    assert (code, "--time-format '%m/%d/%Y'" in err, err.count("\n")) == (2, True, 1)
    code, out, _ = tgqformer("pairs", log, tmp_path, "-q", "--time-format", "%m/%d/%Y")
    assert (code, "dates, 2015-06-02 00:00 to 2015-06-15 00:00 UTC" in out) == (0, True)


def test_where_no_id_meets_one_of_each_side_is_shown(tmp_path: Path, tgqformer) -> None:
    log = log_in(
        tmp_path, "user,item,time\nu,108775015,1\nu,108775044,2\n", "0108775015 0108775044"
    )
    code, _, err = tgqformer("pairs", log, tmp_path, "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert "the log has '108775015' where the catalog has '0108775015'" in err
    assert "leading zeros" in err


def test_a_placeholder_photo_takes_no_more_than_its_share(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "none.png").write_bytes(b"no photo")
    rows = [f"P{n},{'none.png' if n % 3 == 0 else ''}\n" for n in range(120)]
    (tmp_path / "items.csv").write_text("item_id,images\n" + "".join(rows))
    events = [f"u{u},P{(u * 7 + k * 11) % 120},{k}\n" for u in range(240) for k in range(4)]
    log = tmp_path / "clicks.csv"
    log.write_text("user,item,time\n" + "".join(events))
    options = ["--val", 0.1, "--test", 0.1, "--force", "-q"]
    told = tgqformer_json("pairs", log, tmp_path, *options)
    made = sum(told["pairs"].values())
    assert told["pairs"]["val"] / made == pytest.approx(0.1, abs=0.05)
    assert told["placeholders"] == [{"photo": "none.png", "items": 40}]
    out = tgqformer("pairs", log, tmp_path, *options)[1]
    assert (
        f"{told['pairs left out']:,} of {made + told['pairs left out']:,} pairs are left out" in out
    )
    assert "none.png is the photo of 40 items: a placeholder" in out
    out = tgqformer("validate", tmp_path, "-q", "--no-images")[1]
    assert "none.png is the photo of 40 items: a placeholder" in out

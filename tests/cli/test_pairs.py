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

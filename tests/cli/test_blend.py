"""Laws of `blend` and `semantic-ids`, and of what `evaluate` sets beside a warm split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from tgqformer import Catalog
from tgqformer.catalog.splits import split_warm
from tgqformer.catalog.writing import pairs_frame
from tgqformer.evaluation.collaborative import Engagement, co_engaged
from tgqformer.retrieval.blend import Blend
from tgqformer.retrieval.embeddings import read_embeddings
from tgqformer.retrieval.neighbour_table import read_neighbours


@pytest.fixture(scope="session")
def warm_shop(shop: Path) -> Path:
    """The small shop, with some of its training pairs asked for."""
    folder = shop.parent / "warm"
    shutil.copytree(shop, folder)
    warm = split_warm(Catalog.load(shop), val=0.25, test=0.25)
    pairs_frame(warm).write_parquet(folder / "pairs.parquet")
    return folder


def test_a_blended_table_is_the_best_of_the_blend(
    warm_shop: Path, embedded: Path, tmp_path: Path, tgqformer_json
) -> None:
    out, figure = tmp_path / "blend.parquet", tmp_path / "curve.svg"
    told = tgqformer_json("blend", embedded, warm_shop, "--out", out, "-k", 5, "--figure", figure)
    catalog = Catalog.load(warm_shop)
    engagement = Engagement.from_pairs(catalog)
    vectors = read_embeddings(embedded)
    assert vectors.ids == list(catalog.index)
    blend = Blend(vectors.vectors, co_engaged(engagement), engagement.seen, told["prior"])
    scores = blend.scores(np.arange(len(catalog)))
    np.fill_diagonal(scores, -np.inf)
    table = read_neighbours(out)
    assert table.ids == vectors.ids
    for row, (near, found) in enumerate(zip(table.neighbours, table.scores)):
        best = np.argsort(-scores[row], kind="stable")[:5]
        assert np.allclose(found, scores[row][best], atol=1e-6)
        assert len(set(near)) == 5
    curve = told["fit"]["curve"]
    assert [group["weight"] for group in curve] == sorted(group["weight"] for group in curve)
    assert figure.read_text().startswith("<svg ")
    same = tmp_path / "same.parquet"
    tgqformer_json(
        "neighbors",
        embedded,
        "--catalog",
        warm_shop,
        "--out",
        same,
        "-k",
        5,
        "--blend",
        told["prior"],
    )
    assert read_neighbours(same).neighbours == table.neighbours


@pytest.mark.parametrize("command", ["blend", "neighbors"])
def test_variants_can_be_left_out_of_each_others_neighbours(
    shop: Path, embedded: Path, tmp_path: Path, tgqformer_json, command: str
) -> None:
    grouped, out = tmp_path / "grouped", tmp_path / "table.parquet"
    shutil.copytree(shop, grouped)
    labels = pl.read_parquet(grouped / "labels.parquet")
    groups = [str(row // 8) for row in range(len(labels))]
    labels.with_columns(item_group_id=pl.Series(groups)).write_parquet(grouped / "labels.parquet")
    group = dict(zip(labels["item_id"], groups))
    catalog = [grouped, "--prior", 1]
    if command == "neighbors":
        catalog = ["--catalog", grouped, "--blend", 1]

    def shared(*options: str) -> int:
        tgqformer_json(command, embedded, *catalog, "--out", out, "-k", 5, "-q", *options)
        rows = zip(read_neighbours(out).ids, read_neighbours(out).neighbours)
        return sum(group[one] == group[other] for one, near in rows for other in near)

    assert shared() > 0
    assert shared("--other-group") == 0


def test_a_blend_of_a_log_and_a_named_prior(
    shop: Path, embedded: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    arguments = ("blend", embedded, shop, "--out", tmp_path / "b.parquet", "-k", 3, "-q")
    log = ("--log", shop / "sessions.parquet")
    told = tgqformer_json(*arguments, *log, "--prior", 2)
    assert told["prior"] == 2
    assert told["fit"] is None
    code, _, err = tgqformer(*arguments, "--log", shop / "nothing.csv")
    assert code == 2
    assert "nothing.csv" in err
    code, _, err = tgqformer(*arguments, "--prior", 1, "--figure", tmp_path / "x.svg")
    assert code == 2
    few = tmp_path / "few"
    shutil.copytree(shop, few)
    items = pl.read_parquet(few / "items.parquet")
    items.tail(-1).write_parquet(few / "items.parquet")
    code, _, err = tgqformer("blend", embedded, few, "--out", tmp_path / "c.parquet", "-q")
    assert code == 2
    assert items["item_id"][0] in err


def test_evaluate_sets_the_collaborative_references_beside_a_warm_split(
    warm_shop: Path, trained: Path, tmp_path: Path, tgqformer_json, tgqformer
) -> None:
    few = ("evaluate", trained, warm_shop, "--no-reference", "--bootstrap", 0, "-q")
    told = tgqformer_json(*few, "--out", tmp_path)
    names = [model["name"] for model in told["comparison"]["models"]]
    assert names == ["run", "popularity", "item-to-item cosine", "EASE"]
    for evaluation in told["evaluations"]:
        assert set(evaluation["breakdown"]["history"]) == {"cold", "warm"}
        assert next(iter(evaluation["breakdown"]["interactions"])) == "0"
    saved = json.loads((tmp_path / "item-cosine" / "evaluation.json").read_text())
    assert saved["metrics"] == told["evaluations"][2]["metrics"]
    alone = tgqformer_json(*few, "--no-collaborative")
    assert [model["name"] for model in alone["comparison"]["models"]] == ["run"]
    code, out, err = tgqformer(*few, "--log", warm_shop / "sessions.parquet")
    assert code == 0, err
    assert "in common there" in err, "the shop's log knows the answers, and that is told"
    assert "by interactions" in out
    code, _, err = tgqformer(*few, "--split", "train", "--collaborative")
    assert code == 2
    assert "train" in err


def test_semantic_ids_of_a_shop(embedded: Path, tmp_path: Path, tgqformer_json, tgqformer) -> None:
    out = tmp_path / "ids.parquet"
    told = tgqformer_json("semantic-ids", embedded, "--out", out, "--levels", 2, "--codes", 8)
    assert 0 <= told["recall"] <= 1
    assert len(told["entropy"]) == 2
    table = pq.read_table(out)
    codes = table["codes"].to_pylist()
    assert {len(each) for each in codes} == {3}
    assert len(set(map(tuple, codes))) == 80
    again = tmp_path / "again.parquet"
    books = tmp_path / "ids.safetensors"
    tgqformer_json("semantic-ids", embedded, "--out", again, "--codebooks", books, "--no-unique")
    assert pq.read_table(again)["codes"].to_pylist() == [each[:2] for each in codes]
    for wrong in (("--codes", 100), ("--codes", 256), ("--out", tmp_path / "x.csv")):
        code, _, err = tgqformer("semantic-ids", embedded, "--out", tmp_path / "y.parquet", *wrong)
        assert code == 2
        assert str(wrong[1]) in err

"""Laws of the judge: what it ranks, whom it asks to encode, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import CatalogError, ConfigError, StorageError
from tgqformer.evaluation.compare import compare
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.result import Evaluation
from tgqformer.retrieval.scores import unit

COUNT = 120


@pytest.fixture
def catalog() -> Catalog:
    """120 items in three categories; items 0..39 ask for two others each."""
    items = [
        Item(
            f"i{row}",
            title="" if row % 5 == 0 else f"title {row}",
            category=("Home > Lamp", "Garden", "")[row % 3],
            images=() if row % 4 == 0 else (b"photo",),
        )
        for row in range(COUNT)
    ]
    pairs = [
        Pair(f"i{row}", f"i{(row + step) % COUNT}", split="test")
        for row in range(40)
        for step in (1, 7)
    ]
    noise = ["clean" if row % 2 else "clutter" for row in range(COUNT)]
    labels = pl.DataFrame({"item_id": [item.item_id for item in items], "noise": noise})
    return Catalog(items, [*pairs, Pair("i0", "i3", split="train")], labels)


@pytest.fixture
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((COUNT, 12)))


class Lookup:
    """An embedder that knows vectors by number and remembers what it was asked for."""

    name = "lookup"

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> np.ndarray:
        self.asked += [item.item_id for item in items]
        return self.vectors[[int(item.item_id[1:]) for item in items]]


def test_figures_are_those_of_a_plain_loop(catalog, vectors):
    found = evaluate(vectors, catalog, ks=(1, 10), bootstrap=0)
    hits, recalls = [], []
    for row in range(40):
        scores = vectors @ vectors[row]
        order = [other for other in np.argsort(-scores) if other != row]
        top = set(order[:10]) & {row + 1, row + 7}
        hits.append(bool(top))
        recalls.append(len(top) / 2)
    assert (found.queries, found.pool, found.targets) == (40, COUNT, 80)
    np.testing.assert_allclose(found["hit@10"], np.mean(hits))
    np.testing.assert_allclose(found["recall@10"], np.mean(recalls))
    assert found.per_query["hit@10"].to_list() == hits
    assert found.ties == {"share": 0.0, "mean": 0.0, "largest": 0}


def test_an_embedder_and_its_vectors_are_judged_alike(catalog, vectors):
    model = Lookup(vectors)
    found = evaluate(model, catalog)
    assert found.name == "lookup"
    same = evaluate(vectors, catalog, name="lookup", chunk=3)
    assert found.to_dict() == same.to_dict()
    assert found.per_query.equals(same.per_query)


def test_only_the_pool_and_the_queries_are_encoded(catalog, vectors):
    pool = ["test" if 30 <= row < 60 else "val" for row in range(COUNT)]
    labels = catalog.labels.with_columns(pool=pl.Series(pool))
    model = Lookup(vectors)
    found = evaluate(model, Catalog(catalog.items, catalog.pairs, labels), bootstrap=0)
    assert found.pool == 30
    assert sorted(model.asked) == sorted({f"i{row}" for row in range(23, 60)})
    # Queries 0..22 want nothing that is in the pool.
    assert found.queries == 17
    assert found.dropped == {"pairs_to_self": 0, "pairs_outside_pool": 80 - 28, "queries": 23}
    pool = set(range(30, 60))

    def rank(query: int, target: int) -> int:
        scores = vectors @ vectors[query]
        return 1 + sum(scores[other] > scores[target] for other in pool - {query, target})

    best = [
        min(rank(row, target) for target in {row + 1, row + 7} & pool)
        for row in (int(name[1:]) for name in found.per_query["query_id"])
    ]
    assert found.per_query["rank"].to_list() == best


def test_parts_add_up_to_the_whole(catalog, vectors):
    found = evaluate(vectors, catalog)
    assert list(found.breakdown) == ["category", "noise", "missing"]
    assert set(found.breakdown["category"]) == {"Home", "Garden", "(none)"}
    assert set(found.breakdown["noise"]) == {"clean", "clutter"}
    assert set(found.breakdown["missing"]) == {"nothing", "photo", "title", "photo and title"}
    for groups in found.breakdown.values():
        assert sum(group.queries for group in groups.values()) == 40
        for metric, whole in found.metrics.items():
            parts = sum(g.queries * g.metrics[metric].value for g in groups.values())
            np.testing.assert_allclose(parts / 40, whole.value, atol=1e-12)


def test_faults_of_the_metadata_are_a_breakdown_where_labels_tell_them(catalog, vectors):
    faults = [
        [["wrong_brand", "missing_title"], ["wrong_brand"], [], None][i % 4] for i in range(COUNT)
    ]
    labels = catalog.labels.with_columns(faults=pl.Series(faults, dtype=pl.List(pl.String)))
    found = evaluate(vectors, Catalog(catalog.items, catalog.pairs, labels), bootstrap=0)
    counts = {value: group.queries for value, group in found.breakdown["faults"].items()}
    assert counts == {"(none)": 20, "wrong_brand": 10, "wrong_brand + missing_title": 10}
    asked = found.per_query.filter(pl.col("faults") == "wrong_brand")["query_id"]
    assert all(int(name[1:]) % 4 == 1 for name in asked)


def test_ties_are_told(catalog):
    found = evaluate(np.ones((COUNT, 4), np.float32), catalog, ks=(1,), bootstrap=0)
    assert found.ties == {"share": 1.0, "mean": COUNT - 2, "largest": COUNT - 2}
    assert found.bounds["hit@1"] == (0.0, 1.0)
    np.testing.assert_allclose(found["hit@1"], 2 / (COUNT - 1))


def test_saved_and_loaded_again_it_is_the_same(catalog, vectors, tmp_path):
    found = evaluate(vectors, catalog)
    found.save(tmp_path / "new")
    loaded = Evaluation.load(tmp_path / "new")
    assert loaded.to_dict() == found.to_dict()
    assert loaded.per_query.equals(found.per_query)
    assert json.loads(found.to_json())["metrics"]["hit@10"]["value"] == found["hit@10"]
    (tmp_path / "new" / "evaluation.json").write_text("{}")
    with pytest.raises(StorageError, match="no readable evaluation"):
        Evaluation.load(tmp_path / "new")


def test_wrong_input_is_one_clear_sentence(catalog, vectors):
    with pytest.raises(ConfigError, match="119 vectors came for 120 items"):
        evaluate(vectors[1:], catalog)
    with pytest.raises(ConfigError, match=r"ks is \(0,\)"):
        evaluate(vectors, catalog, ks=(0,))
    with pytest.raises(ConfigError, match="bootstrap is -1"):
        evaluate(vectors, catalog, bootstrap=-1)
    with pytest.raises(CatalogError, match="no pairs in split 'val'"):
        evaluate(vectors, catalog, split="val")
    labels = catalog.labels.with_columns(pool=pl.lit("val"))
    with pytest.raises(CatalogError, match="none of the 80 pairs"):
        evaluate(vectors, Catalog(catalog.items, catalog.pairs, labels))
    vectors[5, 5] = np.inf
    with pytest.raises(StorageError, match="row 5 holds a NaN or an infinity"):
        evaluate(vectors, catalog)


def test_comparison_pairs_each_model_with_the_first(catalog, vectors):
    better = vectors.copy()
    better[1:41] = vectors[:40]
    models = {"[good]": better, "plain": vectors, "flat": np.ones((COUNT, 2), np.float32)}
    found = [evaluate(v, catalog, name=name) for name, v in models.items()]
    table = compare(found, ["hit@1", "mrr"])
    assert set(table.differences) == {"plain", "flat"}
    gap = table.differences["plain"]["mrr"].absolute
    np.testing.assert_allclose(gap.value, found[0]["mrr"] - found[1]["mrr"])
    assert gap.low < gap.value < gap.high
    lines = table.markdown().splitlines()
    assert lines[0] == "| model | H@1 | MRR |"
    assert lines[2].startswith("| [good] | ")
    assert "  [good] ahead by" in lines[4]
    assert json.loads(json.dumps(table.to_dict()))["models"][1]["name"] == "plain"
    assert table.rich_table().row_count == 5
    assert table.tied == ("flat",)
    assert table.caption().endswith("flat: mean over all orders of equal scores")


def test_only_like_is_compared_with_like(catalog, vectors):
    first = evaluate(vectors, catalog, name="a", bootstrap=10)
    fewer = Catalog(catalog.items, [p for p in catalog.pairs if p.query_id != "i3"])
    other = evaluate(vectors, fewer, name="b", bootstrap=10)
    with pytest.raises(ConfigError, match="b and a were asked different queries"):
        compare([first, other])
    with pytest.raises(ConfigError, match="names must differ"):
        compare([first, first])
    with pytest.raises(ConfigError, match="no figure 'hit@3'"):
        compare([first], ["hit@3"])
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])


def test_evaluation_never_imports_torch():
    code = (
        "import sys, tgqformer.evaluation.evaluate, tgqformer.evaluation.compare\n"
        "import tgqformer.evaluation.reference\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

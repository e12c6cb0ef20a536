"""Laws of the judge: what it ranks, whom it asks to encode, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import CatalogError, ConfigError, StorageError
from tgqformer.evaluation.compare import compare
from tgqformer.evaluation.evaluate import evaluate, known_partners
from tgqformer.evaluation.report import nearest
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
    found = evaluate(vectors, catalog, ks=(1, 10), bootstrap=0, known="count")
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


def test_variants_are_no_finds_where_that_is_asked(catalog, vectors):
    groups = [f"g{row // 2}" if row < 60 else None for row in range(COUNT)]
    labels = catalog.labels.with_columns(item_group_id=pl.Series(groups))
    grouped = Catalog(catalog.items, catalog.pairs, labels)
    told = evaluate(vectors, grouped, other_group=True, bootstrap=0)
    pairs = [
        (row, (row + step) % COUNT)
        for row in range(40)
        for step in (1, 7)
        if (row // 2 != (row + step) // 2)
    ]
    assert told.dropped["pairs_of_variants"] == 80 - len(pairs) == 20
    hits: dict[int, list[bool]] = {}
    for query, target in pairs:
        scores = vectors @ vectors[query]
        scores[[query, query ^ 1]] = -2.0
        known = [3] if query == 0 else [0] if query == 3 else []
        scores[known] = -2.0
        hits.setdefault(query, []).append(bool((scores > scores[target]).sum() < 10))
    assert told.metrics["hit@10"].value == pytest.approx(np.mean([any(h) for h in hits.values()]))
    with pytest.raises(CatalogError, match="knows of no variants"):
        evaluate(vectors, catalog, other_group=True, bootstrap=0)


def test_parts_add_up_to_the_whole(catalog, vectors):
    found = evaluate(vectors, catalog)
    assert list(found.breakdown) == ["category", "noise", "missing", "history", "interactions"]
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
    cold = catalog.with_pairs([pair for pair in catalog.pairs if pair.split == "test"])
    found = evaluate(np.ones((COUNT, 4), np.float32), cold, ks=(1,), bootstrap=0)
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


def test_stars_are_fewer_where_more_is_compared(catalog, vectors):
    """A model that is a little worse has its star alone, and not beside nineteen equal ones."""
    first = evaluate(vectors, catalog, name="first", bootstrap=0)
    rng = np.random.default_rng(0)
    values = first.per_query["mrr"].to_numpy()
    drops = np.zeros(40)
    drops[:11], drops[11:14] = 0.1, -0.1  # p about 0.03

    def model(name: str, values: np.ndarray) -> Evaluation:
        return replace(
            first, name=name, per_query=first.per_query.with_columns(mrr=pl.Series(values))
        )

    worse = model("worse", values - drops)
    equal = [model(f"e{n}", values + rng.normal(0, 0.1, 40)) for n in range(19)]
    alone = compare([first, worse], ["mrr"]).differences["worse"]["mrr"]
    among = compare([first, worse, *equal], ["mrr"])
    crowded = among.differences["worse"]["mrr"]
    assert alone.apart
    assert not crowded.apart
    assert alone.absolute == crowded.absolute
    assert alone.p == alone.adjusted == crowded.p < crowded.adjusted
    assert "Holm" in among.caption()
    assert "Holm" not in compare([first, worse], ["mrr"]).caption()


def warm(catalog: Catalog) -> Catalog:
    """Item 0 has partners in all splits, both ways; of them 1 and 7 are its targets in test."""
    known = [
        Pair("i0", "i1", split="train"),  # a target of i0 in test, but i0 is none of i1
        Pair("i0", "i50", split="train"),
        Pair("i51", "i0", split="train"),  # the other way round
        Pair("i0", "i51", split="train"),  # ... and again: once is enough
        Pair("i0", "i52", split="val"),
        Pair("i60", "i61", split="train"),  # of nobody who asks
    ]
    asked = [pair for pair in catalog.pairs if pair.split == "test"]
    return catalog.with_pairs([*asked, *known])


def test_known_partners_are_no_wrong_answers(catalog, vectors):
    """Masked, they may lie on the query itself and nothing falls; counted, they push it down."""
    shop, near = warm(catalog), vectors.copy()
    near[[50, 51, 52]] = vectors[0]
    far = vectors.copy()
    far[[50, 51, 52]] = -vectors[0]

    def best(vectors: np.ndarray, **options: str) -> int:
        return int(evaluate(vectors, shop, bootstrap=0, **options).per_query["rank"][0])

    assert best(near) == best(far)
    assert best(near, known="count") == best(far, known="count") + 3


def test_which_partners_are_known(catalog, vectors):
    shop = warm(catalog)
    which, partner = known_partners(shop, "test", np.arange(40))
    assert (which.tolist(), partner.tolist()) == ([0, 0, 0, 1], [50, 51, 52, 0])
    which, partner = known_partners(shop, "val", np.array([0, 61]))
    assert (which.tolist(), partner.tolist()) == ([0, 0, 0, 1], [1, 50, 51, 60])
    assert len(known_partners(shop, "train", np.arange(COUNT))[0]) == 0
    pool = ["val" if row == 51 else "train,val,test" for row in range(COUNT)]
    smaller = Catalog(shop.items, shop.pairs, catalog.labels.with_columns(pool=pl.Series(pool)))
    assert known_partners(smaller, "test", np.arange(40))[1].tolist() == [50, 52, 0]


def test_how_many_are_masked_is_told(catalog, vectors, tmp_path):
    shop = warm(catalog)
    found = evaluate(vectors, shop, bootstrap=10)
    assert found.masked == 4 / 40
    assert found.to_dict()["masked"] == 4 / 40
    assert compare([found]).to_dict()["masked"] == 4 / 40
    assert "pool of 120 less 0.10 known partners of a query on average" in (
        compare([found]).caption()
    )
    found.save(tmp_path)
    assert Evaluation.load(tmp_path).to_dict() == found.to_dict()
    counted = evaluate(vectors, shop, bootstrap=10, known="count", name="other")
    assert counted.masked == 0
    with pytest.raises(ConfigError, match="alike in `known`"):
        compare([found, counted])
    with pytest.raises(ConfigError, match="known is 'all', but must be 'mask' or 'count'"):
        evaluate(vectors, shop, known="all")


def test_of_a_cold_split_nothing_changes(catalog, vectors, tmp_path):
    """No query has a partner in an earlier split: both ways give the same bytes."""
    asked = [pair for pair in catalog.pairs if pair.split == "test"]
    learned = [Pair(f"i{row}", f"i{row + 1}", split="train") for row in range(60, 110)]
    cold = catalog.with_pairs([*asked, *learned])
    for known in ("mask", "count"):
        evaluate(vectors, cold, bootstrap=50, known=known).save(tmp_path / known)
    for name in ("evaluation.json", "queries.parquet"):
        masked, counted = (tmp_path / known / name for known in ("mask", "count"))
        assert masked.read_bytes() == counted.read_bytes()
    assert "masked" not in (tmp_path / "mask" / "evaluation.json").read_text()


def test_a_gallery_shows_what_is_ranked(catalog, vectors):
    near = vectors.copy()
    near[[50, 51, 52]] = vectors[0]
    shop = warm(catalog)
    found = nearest(shop, near, [3, 0], split="test", k=5)
    assert [len(answers) for answers in found] == [5, 5]
    order = np.argsort(-(near @ near[0]))
    kept = [row for row in order.tolist() if row not in (0, 50, 51, 52)]
    assert [row for row, _ in found[1]] == kept[:5]
    rows = nearest(catalog.with_pairs([]), near, [0], split="test", k=3)[0]
    assert {row for row, _ in rows} == {50, 51, 52}


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
        "import tgqformer.evaluation.evaluate\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

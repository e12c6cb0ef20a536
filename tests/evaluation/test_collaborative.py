"""Laws of the collaborative references and of their blend with content."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tgqformer import Catalog, evaluate
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.splits import split_warm
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.evaluation import collaborative
from tgqformer.evaluation.blending import FEWEST, blend_figure, fit_blend
from tgqformer.evaluation.collaborative import (
    REFERENCES,
    Ease,
    Engagement,
    ItemCosine,
    Popularity,
    co_engaged,
)
from tgqformer.evaluation.evaluate import training_partners
from tgqformer.retrieval.blend import Blend, weight
from tgqformer.retrieval.scores import unit

ITEMS, GROUPS = 120, 6


def shop(seed: int = 0, *, cold: int = 20) -> Catalog:
    """Items of six groups, bought together within them; the last ones have no training pair."""
    rng = np.random.default_rng(seed)
    items = [Item(f"i{number:03d}", title=f"thing {number}") for number in range(ITEMS)]
    pairs, old = [], ITEMS - cold
    for query in range(ITEMS):
        alike = [n for n in range(old) if n % GROUPS == query % GROUPS and n != query]
        for target in rng.choice(alike, 5, replace=False):
            split = "train" if query < old else ("val" if query % 2 else "test")
            pairs.append((query, int(target), split))
    known: set[frozenset[int]] = set()
    kept = []
    for query, target, split in pairs:
        if frozenset((query, target)) not in known:
            known.add(frozenset((query, target)))
            kept.append(Pair(items[query].item_id, items[target].item_id, 1.0, split))
    return Catalog(items, kept)


def content(noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Vectors that tell the group, more or less."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((GROUPS, 8))
    return unit(centres[np.arange(ITEMS) % GROUPS] + noise * rng.standard_normal((ITEMS, 8)))


@pytest.fixture(scope="module")
def warm() -> Catalog:
    return split_warm(shop(), val=0.1, test=0.1)


def test_item_cosine_is_common_sessions_over_the_root_of_both() -> None:
    log = pl.DataFrame(
        {
            "user": ["u", "u", "u", "v", "v", "w", "w", "w", "lone", "w"],
            "item": [
                "i000",
                "i001",
                "i001",
                "i000",
                "i001",
                "i001",
                "i002",
                "gone",
                "i003",
                "i002",
            ],
            "time": np.arange(10.0),
        }
    )
    catalog = shop()
    engagement = Engagement.from_log(log, catalog)
    assert engagement.left_out == 1
    assert engagement.seen[:4].tolist() == [2, 3, 1, 0], "who sees one item alone says nothing"
    scores = ItemCosine(engagement).scores(np.array([0, 1, 5]))
    assert scores[0, 1] == scores[1, 0] == np.float32(2 / np.sqrt(2 * 3))
    assert scores[1, 2] == np.float32(1 / np.sqrt(3))
    assert not scores[2].any()
    assert not scores[[0, 1], [0, 1]].any()


def test_a_query_with_its_training_targets_is_a_session(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    query, target, _ = warm.pair_indices("train")
    first = np.flatnonzero(query == query[0])
    session = engagement.matrix[[0]].toarray()[0]
    assert set(np.flatnonzero(session)) == {query[0], *target[first]}
    assert (engagement.seen == training_partners(warm)).all()


def test_ease_is_the_closed_form_and_solves_its_least_squares(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    sessions = engagement.matrix.toarray()
    ease = Ease(engagement, regularisation=3.0)
    scores = ease.scores(np.arange(ITEMS)).astype(np.float64)
    gram = sessions.T @ sessions + 3.0 * np.eye(ITEMS)
    inverse = np.linalg.inv(gram)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.allclose(scores, expected, atol=1e-6)
    # Each column j minimises |x_j - X b|^2 + 3 |b|^2 over b with b_j = 0.
    column = 7
    others = np.delete(np.arange(ITEMS), column)
    left = sessions[:, others]
    best = np.linalg.solve(left.T @ left + 3.0 * np.eye(ITEMS - 1), left.T @ sessions[:, column])
    assert np.allclose(scores[others, column], best, atol=1e-6)


def test_ease_refuses_more_items_than_memory_holds(
    warm: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collaborative, "EASE_ITEMS", 50)
    with pytest.raises(ConfigError, match=r"100 items were seen, but 50 .* item-to-item cosine"):
        Ease(Engagement.from_pairs(warm))


def test_a_cold_query_gets_what_guessing_gets_and_a_warm_one_does_not(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    for reference in (ItemCosine(engagement), Ease(engagement)):
        found = evaluate(reference, warm, split="test", ks=(10,), bootstrap=0)
        groups = found.breakdown["history"]
        assert sum(group.queries for group in groups.values()) == found.queries
        alike = evaluate(np.ones((ITEMS, 1)), warm, split="test", ks=(10,), bootstrap=0)
        hits = {name: group.metrics["hit@10"].value for name, group in groups.items()}
        guessed = alike.breakdown["history"]
        assert hits["cold"] == pytest.approx(guessed["cold"].metrics["hit@10"].value)
        assert hits["warm"] > 2 * guessed["warm"].metrics["hit@10"].value
    assert list(REFERENCES) == ["popularity", "item_cosine", "ease"]


def test_interactions_go_from_few_to_many_and_add_up(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    found = evaluate(Popularity(engagement), warm, split="test", ks=(10,), bootstrap=0)
    groups = found.breakdown["interactions"]
    order = ["0", "1-2", "3-5", "6-10", "11-20", "21-50", "51-100", ">100"]
    assert list(groups) == [name for name in order if name in groups]
    assert groups["0"].queries == found.breakdown["history"]["cold"].queries
    assert sum(group.queries for group in groups.values()) == found.queries
    given = evaluate(
        Popularity(engagement), warm, split="test", ks=(10,), bootstrap=0, seen=np.full(ITEMS, 7)
    )
    assert "history" not in given.breakdown, "all alike says nothing"
    assert given.metrics == found.metrics
    with pytest.raises(ConfigError, match="7 counts"):
        evaluate(Popularity(engagement), warm, seen=np.ones(7))


def test_a_scorer_of_inner_products_is_the_vectors_themselves(warm: Catalog) -> None:
    vectors = content()
    engagement = Engagement.from_pairs(warm)
    none = co_engaged(engagement) * 0.0
    none.eliminate_zeros()
    blend = Blend(vectors, none, np.zeros(ITEMS, dtype=np.int64), prior=1.0)
    ours, theirs = (
        evaluate(model, warm, split="test", ks=(1, 10), bootstrap=50) for model in (blend, vectors)
    )
    assert ours.metrics == theirs.metrics
    with pytest.raises(ConfigError, match="has no vectors"):
        evaluate(blend, warm, query_vectors=vectors)


def test_the_log_tells_what_it_knows_of_the_answers(warm: Catalog) -> None:
    query, target, _ = warm.pair_indices("test")
    events = [
        (f"u{n}", warm.items[row].item_id, 0.0) for n in range(3) for row in (query[n], target[n])
    ]
    log = pl.DataFrame(events, schema=["user", "item", "time"], orient="row")
    engagement = Engagement.from_log(log, warm)
    shared, pairs = engagement.shared_with(warm, "test")
    assert shared == 3
    assert pairs == len(query)
    with pytest.raises(CatalogError, match="no user of the log has two items"):
        Engagement.from_log(log.head(1), warm)


def test_a_blend_goes_from_content_to_co_engagement(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    together, vectors, rows = co_engaged(engagement), content(), np.arange(ITEMS)
    cosine = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    assert weight([0, 5, 15], 5.0).tolist() == [0.0, 0.5, 0.75]
    for prior in (0.1, 4.0):
        share = weight(engagement.seen, prior)[:, None]
        expected = share * together.toarray() + (1 - share) * cosine
        found = Blend(vectors, together, engagement.seen, prior).scores(rows)
        assert np.allclose(found, expected, atol=1e-6)
        assert np.allclose(found[ITEMS - 20 :], cosine[ITEMS - 20 :], atol=1e-6), "cold: content"
    for wrong in ({"prior": 0.0}, {"prior": 1.0, "seen": engagement.seen[1:]}):
        arguments = {"seen": engagement.seen, **wrong}
        with pytest.raises(ConfigError):
            Blend(vectors, together, **arguments)


@pytest.mark.parametrize("by", ["item_cosine", "ease"])
def test_the_strongest_are_kept_and_all_are_over_zero(warm: Catalog, by: str) -> None:
    engagement = Engagement.from_pairs(warm)
    few, many = co_engaged(engagement, by, most=3), co_engaged(engagement, by)
    assert few.shape == many.shape == (ITEMS, ITEMS)
    assert many.data.min() > 0
    assert not many.diagonal().any()
    dense = many.toarray()
    for row, kept in enumerate(few.toarray()):
        assert sorted(kept[kept > 0]) == pytest.approx(sorted(dense[row][dense[row] > 0])[-3:])


def test_the_fit_takes_the_best_prior_and_draws_it(warm: Catalog) -> None:
    engagement = Engagement.from_pairs(warm)
    fit = fit_blend(content(), warm, engagement, priors=(0.1, 3.0, 100.0))
    assert fit.held_out == 0
    assert fit.tried[fit.prior] == max(fit.tried.values())
    assert sum(group.queries for group in fit.curve) == len(np.unique(warm.pair_indices("val")[0]))
    cold = fit.curve[0]
    assert (cold.interactions, cold.seen, cold.weight) == ("0", 0, 0)
    assert cold.hits["blend"] == cold.hits["content"]
    weights = [group.weight for group in fit.curve]
    assert weights == sorted(weights)
    drawn = blend_figure(fit)
    assert drawn.startswith("<svg ")
    assert "prefers-color-scheme" in drawn
    assert f"n / (n + {fit.prior:g})" in drawn


def test_a_cold_catalog_holds_training_pairs_out_for_the_fit() -> None:
    cold = shop()
    engagement = Engagement.from_pairs(cold)
    fit = fit_blend(content(), cold, engagement, priors=(1.0,))
    assert fit.held_out > 0
    assert fit.queries >= FEWEST
    log = pl.DataFrame({"user": ["a", "a"], "item": ["i000", "i001"], "time": [0.0, 1.0]})
    with pytest.raises(CatalogError, match="--prior"):
        fit_blend(content(), cold, Engagement.from_log(log, cold), priors=(1.0,))
    # Two pairs without a partner beside them: nothing may go.
    two = cold.with_pairs([Pair("i000", "i001", 1.0, "train"), Pair("i002", "i003", 1.0, "train")])
    with pytest.raises(CatalogError, match="held out"):
        fit_blend(content(), two, Engagement.from_pairs(two), priors=(1.0,))

"""Laws of the pointing game: the whole photo holds all of a map, and models are paired."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item
from tgqformer.errors import CatalogError
from tgqformer.inspection.pointing import Measured, Pointing, boxed_items, play

WHOLE, QUARTER = [0, 0, 48, 40], [0, 0, 24, 20]


@pytest.fixture(scope="module")
def catalog(photo) -> Catalog:
    items = [Item(f"i{row}", f"thing {row}", images=(photo(row),)) for row in range(9)]
    labels = pl.DataFrame(
        {
            "item_id": [item.item_id for item in items],
            "noise": ["clean"] * 4 + ["heavy"] * 4 + ["no_photo"],
            "split": ["train", "test"] * 4 + ["test"],
            "product_box": [WHOLE, QUARTER] * 4 + [None],
        }
    )
    return Catalog(items, labels=labels)


def test_all_of_a_map_lies_in_the_whole_photo_and_chance_is_the_boxs_share(
    embedder, embedder_of, catalog
):
    models = [("ours", embedder), ("mlp", embedder_of("embedder.connector.kind=mlp"))]
    played = play(models, catalog, *boxed_items(catalog, per_regime=9))
    whole = played.positions % 2 == 0
    for values in played.models[0].streams.values():
        np.testing.assert_allclose(values["inside"][whole], 1, atol=1e-6)
        assert (values["inside"][~whole] < 1).all()
        assert (values["pointing"][whole] == 1).all()
    np.testing.assert_allclose(played.chance, np.where(whole, 1, 0.25))
    assert not played.models[1].streams
    rows = played.table(samples=20)
    assert {(row["regime"], row["model"]) for row in rows} == {
        (regime, model) for regime in ("clean", "heavy") for model in ("chance", "ours")
    }


def test_items_are_drawn_from_each_regime_and_split_and_only_with_a_box(catalog):
    positions, regimes = boxed_items(catalog, per_regime=3)
    assert (regimes.count("clean"), regimes.count("heavy"), len(positions)) == (3, 3, 6)
    assert boxed_items(catalog, per_regime=3)[0].tolist() == positions.tolist()
    test, _ = boxed_items(catalog, per_regime=9, split="test")
    assert test.tolist() == [1, 3, 5, 7]


def test_a_catalog_without_boxes_is_told_what_to_do(catalog):
    for labels in (None, catalog.labels.drop("product_box")):
        with pytest.raises(CatalogError, match="storefront"):
            boxed_items(Catalog(catalog.items, labels=labels), per_regime=3)


def test_leads_are_the_paired_difference_of_the_first_model():
    ours, theirs = np.array([0.9, 0.8, 0.5]), np.array([0.4, 0.3, 0.6])
    played = Pointing(
        np.arange(3),
        ["clutter", "clutter", "clean"],
        np.zeros(3),
        [
            Measured("a", {"anchored": {"inside": ours, "pointing": ours}}, "tgqformer"),
            Measured("b", {"visual": {"inside": theirs, "pointing": theirs}}, "qformer"),
        ],
    )
    leads = {(row["regime"], row["measure"]): row for row in played.leads(samples=50)}
    assert leads["clutter", "inside"]["absolute"]["value"] == pytest.approx(0.5)
    assert leads["clean", "pointing"]["absolute"]["value"] == pytest.approx(-0.1)
    assert leads["clutter", "inside"]["apart"]

"""Laws of the reference points."""

from __future__ import annotations

import numpy as np
import pytest

from tgqformer.catalog.items import Item
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.evaluation.evaluate import Precomputed, concat_normalised
from tgqformer.retrieval.scores import unit


@pytest.fixture
def parts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((6, 5)) * 7, rng.standard_normal((6, 3)) * 0.1]


def test_the_score_is_the_weighted_mean_of_the_cosines(parts):
    image, text = (unit(part) @ unit(part).T for part in parts)
    equal = concat_normalised(parts)
    np.testing.assert_allclose(equal @ equal.T, (image + text) / 2, atol=1e-6)
    tilted = concat_normalised(parts, weights=[3, 1])
    np.testing.assert_allclose(tilted @ tilted.T, (3 * image + text) / 4, atol=1e-6)


def test_a_weight_of_zero_leaves_the_part_out(parts):
    only = concat_normalised(parts, weights=[0, 2])
    np.testing.assert_allclose(only @ only.T, unit(parts[1]) @ unit(parts[1]).T, atol=1e-6)


def test_a_missing_part_is_zero_and_the_item_has_unit_length(parts):
    parts[0][2] = 0
    parts[0][3] = parts[1][3] = 0
    found = concat_normalised(parts)
    assert not found[2, :5].any()
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, np.nan]])
def test_weights_must_fit(parts, weights):
    with pytest.raises(ConfigError, match="must be 2 numbers from 0"):
        concat_normalised(parts, weights)


def test_parts_must_fit(parts):
    with pytest.raises(ConfigError, match=r"\[6, 5\] rows"):
        concat_normalised([parts[0], parts[1][:5]])
    with pytest.raises(ConfigError, match="one part at least"):
        concat_normalised([])


def test_precomputed_looks_up_by_id():
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    model = Precomputed("text only", ["a", "b", "c"], vectors)
    np.testing.assert_array_equal(model.encode([Item("c"), Item("a")]), vectors[[2, 0]])
    assert model.encode([]).shape == (0, 2)
    with pytest.raises(CatalogError, match="text only has no vector for item 'd'"):
        model.encode([Item("d")])
    with pytest.raises(ConfigError, match="2 ids came with 3 vectors of text only"):
        Precomputed("text only", ["a", "b"], vectors)

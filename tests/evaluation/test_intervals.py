"""Laws of the bootstrap: right width, right coverage, one draw for both models of a pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tgqformer.evaluation import intervals
from tgqformer.evaluation.intervals import (
    Interval,
    bootstrap_means,
    holm,
    mean_intervals,
    paired_difference,
)


def coins(count: int, chance: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < chance).astype(np.float64)


def test_width_is_that_of_the_normal_approximation():
    values = coins(2000, 0.3)
    found = mean_intervals({"hit@10": values}, samples=4000)["hit@10"]
    error = np.sqrt(values.var() / 2000)
    assert found.value == values.mean()
    np.testing.assert_allclose([found.low, found.high], values.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error)  # fmt: skip # noqa: E501


def test_nineteen_of_twenty_intervals_hold_the_truth():
    held = 0
    for seed in range(300):
        found = mean_intervals({"x": coins(200, 0.4, seed)}, samples=300, seed=seed)["x"]
        held += found.low <= 0.4 <= found.high
    assert 0.91 <= held / 300 <= 0.98


def test_one_seed_gives_one_result_and_another_another():
    values = coins(50, 0.5)[:, None]
    first = bootstrap_means(values, samples=20, seed=1)
    np.testing.assert_array_equal(first, bootstrap_means(values, samples=20, seed=1))
    assert (first != bootstrap_means(values, samples=20, seed=2)).any()


@pytest.mark.parametrize("size", [1, 777, 10_000])
def test_blocks_do_not_change_the_draws(monkeypatch, size):
    values = np.random.default_rng(0).random((101, 3))
    whole = bootstrap_means(values, samples=50)
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", size)
    np.testing.assert_allclose(bootstrap_means(values, samples=50), whole, rtol=1e-12)


def test_no_samples_give_no_interval():
    assert mean_intervals({"x": np.array([0.0, 1.0])}, samples=0)["x"] == Interval(0.5)


def test_a_model_is_not_apart_from_itself():
    values = coins(100, 0.5)
    found = paired_difference(values, values)
    assert found.absolute == Interval(0.0, 0.0, 0.0)
    assert found.relative == Interval(0.0, 0.0, 0.0)
    assert found.p == 1.0
    assert not found.apart


def test_a_steady_gain_is_seen_though_the_intervals_overlap():
    """The point of pairing: hard queries are hard for both models."""
    a = coins(400, 0.5)
    b = a.copy()
    b[np.flatnonzero(a == 0)[:12]] = 1
    alone = mean_intervals({"a": a, "b": b})
    assert alone["a"].high > alone["b"].low
    found = paired_difference(a, b)
    assert found.apart
    assert found.p < 0.01
    np.testing.assert_allclose(found.absolute.value, 0.03)
    np.testing.assert_allclose(found.relative.value, 0.03 / a.mean())
    assert found.relative.low < 0.03 / a.mean() < found.relative.high


def test_swapping_the_models_swaps_the_sign():
    a, b = coins(100, 0.4, 1), coins(100, 0.6, 2)
    there, back = paired_difference(a, b).absolute, paired_difference(b, a).absolute
    np.testing.assert_allclose(
        [there.value, there.low, there.high], [-back.value, -back.high, -back.low], atol=1e-12
    )


def test_nothing_is_relative_to_zero():
    found = paired_difference(np.zeros(10), np.ones(10))
    assert found.relative is None
    assert found.absolute.value == 1


def test_one_comparison_alone_needs_no_adjusting():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    p = np.random.default_rng(0).random(40) ** 4
    adjusted = np.array(holm(p.tolist()))
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, 40 * p)).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    back = np.array(holm(p[::-1].tolist()))[::-1]
    np.testing.assert_array_equal(back, adjusted)


def test_chance_alone_earns_a_star_in_one_table_of_twenty():
    tables = np.random.default_rng(1).random((4000, 15))
    starred = np.mean([min(holm(table.tolist())) < 0.05 for table in tables])
    assert 0.04 <= starred <= 0.06


def test_a_difference_is_apart_only_if_its_column_lets_it():
    found = paired_difference(coins(400, 0.4, 1), coins(400, 0.6, 2))
    assert found.apart
    assert replace(found, adjusted=0.049).apart
    assert not replace(found, adjusted=0.051).apart

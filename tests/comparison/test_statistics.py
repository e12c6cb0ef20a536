"""Laws of means over seeds and queries: what widens an interval, and how often it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tgqformer.comparison.results import Gain
from tgqformer.comparison.statistics import (
    correct,
    figures,
    gains,
    p_value,
    standard_error,
    steps_to,
    t_quantile,
)
from tgqformer.evaluation.intervals import Interval, paired_difference

NAMES = ["hit@10"]


def hits(seeds: int, queries: int, rate: float, spread: float = 0.0) -> np.ndarray:
    """[S, M, 1] of zeros and ones; the seeds' own rates lie up to `spread` apart."""
    rng = np.random.default_rng(1)
    rates = rate + spread * np.linspace(-1, 1, seeds)[:, None]
    return (rng.random((seeds, queries)) < rates).astype(float)[..., None]


def width(values: np.ndarray) -> float:
    figure = figures(values, NAMES)["hit@10"]
    assert figure.low is not None
    assert figure.high is not None
    return figure.high - figure.low


def test_a_method_is_not_ahead_of_itself() -> None:
    values = hits(3, 80, 0.5, 0.2)
    gain = gains(values, values, NAMES)["hit@10"]
    assert (gain.absolute.value, gain.absolute.low, gain.absolute.high) == (0, 0, 0)
    assert gain.relative is not None
    assert (gain.relative.value, gain.relative.low, gain.relative.high) == (0, 0, 0)
    assert gain.p == 1
    assert not gain.apart


def test_seeds_that_differ_widen_the_interval() -> None:
    apart = hits(3, 400, 0.5, 0.3)
    pooled = apart.reshape(1, -1, 1)
    assert width(apart) > 2 * width(pooled)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_the_seeds_have_the_whole_of_their_variance(runs: int) -> None:
    """Every query of a seed alike: the mean of S seeds, of variance s^2 / S, S - 1 freedoms."""
    rates = np.random.default_rng(2).random(runs)
    error, freedom = standard_error(np.tile(rates[:, None, None], (1, 50, 1)))
    assert error[0] ** 2 == pytest.approx(rates.var(ddof=1) / runs)
    assert freedom[0] == pytest.approx(runs - 1)


def test_the_queries_have_the_whole_of_their_variance() -> None:
    """Every seed alike: three of them are as good as one, and no better."""
    one = hits(1, 300, 0.4)
    error, freedom = standard_error(np.repeat(one, 3, axis=0))
    assert error[0] ** 2 == pytest.approx(one.var(ddof=1) / 300)
    assert freedom[0] == pytest.approx(299)
    assert width(np.repeat(one, 3, axis=0)) == pytest.approx(width(one))


def test_freedom_lies_between_that_of_the_parts_and_their_sum() -> None:
    rng = np.random.default_rng(0)
    for seeds, queries, spread in ((2, 30, 0.1), (3, 500, 0.02), (5, 40, 1.0)):
        values = rng.random((seeds, queries, 4)) + spread * rng.random((seeds, 1, 4))
        _, freedom = standard_error(values)
        assert (freedom >= min(seeds, queries) - 1).all()
        assert (freedom <= seeds + queries - 2).all()


@pytest.mark.parametrize("deviation", [0.01, 0.02, 0.04])
def test_intervals_hold_the_true_gain(deviation: float) -> None:
    """Three seeds, 1,000 queries of which many are hard for both; simulated 600 times."""
    trials, queries, seeds = 600, 1000, 3
    rng = np.random.default_rng(7)
    shape = (seeds, queries, trials)
    hard = rng.standard_normal((1, queries, trials), dtype=np.float32)
    own = 0.5 * rng.standard_normal((1, queries, trials), dtype=np.float32)
    noise = (0.7 * rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    ours, other = (hard + next(noise) + own < 0.9), (hard + next(noise) < 0.75)
    moved = ours + rng.normal(0, deviation, (seeds, 1, trials))
    names = [str(trial) for trial in range(trials)]
    # P(N(0, 1 + 0.25 + 0.49) < 0.9) and P(N(0, 1 + 0.49) < 0.75)
    truth = 0.752472 - 0.730532
    found = [one.absolute for one in gains(moved, other.astype(float), names).values()]
    held = np.mean([i.low <= truth <= i.high for i in found])  # type: ignore[operator]
    assert 0.92 <= held <= 0.98


def test_students_quantiles_are_those_of_the_tables() -> None:
    table = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 10: 2.22814, 30: 2.04227, 120: 1.97993}
    for freedom, known in table.items():
        assert t_quantile(freedom) == pytest.approx(known, abs=1e-4)
    assert t_quantile(1e6) == pytest.approx(1.95996, abs=1e-4)


def test_a_gap_at_the_end_of_its_interval_has_p_of_five_percent() -> None:
    for freedom in (1.0, 1.37, 2.0, 2.5, 4.0, 7.77, 33.3, 158.0, 2890.0, 40_000.0):
        assert p_value(-3 * t_quantile(freedom), 3.0, freedom) == pytest.approx(0.05)
    falling = [p_value(gap, 1.0, 2.5) for gap in (0.0, 0.5, 1.0, 5.0, 50.0)]
    assert falling[0] == 1
    assert sorted(falling, reverse=True) == falling
    assert (p_value(0.0, 0.0, 9.0), p_value(0.1, 0.0, 9.0)) == (1, 0)


def test_a_lead_over_several_seeds_is_clear_of_chance() -> None:
    better, worse = hits(3, 300, 0.6), hits(3, 300, 0.2)
    gain = gains(better, worse, NAMES)["hit@10"]
    assert gain.apart
    assert gain.mark == " *"
    assert not gain.of_one_seed


def test_the_mean_is_the_mean_and_lies_in_its_interval() -> None:
    values = hits(2, 120, 0.3, 0.1)
    figure = figures(values, NAMES)["hit@10"]
    assert figure.value == pytest.approx(values.mean())
    assert figure.seeds == pytest.approx(values.mean(axis=(1, 2)))
    assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_no_interval_of_a_share_leaves_zero_to_one() -> None:
    figure = figures(hits(2, 6, 0.5, 0.5), NAMES)["hit@10"]
    assert (figure.low, figure.high) == (0, 1)


def test_one_seed_is_over_queries_alone_and_says_so() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(300) < 0.4).astype(float), (rng.random(300) < 0.6).astype(float)
    known = paired_difference(a, b, samples=4000)
    gain = gains(b[None, :, None], a[None, :, None], NAMES)["hit@10"]
    for side, other in ((gain.absolute, known.absolute), (gain.relative, known.relative)):
        assert side is not None
        assert other is not None
        assert side.value == pytest.approx(other.value)
        assert side.low == pytest.approx(other.low, abs=0.05 * abs(other.value))
        assert side.high == pytest.approx(other.high, abs=0.05 * abs(other.value))
    assert known.apart
    assert gain.seeds == 1
    assert gain.of_one_seed
    assert gain.mark == " †"
    assert not gain.apart  # another seed may say otherwise


def test_pairing_takes_the_common_part_away() -> None:
    """What every query has in common for both methods widens neither's lead."""
    hard = hits(3, 200, 0.5)
    better = np.clip(hard + 0.1, 0, 2)
    gain = gains(better, hard, NAMES)["hit@10"]
    assert gain.absolute.low == pytest.approx(0.1)
    assert gain.absolute.high == pytest.approx(0.1)


def test_figures_beside_each_other_do_not_change_each_other() -> None:
    first, second = hits(2, 50, 0.5), hits(2, 50, 0.1)
    both = figures(np.concatenate([first, second], axis=2), ["a", "b"])
    for name, values in (("a", first), ("b", second)):
        alone = figures(values, [name])[name]
        assert (both[name].low, both[name].high) == pytest.approx((alone.low, alone.high))


def test_of_a_single_query_there_is_a_mean_and_no_interval() -> None:
    single = hits(3, 1, 0.5)
    assert figures(single, NAMES)["hit@10"].low is None
    gain = gains(single + 1, single, NAMES)["hit@10"]
    assert (gain.absolute.low, gain.p, gain.apart) == (None, None, False)


def test_nothing_can_be_relative_to_zero() -> None:
    zero = np.zeros((1, 20, 1))
    assert gains(zero + 1, zero, NAMES)["hit@10"].relative is None
    assert gains(zero, zero + 1, NAMES)["hit@10"].relative == Interval(-1.0)


def test_a_column_of_many_gains_asks_more_of_each() -> None:
    one = Gain(Interval(0.1, 0.01, 0.19), None, True, 0.03, 3)
    assert correct([one])[0].apart
    sure = replace(one, p=0.001)
    assert [gain.apart for gain in correct([one, sure, one])] == [False, True, False]
    assert one.clear  # its own interval is what it was
    # neither one seed nor a gain without an interval is a comparison of this kind
    alone, bare = replace(one, seeds=1, p=0.0), replace(one, p=None)
    assert [gain.apart for gain in correct([one, alone, bare])] == [True, False, False]


def test_steps_to_a_share_of_the_last_figure() -> None:
    curve = [{"step": s, "hit@10": h} for s, h in ((10, 0.2), (20, 0.92), (30, 0.5), (40, 1.0))]
    assert steps_to(0.9, [{"step": 5, "loss": 3.0}, *curve], "hit@10") == 20
    assert steps_to(0.9, [{"step": 5, "loss": 3.0}], "hit@10") is None

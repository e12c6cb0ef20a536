"""Laws of the hierarchical bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from tgqformer.comparison.statistics import bootstrap, figures, gains, steps_to
from tgqformer.evaluation.intervals import paired_difference

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
    assert not gain.apart


def test_seeds_that_differ_widen_the_interval() -> None:
    apart = hits(3, 400, 0.5, 0.3)
    pooled = apart.reshape(1, -1, 1)
    assert width(apart) > 2 * width(pooled)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_the_seeds_have_the_whole_of_their_variance(runs: int) -> None:
    """Every query of a seed alike: what is drawn is the mean of S seeds, of variance s^2 / S."""
    rates = np.random.default_rng(2).random(runs)
    drawn = bootstrap(np.tile(rates[:, None, None], (1, 50, 1)), samples=40_000)
    assert drawn.mean() == pytest.approx(rates.mean(), abs=0.01)
    assert drawn.var() == pytest.approx(rates.var(ddof=1) / runs, rel=0.05)


def test_a_lead_over_several_seeds_is_clear_of_chance() -> None:
    better, worse = hits(3, 300, 0.6), hits(3, 300, 0.2)
    gain = gains(better, worse, NAMES)["hit@10"]
    assert gain.apart
    assert not gain.of_one_seed


def test_seeds_that_agree_do_not_pass_for_more_queries() -> None:
    one = hits(1, 300, 0.4)
    three = np.repeat(one, 3, axis=0)
    assert width(three) == pytest.approx(width(one), rel=0.1)


def test_the_mean_is_the_mean_and_lies_in_its_interval() -> None:
    values = hits(2, 120, 0.3, 0.1)
    figure = figures(values, NAMES)["hit@10"]
    assert figure.value == pytest.approx(values.mean())
    assert figure.seeds == pytest.approx(values.mean(axis=(1, 2)))
    assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_one_seed_gives_the_paired_bootstrap_over_queries() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(300) < 0.4).astype(float), (rng.random(300) < 0.6).astype(float)
    known = paired_difference(a, b, samples=4000)
    gain = gains(b[None, :, None], a[None, :, None], NAMES, samples=4000)["hit@10"]
    assert gain.absolute.value == pytest.approx(known.absolute.value)
    assert gain.absolute.low == pytest.approx(known.absolute.low, abs=0.01)
    assert gain.absolute.high == pytest.approx(known.absolute.high, abs=0.01)
    assert known.apart
    assert gain.of_one_seed
    assert not gain.apart  # another seed may say otherwise


def test_pairing_takes_the_common_part_away() -> None:
    """What every query has in common for both methods widens neither's lead."""
    hard = hits(3, 200, 0.5)
    better = np.clip(hard + 0.1, 0, 2)
    gain = gains(better, hard, NAMES)["hit@10"]
    assert gain.absolute.low == pytest.approx(0.1)
    assert gain.absolute.high == pytest.approx(0.1)


def test_draws_hang_on_shape_and_seed_alone() -> None:
    first, second = hits(2, 50, 0.5), hits(2, 50, 0.1)
    joined = bootstrap(np.concatenate([first, second], axis=2))
    assert np.allclose(joined[:, :1], bootstrap(first))
    assert np.allclose(joined[:, 1:], bootstrap(second))


def test_many_queries_are_drawn_in_parts_to_the_same_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = hits(2, 90, 0.5)
    whole = bootstrap(values)
    monkeypatch.setattr("tgqformer.comparison.statistics._DRAWS_AT_ONCE", 900)
    assert np.array_equal(bootstrap(values), whole)


def test_without_draws_there_is_a_mean_and_no_interval() -> None:
    single = hits(3, 1, 0.5)
    assert figures(single, NAMES)["hit@10"].low is None
    assert figures(hits(2, 9, 0.5), NAMES, samples=0)["hit@10"].high is None
    assert not gains(single + 1, single, NAMES)["hit@10"].apart


def test_nothing_can_be_relative_to_zero() -> None:
    zero = np.zeros((1, 20, 1))
    assert gains(zero + 1, zero, NAMES)["hit@10"].relative is None


def test_steps_to_a_share_of_the_last_figure() -> None:
    curve = [{"step": s, "hit@10": h} for s, h in ((10, 0.2), (20, 0.92), (30, 0.5), (40, 1.0))]
    assert steps_to(0.9, [{"step": 5, "loss": 3.0}, *curve], "hit@10") == 20
    assert steps_to(0.9, [{"step": 5, "loss": 3.0}], "hit@10") is None

"""Means over seeds and queries, and how sure they are.

Two things are drawn by chance: which queries a shop happens to ask, and the seed of a run. The
variance of a mean over S seeds and M queries has a part of each,

    V = V_q + V_s     V_q = var_m(mean_s x[s, m]) / M     V_s = var_s(mean_m x[s, m]) / S

and the 95 % interval is the mean and t sqrt(V) to either side, where t is Student's quantile at the
degrees of freedom of Welch and Satterthwaite (Satterthwaite, An Approximate Distribution of
Estimates of Variance Components, Biometrics Bulletin 2, 1946; Welch, Biometrika 34, 1947),

    v = V^2 / (V_q^2 / (M - 1) + V_s^2 / (S - 1))

Three seeds tell little of their own spread: where it rules, t is near 4.3 and not 1.96. What a
query does under one seed and not under another is in both parts, so where seeds agree an interval
is a little wide. In simulation, 1,000 queries and three seeds, 97 of 100 hold the truth where seeds
deviate by one point, 95 by two, 93 by four; of two seeds that deviate by four, 88.

Two methods are compared by their differences, query by query and seed by seed; the logarithm of
their ratio by those of ours / mean(ours) and other / mean(other), the delta method. With one seed V
is V_q, which says nothing of how another seed would have ended: no gap is called clear of chance
then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from tgqformer.comparison.results import Figure, Gain
from tgqformer.evaluation.intervals import CONFIDENCE, Interval, holm

Table = npt.NDArray[np.float64]
"""[S, M, C]: seeds, queries, figures."""
Row = npt.NDArray[np.float64]
"""[C]."""


def figures(values: Table, names: Sequence[str]) -> dict[str, Figure]:
    """Name -> mean, interval and each seed's mean, for shares [S, M, C] with C names.

    Intervals end at 0 and 1, beyond which there is no share; a single query has none.
    """
    means, seeds = values.mean(axis=(0, 1)), values.mean(axis=1)
    sides = _half_widths(values)
    found = {}
    for i, name in enumerate(names):
        one = _interval(means[i], sides, i)
        low = None if one.low is None else max(0.0, one.low)
        high = None if one.high is None else min(1.0, one.high)
        found[name] = Figure(one.value, low, high, tuple(seeds[:, i].tolist()))
    return found


def gains(ours: Table, other: Table, names: Sequence[str]) -> dict[str, Gain]:
    """Name -> how far `ours` lies above `other`, both [S, M, C] over the same seeds and queries.

    `apart` is that of each gain alone; `correct` judges it among the others of its column.
    """
    seeds, queries, _ = ours.shape
    mine, theirs = ours.mean(axis=(0, 1)), other.mean(axis=(0, 1))
    gaps, sides = mine - theirs, _half_widths(ours - other)
    ratios = _ratios(ours, other)
    p: list[float | None] = [None] * len(names)
    if queries > 1:
        p = [p_value(*map(float, each)) for each in zip(gaps, *standard_error(ours - other))]
    found = {
        name: Gain(_interval(gaps[i], sides, i), ratios[i], False, p[i], seeds)
        for i, name in enumerate(names)
    }
    return {name: correct([gain])[0] for name, gain in found.items()}


def correct(column: Sequence[Gain]) -> list[Gain]:
    """The gains of one column of a table, `apart` where it holds though there are so many.

    By Holm (`intervals.holm`): among all of them the chance that any is called so by chance alone
    is 5 % at most. A gain of one seed is never apart.
    """
    told = [i for i, gain in enumerate(column) if gain.p is not None and gain.seeds > 1]
    adjusted = dict(zip(told, holm([column[i].p or 0.0 for i in told])))
    return [
        replace(gain, apart=adjusted.get(i, 1.0) < 1 - CONFIDENCE) for i, gain in enumerate(column)
    ]


def standard_error(values: Table) -> tuple[Row, Row]:
    """sqrt(V) and its degrees of freedom, [C] each; two queries at least.

    Degrees of freedom are rounded down to three digits, so that few quantiles need be computed.
    """
    seeds, queries, _ = values.shape
    by_query = values.mean(axis=0).var(axis=0, ddof=1) / queries
    by_seed = np.zeros_like(by_query)
    if seeds > 1:
        by_seed = values.mean(axis=1).var(axis=0, ddof=1) / seeds
    whole = by_query + by_seed
    parts = by_query**2 / (queries - 1) + by_seed**2 / max(1, seeds - 1)
    freedom = np.full_like(whole, queries - 1)
    np.divide(whole**2, parts, out=freedom, where=parts > 0)
    digit = 10 ** (np.floor(np.log10(freedom)) - 2)
    return np.sqrt(whole), np.maximum(1, np.floor(freedom / digit) * digit)


def p_value(gap: float, error: float, freedom: float) -> float:
    """Two-sided, of a gap by Student's t; 0 where a gap has no error at all."""
    if not error:
        return float(gap == 0)
    return float(2 * stdtr(freedom, -abs(gap / error)))


def t_quantile(freedom: float) -> float:
    """What Student's t lies within, to either side, for 95 of 100; `freedom` from 1."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _half_widths(values: Table) -> list[float] | None:
    """Of the intervals, one for each figure; None where a single query tells no spread."""
    if values.shape[1] < 2:
        return None
    error, freedom = standard_error(values)
    return [float(e) * t_quantile(float(v)) if e else 0.0 for e, v in zip(error, freedom)]


def _ratios(ours: Table, other: Table) -> list[Interval | None]:
    """Ours over the other, minus 1, by the logarithm of the ratio; None where the other is 0."""
    mine, theirs = ours.mean(axis=(0, 1)), other.mean(axis=(0, 1))
    both = (mine != 0) & (theirs != 0)
    a, b = np.where(both, mine, 1.0), np.where(both, theirs, 1.0)
    sides = _half_widths(ours / a - other / b)
    found: list[Interval | None] = []
    for i, ratio in enumerate(a / b):
        if not both[i]:
            found.append(Interval(-1.0) if theirs[i] else None)
            continue
        value, side = float(ratio), None if sides is None else float(np.exp(sides[i]))
        low, high = (None, None) if side is None else (value / side - 1, value * side - 1)
        found.append(Interval(value - 1, low, high))
    return found


def _interval(mean: float, half_widths: Sequence[float] | None, i: int) -> Interval:
    value = float(mean)
    if half_widths is None:
        return Interval(value)
    return Interval(value, value - half_widths[i], value + half_widths[i])


def steps_to(share: float, curve: Sequence[dict[str, float]], metric: str) -> int | None:
    """The first step whose figure is `share` of the last one's; None without figures."""
    told = [(line["step"], line[metric]) for line in curve if metric in line]
    if not told:
        return None
    return next(int(step) for step, value in told if value >= share * told[-1][1])

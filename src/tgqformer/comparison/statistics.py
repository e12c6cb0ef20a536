"""Means over seeds and queries, and how sure they are.

Two things are drawn by chance: which queries a shop happens to ask, and the seed of a run. So the
bootstrap is hierarchical: seeds are drawn with replacement, and queries with replacement, and what
two methods are compared on are the same draws. Drawing S seeds out of S gives (S - 1) / S of their
variance, so what the seeds add is widened by that (Davison and Hinkley, Bootstrap Methods, 1997,
section 3.8). With one seed the interval is over queries alone, and says nothing of how another seed
would have ended: no gap is called clear of chance then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tgqformer.comparison.results import Figure, Gain
from tgqformer.evaluation.intervals import CONFIDENCE, Interval

Table = npt.NDArray[np.float64]
"""[S, M, C]: seeds, queries, figures."""

SAMPLES = 1000
SEED = 0
_DRAWS_AT_ONCE = 4_000_000


def bootstrap(values: Table, *, samples: int = SAMPLES, seed: int = SEED) -> Table:
    """Means over resampled seeds and queries: [S, M, C] -> [samples, C].

    The draws hang on S, M, `samples` and `seed` alone, so that tables of the same seeds and
    queries see the same ones.
    """
    runs, queries, figures = values.shape
    rng = np.random.default_rng([seed, runs, queries])
    drawn_runs = _counts(rng, samples, runs)  # [samples, S]
    widened = np.sqrt(runs / max(1, runs - 1))
    means = np.empty((samples, figures))
    step = max(1, _DRAWS_AT_ONCE // queries)
    flat = values.transpose(1, 0, 2).reshape(queries, runs * figures)
    for start in range(0, samples, step):
        rows = slice(start, min(start + step, samples))
        weights = _counts(rng, rows.stop - rows.start, queries)
        by_run = (weights @ flat).reshape(-1, runs, figures) / queries
        middle = by_run.mean(axis=1)
        drawn = np.einsum("bs,bsc->bc", drawn_runs[rows], by_run) / runs
        means[rows] = middle + widened * (drawn - middle)
    return means


def figures(values: Table, names: Sequence[str], *, samples: int = SAMPLES) -> dict[str, Figure]:
    """Name -> mean, interval and each seed's mean, for [S, M, C] with C names."""
    whole, seeds = values.mean(axis=(0, 1)), values.mean(axis=1)
    low, high = [None] * len(names), [None] * len(names)
    if _can_draw(values, samples):
        low, high = (side.tolist() for side in _bounds(bootstrap(values, samples=samples)))
    return {
        name: Figure(float(whole[i]), low[i], high[i], tuple(seeds[:, i].tolist()))
        for i, name in enumerate(names)
    }


def gains(
    ours: Table, other: Table, names: Sequence[str], *, samples: int = SAMPLES
) -> dict[str, Gain]:
    """Name -> how far `ours` lies above `other`, both [S, M, C] over the same seeds and queries."""
    count, both = len(names), np.concatenate([ours, other], axis=2)
    whole = both.mean(axis=(0, 1))
    means = bootstrap(both, samples=samples) if _can_draw(both, samples) else None
    return {
        name: _gain(
            whole[[i, count + i]],
            None if means is None else means[:, [i, count + i]],
            several=len(ours) > 1,
        )
        for i, name in enumerate(names)
    }


def _gain(whole: Table, means: Table | None, *, several: bool) -> Gain:
    gap, ratio = float(whole[0] - whole[1]), _ratio(whole[None])
    if means is None:
        return Gain(Interval(gap), None if ratio is None else Interval(float(ratio[0])), False)
    low, high = (float(side) for side in _bounds(means[:, 0] - means[:, 1]))
    relative = None
    drawn = _ratio(means)
    if ratio is not None:
        below, above = (None, None) if drawn is None else map(float, _bounds(drawn))
        relative = Interval(float(ratio[0]), below, above)
    return Gain(Interval(gap, low, high), relative, several and (low > 0 or high < 0))


def _ratio(pairs: Table) -> Table | None:
    """Ours over the other, minus 1, of [N, 2]; None where the other is 0 anywhere."""
    return pairs[:, 0] / pairs[:, 1] - 1 if pairs[:, 1].all() else None


def _can_draw(values: Table, samples: int) -> bool:
    return samples > 0 and values.shape[1] > 1


def _counts(rng: np.random.Generator, samples: int, size: int) -> Table:
    """How often each of `size` is drawn in `size` draws: [samples, size]."""
    drawn = rng.integers(0, size, (samples, size)) + np.arange(samples)[:, None] * size
    counted = np.bincount(drawn.ravel(), minlength=samples * size)
    return counted.reshape(samples, size).astype(np.float64)


def _bounds(means: Table) -> Table:
    tail = (1 - CONFIDENCE) / 2
    bounds: Table = np.quantile(means, [tail, 1 - tail], axis=0)
    return bounds


def steps_to(share: float, curve: Sequence[dict[str, float]], metric: str) -> int | None:
    """The first step whose figure is `share` of the last one's; None without figures."""
    told = [(line["step"], line[metric]) for line in curve if metric in line]
    if not told:
        return None
    return next(int(step) for step, value in told if value >= share * told[-1][1])

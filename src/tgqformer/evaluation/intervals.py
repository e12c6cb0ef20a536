"""How sure a mean over queries is: percentile bootstrap, and the paired one for two models.

Queries are drawn with replacement; all figures, and both models of a pair, see the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.evaluation.metrics import Values

CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; `low` and `high` are None where none was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """How far `b` lies above `a`, query by query.

    Attributes:
        absolute: mean(b) − mean(a).
        relative: mean(b) / mean(a) − 1; None where mean(a) is 0, in the data or in a resample.
        p: two-sided, from the bootstrap; the smallest possible is 2 / (samples + 1). None without
            bootstrap.
        adjusted: `p` among the others of its column (`holm`); None where it stands alone.
    """

    absolute: Interval
    relative: Interval | None
    p: float | None
    adjusted: float | None = None

    @property
    def apart(self) -> bool:
        """The 95 % interval leaves zero out, and does so among the others of its column too."""
        low, high = self.absolute.low, self.absolute.high
        clear = low is not None and high is not None and (low > 0 or high < 0)
        return clear and (self.adjusted is None or self.adjusted < 1 - CONFIDENCE)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "apart": self.apart}


def bootstrap_means(values: Values, *, samples: int, seed: int = 0) -> Values:
    """Means over resampled queries: [M, C] -> [samples, C]."""
    count = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((samples, values.shape[1]))
    step = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        means[start : start + rows] = weights @ values / count
    return means


def mean_intervals(
    table: dict[str, Values], *, samples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Mean and interval of each column, each [M] over the same queries.

    Means only where `samples` is 0 or there is a single query, which says nothing of its spread.
    """
    values = np.stack(list(table.values()), axis=1)
    means = values.mean(axis=0)
    if samples == 0 or len(values) < 2:
        return {name: Interval(float(mean)) for name, mean in zip(table, means)}
    low, high = _bounds(bootstrap_means(values, samples=samples, seed=seed))
    return {
        name: Interval(float(means[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(table)
    }


def paired_difference(a: Values, b: Values, *, samples: int = 1000, seed: int = 0) -> Difference:
    """Compare two models on the same queries, [M] each, in the same order.

    Means only where `samples` is 0 or there is a single query.
    """
    mean_a, mean_b = float(a.mean()), float(b.mean())
    relative = mean_b / mean_a - 1 if mean_a else None
    if samples == 0 or len(a) < 2:
        return Difference(
            Interval(mean_b - mean_a), None if relative is None else Interval(relative), None
        )
    means = bootstrap_means(np.stack([a, b], axis=1), samples=samples, seed=seed)
    gaps = means[:, 1] - means[:, 0]
    low, high = _bounds(gaps)
    tail = min(np.count_nonzero(gaps <= 0), np.count_nonzero(gaps >= 0))
    ratio = None
    if relative is not None and means[:, 0].all():
        below, above = _bounds(means[:, 1] / means[:, 0] - 1)
        ratio = Interval(relative, float(below), float(above))
    return Difference(
        Interval(mean_b - mean_a, float(low), float(high)),
        ratio,
        min(1.0, 2 * (tail + 1) / (samples + 1)),
    )


def holm(p: Sequence[float]) -> list[float]:
    """The p of several comparisons, adjusted for there being several; in the order given.

    Calling those below 0.05 clear of chance makes one such call by chance in 5 % of tables at most,
    whatever depends on what (Holm, A Simple Sequentially Rejective Multiple Test Procedure,
    Scandinavian Journal of Statistics 6, 1979).
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    times = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * times), 1)
    found: list[float] = adjusted.tolist()
    return found


def _bounds(means: Values) -> npt.NDArray[np.float64]:
    tail = (1 - CONFIDENCE) / 2
    bounds: npt.NDArray[np.float64] = np.quantile(means, [tail, 1 - tail], axis=0)
    return bounds

"""Figures as people write them."""

from __future__ import annotations

from collections.abc import Sequence

from tgqformer.comparison.results import Gain
from tgqformer.evaluation.compare import metric_label, percent
from tgqformer.evaluation.intervals import Interval


def short_count(value: float) -> str:
    """1234567 -> "1.23 M", 5e8 -> "500 M", 2e9 -> "2 G"."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def relative_percent(share: float) -> str:
    """0.062 -> "+6.2 %", 4.1 -> "5.1 times"."""
    return f"{100 * share:+.1f} %" if share < 2 else f"{1 + share:.1f} times"


def gain_points(gain: Gain) -> str:
    """ "+5.3 [+2.1, +8.4] *": points, and what they rest on (`Gain.mark`)."""
    return signed(gain.absolute) + gain.mark


def gain_relative(gain: Gain) -> str:
    """ "+6.2 % [+2.4, +9.9]"; "–" where the other method is at zero."""
    if gain.relative is None:
        return "–"
    one = gain.relative
    if one.low is None or one.high is None or one.value >= 2:
        return relative_percent(one.value)
    return f"{relative_percent(one.value)} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def signed(one: Interval) -> str:
    """ "+5.3 [+2.1, +8.4]" in points."""
    if one.low is None or one.high is None:
        return f"{100 * one.value:+.1f}"
    return f"{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def value_and_bounds(one: Interval) -> tuple[str, str]:
    """("85.1", "[82.9, 87.0]"), the second "" without an interval."""
    value, _, bounds = percent(one).partition(" ")
    return value, bounds


def reaches(metric: str, value: float) -> str:
    """What a figure means, as the end of a sentence that begins with a method's name."""
    if metric == "hit@1":
        return f"puts a right item first for {100 * value:.1f} of 100 queries"
    if metric.startswith("hit@"):
        number = metric.removeprefix("hit@")
        return f"shows a right item among its first {number} for {100 * value:.1f} of 100 queries"
    return f"reaches {metric_label(metric)} {100 * value:.1f}"


def rate(value: float) -> str:
    """A learning rate: 0.001 -> "1e-3", 0.00015 -> "1.5e-4"."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def duration(seconds: float) -> str:
    """ "47 s", "12 min", "3.4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def enumerate_names(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)

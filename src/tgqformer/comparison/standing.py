"""Who stands where: our method, the others by strength, its variants; and figures in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tgqformer.comparison.results import CellResult, Figure, Gain, Results
from tgqformer.evaluation.compare import metric_label, percent
from tgqformer.evaluation.intervals import Interval

COMPARED = ("ours", "rival", "simple", "frozen")
CORRUPTIONS = {
    "overlays": "overlays only",
    "clutter": "clutter only",
    "overlays+clutter": "overlays and clutter",
}
_METRICS = ("hit@1", "hit@10", "hit@50", "hit@100")


def names(results: Results, groups: tuple[str, ...] = COMPARED) -> list[str]:
    """The methods of these groups, in the order of the results."""
    return [name for name, method in results.methods.items() if method.group in groups]


def metric_columns(results: Results) -> list[str]:
    """H@1, 10, 50 and 100 where they were measured, and the figure of the headline."""
    measured = {m for _, metrics in _measured(results) for m in metrics}
    columns = [m for m in _METRICS if m in measured]
    return columns if headline(results) in columns else [*columns, headline(results)]


def headline(results: Results) -> str:
    """The figure that the page is about: the one that chose rates and steps, or else H@10."""
    measured = [metrics for _, metrics in _measured(results)]
    for metric in (results.metric, "hit@10"):
        if not measured or any(metric in metrics for metrics in measured):
            return metric
    return next(iter(measured[0]), results.metric)


def figure_of(results: Results, name: str, catalog: str, metric: str) -> Figure | None:
    """What a method reaches on a catalog; None where it is not measured yet."""
    found = results.methods[name].catalogs.get(catalog) if name in results.methods else None
    return None if found is None else found.metrics.get(metric)


def gain_over(results: Results, name: str, catalog: str, metric: str) -> Gain | None:
    """How far ours is ahead of a method; None for ours and where it is not measured yet."""
    found = results.methods[name].catalogs.get(catalog)
    return None if found is None else found.gain.get(metric)


def ranked(
    results: Results, catalog: str, metric: str, groups: tuple[str, ...] = COMPARED
) -> list[str]:
    """The measured methods of these groups, best first."""
    found = [
        (figure.value, name)
        for name in names(results, groups)
        if (figure := figure_of(results, name, catalog, metric)) is not None
    ]
    return [name for _, name in sorted(found, key=lambda one: -one[0])]


def strongest(results: Results, catalog: str, metric: str) -> str | None:
    """The best method that is not ours, by the test figure itself, which favours that method."""
    return next((n for n in ranked(results, catalog, metric) if n != results.ours), None)


def label(results: Results, name: str) -> str:
    """A method as it is shown."""
    return results.methods[name].label if name in results.methods else name


def chosen_cells(results: Results, name: str) -> list[CellResult]:
    """The finished runs of a method at the rate that the sweep chose, one for each seed."""
    return [c for c in results.cells if c.method == name and c.chosen and c.state == "done"]


def interval(figure: Figure) -> Interval:
    """A figure without its seeds."""
    return Interval(figure.value, figure.low, figure.high)


def loss_from(gain: Gain) -> Interval:
    """This method minus ours: a gain of ours, seen from the other side."""
    low, high = gain.absolute.low, gain.absolute.high
    return Interval(
        -gain.absolute.value, None if high is None else -high, None if low is None else -low
    )


def _measured(results: Results) -> Iterator[tuple[str, dict[str, Figure]]]:
    for name, method in results.methods.items():
        for found in method.catalogs.values():
            yield name, found.metrics


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


def corruption_kinds(results: Results) -> list[str]:
    """The kinds that were measured, the single ones first."""
    found = {p.kind for n in names(results) for p in results.methods[n].robustness}
    return [k for k in CORRUPTIONS if k in found] + sorted(found - set(CORRUPTIONS))


def learning_curves(results: Results, method: str, metric: str) -> dict[float, list[float]]:
    """Step -> the validation figure of each seed of a method, at the chosen rate.

    Steps that only some seeds reached (early stopping) are left out, or the mean would jump.
    """
    cells = chosen_cells(results, method)
    found: dict[float, list[float]] = {}
    for cell in cells:
        for step, value in _points(cell, metric):
            found.setdefault(step, []).append(value)
    return {step: found[step] for step in sorted(found) if len(found[step]) == len(cells)}


def _points(cell: CellResult, metric: str) -> list[tuple[float, float]]:
    found = {}
    for row in cell.curve:
        value = row.get(metric, row.get(f"eval_{metric}"))
        if value is not None and "step" in row and math.isfinite(value):
            found[float(row["step"])] = float(value)
    return sorted(found.items())

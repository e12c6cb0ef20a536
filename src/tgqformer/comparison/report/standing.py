"""Who stands where: our method, the others by strength, and the variants of ours."""

from __future__ import annotations

from collections.abc import Iterator

from tgqformer.comparison.results import CellResult, Figure, Gain, Results
from tgqformer.evaluation.intervals import Interval

COMPARED = ("ours", "rival", "simple", "frozen")
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

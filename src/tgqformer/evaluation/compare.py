"""Several models side by side, each paired with the first, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tgqformer.errors import ConfigError
from tgqformer.evaluation.intervals import Difference, Interval, holm, paired_difference
from tgqformer.evaluation.result import Evaluation

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Comparison:
    """Models (rows) by figures (columns).

    Attributes:
        names: of the models; the first is the one the others are held against.
        values: model -> figure -> its mean and interval.
        differences: model -> figure -> first minus this model; none for the first.
        tied: models with a figure here that hangs on the order of equal scores.
        masked: how many known partners were left out of a query's pool, on average.
    """

    names: tuple[str, ...]
    metrics: tuple[str, ...]
    queries: int
    pool: int
    values: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Difference]]
    tied: tuple[str, ...] = ()
    masked: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "pool": self.pool,
            **({"masked": self.masked} if self.masked else {}),
            "tied": list(self.tied),
            "models": [
                {
                    "name": name,
                    "metrics": {m: self.values[name][m].to_dict() for m in self.metrics},
                    "first_minus_this": {
                        m: d.to_dict() for m, d in self.differences.get(name, {}).items()
                    },
                }
                for name in self.names
            ],
        }

    def markdown(self) -> str:
        """A table in percent, intervals in brackets; ends with a newline."""
        lines = [self._header(), ["---"] + ["---:"] * len(self.metrics), *self._rows()]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def rich_table(self, title: str | None = None) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", caption=self.caption())
        for number, heading in enumerate(self._header()):
            table.add_column(heading, justify="right" if number else "left")
        for row in self._rows():
            # Text, because a model's name may hold square brackets.
            table.add_row(*(Text(cell) for cell in row))
        return table

    def caption(self) -> str:
        first = self.names[0]
        text = f"{self.queries:,} queries, pool of {self.pool:,}"
        if self.masked:
            text += f" less {self.masked:.2f} known partners of a query on average"
        text += "; percent, 95 % bootstrap intervals"
        if len(self.names) > 1:
            text += f"; how far {first} is ahead is paired over queries, * = interval without zero"
            text += ", by Holm's correction for the column too" if len(self.names) > 2 else ""
        if self.tied:
            text += f"; {' and '.join(self.tied)}: mean over all orders of equal scores"
        return text

    def _header(self) -> list[str]:
        return ["model", *(metric_label(metric) for metric in self.metrics)]

    def _rows(self) -> list[list[str]]:
        rows = []
        for name in self.names:
            cells = [percent(self.values[name][m]) for m in self.metrics]
            rows.append([name, *cells])
            if name in self.differences:
                gaps = [points(self.differences[name][m]) for m in self.metrics]
                rows.append([f"  {self.names[0]} ahead by", *gaps])
        return rows


def compare(
    evaluations: Sequence[Evaluation],
    metrics: Sequence[str] | None = None,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Set evaluations of the same queries and pool side by side.

    Args:
        evaluations: the first is held against each of the others; names must differ.
        metrics: columns; None takes hit@K for each K, mrr and map@r.
        samples: paired bootstrap resamples; among n other models a star takes 40 n at least.

    Raises:
        ConfigError: nothing to compare, a name twice, an unknown figure, or evaluations that did
            not ask the same queries of the same pool.
    """
    if not evaluations:
        raise ConfigError("there is nothing to compare; name at least one evaluation.")
    first, names = evaluations[0], [e.name for e in evaluations]
    if len(set(names)) != len(names):
        raise ConfigError(f"models are named {names}, but names must differ; rename one.")
    columns = tuple(metrics or [*(f"hit@{k}" for k in first.ks), "mrr", "map@r"])
    for other in evaluations:
        unknown = [m for m in columns if m not in other.metrics]
        if unknown:
            raise ConfigError(
                f"{other.name} has no figure {unknown[0]!r}; choose from {sorted(other.metrics)}."
            )
        asked = ["query_id", "targets"]
        alike = (other.pool, other.masked) == (first.pool, first.masked)
        if not alike or not other.per_query.select(asked).equals(first.per_query.select(asked)):
            raise ConfigError(
                f"{other.name} and {first.name} were asked different queries or searched "
                "different pools; evaluate both on the same catalog and split, alike in `known`."
            )
    differences = {
        e.name: {
            m: paired_difference(
                e.per_query[m].to_numpy(),
                first.per_query[m].to_numpy(),
                samples=samples,
                seed=seed,
            )
            for m in columns
        }
        for e in evaluations[1:]
    }
    return Comparison(
        names=tuple(names),
        metrics=columns,
        queries=first.queries,
        pool=first.pool,
        values={e.name: {m: e.metrics[m] for m in columns} for e in evaluations},
        differences=_adjusted(differences, columns),
        masked=first.masked,
        tied=tuple(e.name for e in evaluations if any(hangs_on_ties(e, m) for m in columns)),
    )


def _adjusted(
    differences: dict[str, dict[str, Difference]], metrics: Sequence[str]
) -> dict[str, dict[str, Difference]]:
    """The same, with each `p` adjusted for how many models its column holds."""
    found: dict[str, dict[str, Difference]] = {name: {} for name in differences}
    for metric in metrics:
        told = {n: d[metric].p for n, d in differences.items()}
        column = holm([p for p in told.values() if p is not None])
        adjusted = dict(zip((n for n, p in told.items() if p is not None), column))
        for name in found:
            one = differences[name][metric]
            found[name][metric] = replace(one, adjusted=adjusted.get(name))
    return found


def hangs_on_ties(evaluation: Evaluation, metric: str) -> bool:
    """Whether the order of equal scores could move a figure by a tenth of a point."""
    low, high = evaluation.bounds[metric]
    return high - low > 0.001


def metric_label(metric: str) -> str:
    """ "hit@10" -> "H@10", "map@r" -> "mAP@R", ...: as the field writes them."""
    known = {"mrr": "MRR", "map@r": "mAP@R"}
    return known.get(metric) or metric.replace("hit@", "H@").replace("ndcg@", "nDCG@")


def percent(interval: Interval) -> str:
    """ "61.2 [58.1, 64.4]", or "61.2" without an interval."""
    text = f"{100 * interval.value:.1f}"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def points(difference: Difference) -> str:
    """ "+5.3 [+2.1, +8.4] *": percentage points, a star where it is clear of chance (`apart`)."""
    gap = difference.absolute
    text = f"{100 * gap.value:+.1f}"
    if gap.low is not None and gap.high is not None:
        text += f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    return text + (" *" if difference.apart else "")

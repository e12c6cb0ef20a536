"""Where co-engagement takes over from content: the prior of a blend, fitted on validation.

`retrieval/blend.py` has the rule, n / (n + prior). The prior is the one of `PRIORS` whose blend
finds most for the warm queries of the validation split. Where that split has none, as in a cold
one, some training pairs are held out for it, and the vectors may have been trained on those: then
content looks better here than it is, and the prior comes out too large rather than too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tgqformer.catalog.splits import split_warm
from tgqformer.errors import CatalogError
from tgqformer.evaluation.collaborative import Engagement, co_engaged
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.figures import (
    DASHES,
    INK,
    MARKERS,
    SERIES,
    drawing,
    legend_above,
    svg_file,
)
from tgqformer.evaluation.intervals import Interval
from tgqformer.progress import track
from tgqformer.retrieval.blend import Blend, weight
from tgqformer.retrieval.scores import Rows, Vectors, unit

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

PRIORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
METRIC = "hit@10"
_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
FEWEST = 20
"""Warm queries of validation, below which training pairs are held out instead."""
MOST = 2000
"""Warm queries that the priors are tried on, drawn where there are more."""
HELD_OUT = 0.1
MODELS = ("content", "co-engaged", "blend")


@dataclass(frozen=True)
class Group:
    """Queries that were seen about equally often.

    Attributes:
        interactions: how often, in words: "3-5".
        queries: how many.
        seen: their mean number.
        weight: what co-engagement counts for an item that was seen so often, in 0..1.
        hits: of `MODELS`, `METRIC` with its 95 % interval.
    """

    interactions: str
    queries: int
    seen: float
    weight: float
    hits: dict[str, Interval]


@dataclass(frozen=True)
class Fit:
    """What validation says of a blend.

    Attributes:
        prior: the best of `tried`, of equal ones by MRR, then the larger, which trusts content
            longer.
        tried: prior -> (`METRIC`, MRR) over the warm queries.
        queries: warm ones.
        held_out: training pairs that were held out to be asked for; 0 where validation had enough.
        curve: by interactions, few to many.
    """

    prior: float
    tried: dict[float, tuple[float, float]]
    queries: int
    held_out: int
    curve: tuple[Group, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "prior": self.prior,
            "tried": [
                {"prior": prior, METRIC: hits, "mrr": mrr}
                for prior, (hits, mrr) in self.tried.items()
            ],
            "queries": self.queries,
            "held_out": self.held_out,
            "curve": [
                {
                    "interactions": group.interactions,
                    "queries": group.queries,
                    "seen": group.seen,
                    "weight": group.weight,
                    METRIC: {name: hits.to_dict() for name, hits in group.hits.items()},
                }
                for group in self.curve
            ],
        }


def fit_blend(
    vectors: Vectors,
    catalog: Catalog,
    engagement: Engagement,
    *,
    by: str = "item_cosine",
    priors: Sequence[float] = PRIORS,
    seed: int = 0,
    progress: bool = False,
) -> Fit:
    """Choose the prior by validation, and tell what it comes to by interactions.

    Args:
        vectors: [N, D] in the order of the catalog.
        engagement: from the training pairs, or from a log that ends where validation begins.
        by: as `co_engaged`.
        priors: to choose from.
        seed: of what is held out, and of the bootstrap.
        progress: show a bar on stderr.

    Raises:
        CatalogError: nothing can be held out, or a log was given and validation has no warm query.
        ConfigError: an option breaks its rule.
    """
    catalog, engagement, held_out = _asked(catalog, engagement, seed)
    warm = catalog.with_pairs(_of_some(_of_seen(catalog, engagement.seen), seed))
    together = co_engaged(engagement, by)
    tried: dict[float, tuple[float, float]] = {}
    for prior in track(priors, total=len(priors), text="priors", show=progress):
        blend = Blend(vectors, together, engagement.seen, prior)
        found = evaluate(blend, warm, split="val", ks=(10,), bootstrap=0, seen=engagement.seen)
        tried[prior] = (found[METRIC], found["mrr"])
    best = max(tried, key=lambda prior: (*tried[prior], prior))
    queries = len(np.unique(warm.pair_indices("val")[0]))
    curve = _curve(vectors, catalog, engagement, together, best, seed)
    return Fit(best, tried, queries, held_out, curve)


def blend_figure(fit: Fit) -> str:
    """The weight over the number of interactions, and what each side and the blend find, as SVG."""
    groups = fit.curve
    with drawing(height=4.4) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        most = max([group.seen for group in groups] + [10 * fit.prior, 1.0])
        seen = np.expm1(np.linspace(0, np.log1p(most), 200))
        above.plot(seen, weight(seen, fit.prior), color=SERIES[0], linewidth=2.0)
        above.axvline(fit.prior, color=INK, linewidth=0.8, linestyle=":")
        above.set_ylabel("weight of co-engagement")
        above.set_ylim(0, 1)
        for number, name in enumerate(reversed(MODELS)):
            below.errorbar(
                [group.seen for group in groups],
                [100 * group.hits[name].value for group in groups],
                yerr=np.transpose([_spread(group.hits[name]) for group in groups]),
                color=SERIES[number],
                marker=MARKERS[number],
                markersize=4,
                linestyle=("-", *DASHES)[number],
                linewidth=1.4,
                elinewidth=0.8,
                label=name,
            )
        below.set_xscale("function", functions=(np.log1p, np.expm1))
        below.set_xticks([tick for tick in _TICKS if tick <= most])
        below.xaxis.set_major_formatter("{x:g}")
        below.set_xlim(left=0)
        below.set_ylim(bottom=0)
        below.set_ylabel(f"{metric_label(METRIC)}, validation, %")
        below.set_xlabel("interactions of the query")
        legend_above(below, columns=3)
        text = [f"Co-engagement weighs n / (n + {fit.prior:g}) after n interactions."]
        for group in groups:
            hits = ", ".join(f"{name} {100 * group.hits[name].value:.1f}" for name in MODELS)
            text.append(f"{group.interactions} interactions, {group.queries} queries: {hits}.")
        return svg_file(figure, " ".join(text), "blend")


def _asked(catalog: Catalog, engagement: Engagement, seed: int) -> tuple[Catalog, Engagement, int]:
    """The catalog whose validation pairs are asked for, what is known then, and the held out."""
    enough = len(np.unique(_of_seen(catalog, engagement.seen).filter(split="val")["query"]))
    if enough >= FEWEST:
        return catalog, engagement, 0
    if engagement.source == "log":
        raise CatalogError(
            f"validation has {enough} queries that the log has seen, and {FEWEST} at least are "
            "needed to choose the prior; name it (--prior), or take the log's pairs in place of "
            "the log."
        )
    known = split_warm(catalog, val=HELD_OUT, test=0.0, seed=seed)
    held_out = len(known.pair_indices("val")[0]) - len(catalog.pair_indices("val")[0])
    if not held_out:
        raise CatalogError(
            "no training pair can be held out to choose the prior, as no two items keep another "
            "partner each; name it (--prior)."
        )
    return known, Engagement.from_pairs(known), held_out


def _of_seen(catalog: Catalog, seen: Rows) -> pl.DataFrame:
    """The pairs without those of validation whose query was never seen."""
    table = catalog.pair_table
    known = pl.Series(seen[table["query"].to_numpy()] > 0)
    return table.filter((pl.col("split") != "val") | known)


def _of_some(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The pairs without those of validation whose query is not among `MOST` that are drawn."""
    queries = table.filter(split="val")["query"].unique().sort()
    if len(queries) > MOST:
        queries = queries.gather(np.random.default_rng(seed).choice(len(queries), MOST, False))
    return table.filter((pl.col("split") != "val") | pl.col("query").is_in(queries.implode()))


def _curve(
    vectors: Vectors,
    catalog: Catalog,
    engagement: Engagement,
    together: Any,
    prior: float,
    seed: int,
) -> tuple[Group, ...]:
    seen = engagement.seen
    nothing = np.zeros_like(vectors)
    scorers: tuple[Vectors | Blend, ...] = (
        unit(vectors),
        Blend(nothing, together, seen, prior),
        Blend(vectors, together, seen, prior),
    )
    models = {
        name: evaluate(scorer, catalog, split="val", name=name, ks=(10,), seen=seen, seed=seed)
        for name, scorer in zip(MODELS, scorers)
    }
    table = models["blend"].per_query
    parts = {
        name: {value: (part.queries, part.metrics) for value, part in groups.items()}
        if (groups := found.breakdown.get("interactions"))
        else {table["interactions"][0]: (found.queries, found.metrics)}  # all queries are alike
        for name, found in models.items()
    }
    rows = np.array([catalog.index[query] for query in table["query_id"]])
    counted = table.select("interactions", seen=pl.Series(seen[rows]))
    means = dict(counted.group_by("interactions").agg(pl.col("seen").mean()).iter_rows())
    return tuple(
        Group(
            value,
            queries,
            means[value],
            float(weight(means[value], prior)),
            {name: parts[name][value][1][METRIC] for name in MODELS},
        )
        for value, (queries, _) in parts["blend"].items()
    )


def _spread(hits: Interval) -> tuple[float, float]:
    low = hits.value if hits.low is None else min(hits.low, hits.value)
    high = hits.value if hits.high is None else max(hits.high, hits.value)
    return 100 * (hits.value - low), 100 * (high - hits.value)

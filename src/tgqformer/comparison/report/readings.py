"""One sentence to each figure and table, for a reader who is no statistician.

A sentence never says more than its interval does: a gap whose interval holds zero may be chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.comparison.report.drawing import CORRUPTIONS, corruption_kinds, learning_curves
from tgqformer.comparison.report.standing import (
    figure_of,
    gain_over,
    label,
    names,
    ranked,
    strongest,
)
from tgqformer.comparison.report.tables import SEVERITY, kept
from tgqformer.comparison.report.words import (
    enumerate_names,
    gain_points,
    reaches,
    relative_percent,
    short_count,
    signed,
)
from tgqformer.comparison.results import VARIANTS, GateFigure, Results
from tgqformer.errors import ConfigError
from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.report import GalleryCell, gallery_cell, nearest, noise_notes
from tgqformer.retrieval.scores import as_vectors

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

_RISING = 0.01


def headline_reading(results: Results, catalog: str, metric: str) -> str:
    """What ours reaches, what the strongest other does, and whether the gap may be chance."""
    ours, rival = (
        figure_of(results, results.ours, catalog, metric),
        strongest(results, catalog, metric),
    )
    if ours is None:
        return f"{label(results, results.ours)} is not judged on {catalog} yet."
    text = f"{label(results, results.ours)} {reaches(metric, ours.value)}"
    if rival is None:
        return text + "; nothing else is judged here yet."
    other, gain = (
        figure_of(results, rival, catalog, metric),
        gain_over(results, rival, catalog, metric),
    )
    assert other is not None
    text += f"; the strongest other method, {label(results, rival)}, {100 * other.value:.1f}."
    if gain is None:
        return text
    ahead = gain.absolute.value
    side = "ahead" if ahead >= 0 else "behind"
    text += f" It is {side} by {100 * abs(ahead):.1f} points"
    if gain.relative is not None:
        text += f" ({relative_percent(gain.relative.value)})"
    if gain.absolute.low is None:
        return text + "; with no interval, how sure that is cannot be told."
    if gain.of_one_seed:
        return text + "; with one training seed, another may say otherwise."
    bounds = signed(gain.absolute).partition(" ")[2]
    if gain.apart:
        return text + ", more than chance explains."
    if gain.clear:
        return text + ", which may be chance, as so many methods are compared."
    return text + (f", which may be chance: the gap's interval {bounds} holds zero.")


def gains_reading(results: Results, catalog: str, metric: str) -> str:
    """Of how many methods ours is ahead, and of how many that is beyond chance."""
    gains = {
        name: gain
        for name in ranked(results, catalog, metric)
        if (gain := gain_over(results, name, catalog, metric)) is not None
    }
    ahead = [n for n, g in gains.items() if g.apart and g.absolute.value > 0]
    behind = [n for n, g in gains.items() if g.apart and g.absolute.value < 0]
    single = [n for n, g in gains.items() if g.of_one_seed]
    if single and not ahead and not behind:
        return "One training seed: what lies between the methods may be the seed's."
    unclear = [n for n in gains if n not in ahead and n not in behind]
    text = f"Ahead of {len(ahead)} of {len(gains)} methods by more than chance explains"
    if unclear:
        text += f"; undecided against {_labels(results, unclear)}"
    if behind:
        text += f"; behind {_labels(results, behind)}"
    return text + "."


def learning_reading(results: Results, methods: Sequence[str], metric: str) -> str:
    """Who is fast, and whose curve still rises, so that more steps could change the order."""
    steps = {n: s for n in methods if (s := results.methods[n].steps_to_90)}
    means = {n: sum(s) / len(s) for n, s in steps.items()}
    text = []
    if results.ours in means and len(means) > 1:
        others = {n: mean for n, mean in means.items() if n != results.ours}
        first = min(others, key=lambda n: others[n])
        text.append(
            f"{label(results, results.ours)} is at 90 % of its last figure after "
            f"{means[results.ours]:,.0f} steps; the fastest of the others, "
            f"{label(results, first)}, after {others[first]:,.0f}."
        )
    curves = {n: learning_curves(results, n, metric) for n in methods}
    rising = [name for name, curve in curves.items() if _rises(list(curve.values()))]
    if rising:
        text.append(
            f"Still rising at the right edge, so that more steps could change the order: "
            f"{_labels(results, rising)}."
        )
    elif any(len(curve) > 3 for curve in curves.values()):
        text.append("No curve rises by a point any more at its end.")
    return " ".join(text)


def robustness_reading(results: Results, metric: str) -> str:
    """What ours and the best of the others keep under all corruptions together."""
    kinds = corruption_kinds(results)
    if not kinds:
        return ""
    kind = kinds[-1]
    found = {n: one for n in names(results) if (one := kept(results, n, kind, metric)) is not None}
    others = {n: one for n, one in found.items() if n != results.ours}
    if results.ours not in found or not others:
        return ""
    best = max(others, key=lambda n: others[n][1])
    share, left = found[results.ours]
    return (
        f"With {CORRUPTIONS.get(kind, kind)} at severity {SEVERITY:g} "
        f"{label(results, results.ours)} keeps {100 * share:.0f} % of its clean "
        f"{metric_label(metric)} and is left with {100 * left:.1f}; the best of the others there, "
        f"{label(results, best)}, keeps {100 * others[best][0]:.0f} % and is left with "
        f"{100 * others[best][1]:.1f}. A kept share alone flatters a method that had little to "
        "lose, so both are told."
    )


def cost_reading(results: Results, catalog: str, metric: str) -> str:
    """What ours costs beside the strongest other method."""
    rival = strongest(results, catalog, metric)
    ours = results.methods.get(results.ours)
    if rival is None or ours is None:
        return ""
    other, parts = results.methods[rival], []
    for a, b, unit in (
        (ours.multiply_adds, other.multiply_adds, "multiply-adds for an item"),
        (ours.trained_parameters, other.trained_parameters, "trained parameters"),
    ):
        if a and b:
            parts.append(f"{short_count(a)} against {short_count(b)} {unit}")
    if not parts:
        return ""
    return (
        f"{label(results, results.ours)} beside the strongest other method, {other.label}: "
        f"{enumerate_names(parts)}. Up and to the left is better: more found for less."
    )


def gates_reading(results: Results) -> str:
    """Whether the gates answer to worse photos, held against their spread over items."""
    gates = results.methods[results.ours].gates if results.ours in results.methods else ()
    clean = next((g for g in gates if g.condition == "clean"), None)
    worst = max(
        (g for g in gates if g.condition == "overlays+clutter"),
        key=lambda g: g.severity,
        default=None,
    )
    if clean is None or worst is None:
        return ""
    told = []
    for name, a, b in (
        ("anchored gate", clean.anchored, worst.anchored),
        ("exploratory gate", clean.exploratory, worst.exploratory),
        ("image–title agreement", clean.agreement, worst.agreement),
    ):
        if isinstance(a, GateFigure) and isinstance(b, GateFigure):
            size = "more" if abs(b.mean - a.mean) > a.spread else "less"
            told.append(
                f"the {name} goes from {a.mean:+.3f} to {b.mean:+.3f}, {size} than clean "
                "items differ among themselves"
            )
    return (
        f"From photos as they are to severity {worst.severity:g} of all corruptions "
        f"{'; '.join(told)}."
        if told
        else ""
    )


def breakdown_reading(results: Results, catalog: str, dimension: str, metric: str) -> str:
    """Where ours is most and least ahead of the strongest other method."""
    rival = strongest(results, catalog, metric)
    found = results.methods[rival].catalogs[catalog] if rival else None
    groups = found.breakdown.get(dimension, {}) if found else {}
    gains = {g: one.gain[metric] for g, one in groups.items() if metric in one.gain}
    if rival is None or not gains:
        return ""
    order = sorted(gains, key=lambda g: -gains[g].absolute.value)
    text = (
        f"Against {label(results, rival)}, {label(results, results.ours)} is most ahead on "
        f"“{_words(order[0])}” ({gain_points(gains[order[0]])} points)"
    )
    if len(order) > 1:
        text += f" and least on “{_words(order[-1])}” ({gain_points(gains[order[-1]])})"
    return text + "; small groups have wide intervals."


def ablation_reading(results: Results, catalog: str, metric: str) -> str:
    """Which variants fall behind the full method, which do not, and which are better."""
    gains = {
        name: gain
        for name in names(results, VARIANTS)
        if (gain := gain_over(results, name, catalog, metric)) is not None
    }
    if not gains:
        return ""
    worse = [n for n, g in gains.items() if g.apart and g.absolute.value > 0]
    better = [n for n, g in gains.items() if g.apart and g.absolute.value < 0]
    single = [n for n, g in gains.items() if g.of_one_seed]
    unclear = [n for n in gains if n not in worse and n not in better and n not in single]
    parts = []
    if worse:
        parts.append(f"Worse than the full method, beyond chance: {_labels(results, worse)}.")
    if unclear:
        parts.append(f"No difference that chance could not make: {_labels(results, unclear)}.")
    if better:
        parts.append(f"Better than the full method: {_labels(results, better)}.")
    if single:
        parts.append(
            f"Of one training seed, so that another may say otherwise: {_labels(results, single)}."
        )
    return " ".join(parts)


def _rises(seeds: list[list[float]]) -> bool:
    """The mean gained over a point in the last quarter of the evaluations."""
    means = [sum(values) / len(values) for values in seeds]
    if len(means) < 4:
        return False
    return means[-1] - means[-1 - max(1, len(means) // 4)] > _RISING


def _labels(results: Results, methods: Sequence[str]) -> str:
    return enumerate_names([label(results, name) for name in methods])


def _words(group: str) -> str:
    return group.replace("_", " ")


# -- disagreements ---------------------------------------------------------------------------------
# Queries that one model answers and another does not, with what both find.

MOST = 12
"""Queries of a gallery at most."""


@dataclass(frozen=True)
class Disagreement:
    """A query that exactly one of two models answers.

    Attributes:
        query: the query.
        answers: what ours finds, best first, then what the other finds.
        ranks: of the first right item by ours, then by the other; 1 is best.
        note: the query's noise regime, "" where unknown.
    """

    query: GalleryCell
    answers: tuple[tuple[GalleryCell, ...], tuple[GalleryCell, ...]]
    ranks: tuple[int, int]
    note: str = ""


@dataclass(frozen=True)
class Disagreements:
    """Where two models part on one catalog.

    Attributes:
        catalog: its name.
        models: ours and the other, as they are shown.
        k: a query is answered where a right item is among the first k.
        counts: queries that both answer, ours alone, the other alone, neither.
        ours, other: drawn at random from those that only the one answers; as many of each.
    """

    catalog: str
    models: tuple[str, str]
    k: int
    counts: tuple[int, int, int, int]
    ours: tuple[Disagreement, ...]
    other: tuple[Disagreement, ...]


def disagreements(
    catalog: Catalog,
    ours: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    name: str,
    models: tuple[str, str],
    split: str = "test",
    k: int = 10,
    shown: int = 5,
    count: int = MOST,
    seed: int = 0,
) -> Disagreements:
    """Find where `ours` and `other` part, and draw at most `count` such queries, half of each kind.

    Args:
        ours, other: [N, D] and [N, E] in the order of `catalog.items`.
        name: of the catalog.
        shown: neighbours of each query and model.

    Queries are drawn, not chosen, those with a photo first; where one kind is rarer than
    `count` / 2, so few of the other are shown as well.

    Raises:
        ConfigError: vectors that are not those of the catalog's items.
        CatalogError: the split has no pair that can be ranked.
    """
    vectors = (as_vectors(ours), as_vectors(other))
    for model, found in zip(models, vectors):
        if len(found) != len(catalog.items):
            raise ConfigError(
                f"{model} came with {len(found)} vectors for {len(catalog.items)} items; "
                "encode the whole catalog, in its order."
            )
    tables = [evaluate(v, catalog, split=split, ks=(k,), bootstrap=0).per_query for v in vectors]
    queries = tables[0]["query_id"].to_list()
    ranks = np.stack([table["rank"].to_numpy() for table in tables], axis=1)
    hits = ranks <= k
    counts = [int(np.sum((hits == pattern).all(axis=1))) for pattern in _PATTERNS]
    each = min(count // 2, counts[1], counts[2])
    kinds = []
    for pattern in _PATTERNS[1:3]:
        places = np.flatnonzero((hits == pattern).all(axis=1))
        shuffled = np.random.default_rng(seed).permutation(places).tolist()
        rows = sorted(shuffled, key=lambda p: not catalog.items[catalog.index[queries[p]]].images)
        kinds.append(
            _rows(catalog, vectors, [queries[p] for p in rows[:each]], split, shown) if each else []
        )
    by_query = dict(zip(queries, ranks.tolist()))
    filled = [
        tuple(
            Disagreement(cell, answers, (int(by_query[q][0]), int(by_query[q][1])), note)
            for q, cell, answers, note in rows
        )
        for rows in kinds
    ]
    return Disagreements(
        name, models, k, (counts[0], counts[1], counts[2], counts[3]), filled[0], filled[1]
    )


_PATTERNS = ((True, True), (True, False), (False, True), (False, False))


def _rows(
    catalog: Catalog,
    vectors: Sequence[npt.NDArray[Any]],
    queries: Sequence[str],
    split: str,
    shown: int,
) -> list[tuple[str, GalleryCell, tuple[tuple[GalleryCell, ...], tuple[GalleryCell, ...]], str]]:
    query, target, _ = catalog.pair_indices(split)
    rows = [catalog.index[q] for q in queries]
    found = [nearest(catalog, stored, rows, split=split, k=shown) for stored in vectors]
    notes = noise_notes([catalog.items[row] for row in rows], catalog)
    out = []
    for number, row in enumerate(rows):
        right = set(target[query == row].tolist())
        cells = [
            tuple(
                gallery_cell(catalog.items[other], score=score, right=other in right)
                for other, score in answers[number]
            )
            for answers in found
        ]
        out.append(
            (
                queries[number],
                gallery_cell(catalog.items[row]),
                (cells[0], cells[1]),
                notes[number],
            )
        )
    return out

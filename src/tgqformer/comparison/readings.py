"""One sentence to each figure and table, for a reader who is no statistician.

A sentence never says more than its interval does: a gap whose interval holds zero may be chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from tgqformer.comparison.results import VARIANTS, GateFigure, Results
from tgqformer.comparison.standing import (
    CORRUPTIONS,
    corruption_kinds,
    enumerate_names,
    figure_of,
    gain_over,
    gain_points,
    label,
    learning_curves,
    names,
    ranked,
    reaches,
    relative_percent,
    short_count,
    signed,
    strongest,
)
from tgqformer.comparison.tables import SEVERITY, kept
from tgqformer.evaluation.compare import metric_label

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

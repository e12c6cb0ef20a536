"""What docs/results.md says in sentences: who wins, by what parts, of which data, made by what."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from results_files import METRIC, Comparison

from tgqformer.comparison.results import VARIANTS, Gain, Results
from tgqformer.comparison.standing import (
    enumerate_names,
    figure_of,
    gain_over,
    label,
    names,
    rate,
    signed,
    strongest,
)

WIDTH = 110


def verdict(columns: Sequence[tuple[Comparison, str]]) -> str:
    """On which catalogs ours wins, is level and loses, against the best of the others there."""
    told: dict[str, list[str]] = {"wins": [], "level": [], "loses": []}
    for each, catalog in columns:
        rival = strongest(each.results, catalog, METRIC)
        gain = None if rival is None else gain_over(each.results, rival, catalog, METRIC)
        if rival is None or gain is None:
            continue
        name, points = label(each.results, rival), signed(gain.absolute)
        seed = ", one seed" if gain.seeds == 1 else ""
        told[_standing(gain)].append(f"{place(each, catalog)} ({points} against {name}{seed})")
    words = {
        "wins": "**TGQ-Former is ahead of every other method on** ",
        "level": "**Level with the best of the others:** ",
        "loses": "**It loses on** ",
    }
    lines = [f"{words[key]}{'; '.join(places)}." for key, places in told.items() if places]
    if lines and not told["wins"]:
        lines.insert(0, "**Nowhere is TGQ-Former clearly ahead of every other method.**")
    if lines and not told["loses"]:
        lines.append("Nowhere is it clearly behind the best of the others.")
    return "\n\n".join(wrapped(line) for line in lines)


def _standing(gain: Gain) -> str:
    clear = gain.apart if gain.seeds > 1 else gain.clear
    return "level" if not clear else "wins" if gain.absolute.value > 0 else "loses"


def place(each: Comparison, catalog: str) -> str:
    """A catalog's name, with the comparison's where that alone would not tell it."""
    return catalog if catalog.startswith(each.name) else f"{each.name}: {catalog}"


def sentences(each: Comparison) -> tuple[str, ...]:
    results = each.results
    return _parts(results), _everything(results), _reliability(results) if each.of_rivals else ""


def setting(each: Comparison) -> str:
    return f"{trained(each)} {how(each)}"


def trained(each: Comparison) -> str:
    """On which catalogs."""
    main, *others = each.results.catalogs
    facts = each.results.catalogs[main]
    also = f"; judged on {enumerate_names(others)} too" if others else ""
    return (
        f"Trained on {main}: {facts.items:,} items, {facts.queries:,} test queries against "
        f"{facts.pool:,} items{also}."
    )


def how(each: Comparison) -> str:
    """With which steps, seeds and rates."""
    results = each.results
    seeds = [str(seed) for seed in results.seeds]
    which = f"seed{'s' * (len(seeds) > 1)} {enumerate_names(seeds)}"
    if len(results.sweep) == 1:
        rates = f"at rate {rate(results.sweep[0])}"
    else:
        rates = f"each at the best of {len(results.sweep)} rates by validation"
    words = [f"{results.steps:,} steps, {which}, {rates}."]
    if len(seeds) == 1:
        words.append("One seed: another one may end otherwise.")
    if each.origin["unfinished"]:
        words.append(f"Not finished: {each.origin['unfinished']} runs are missing.")
    return " ".join(words)


def _everything(results: Results) -> str:
    """What ours does for the rivals."""
    catalog = next(iter(results.catalogs))
    told = []
    for name in names(results, ("rival", "simple")):
        pair = [figure_of(results, n, catalog, METRIC) for n in (name, f"{name}_full")]
        if f"{name}_full" in results.methods and pair[0] and pair[1]:
            before, after = (f"{100 * figure.value:.1f}" for figure in pair if figure)
            told.append(f"{label(results, name)} from {before} to {after}")
    if not told:
        return ""
    return f"With everything that is ours to give, H@10 on {catalog} goes: {'; '.join(told)}."


def _reliability(results: Results) -> str:
    """What becomes of the weights of photo and metadata where the one or the other is wrong."""
    ours = results.methods.get(results.ours)
    gates = [
        gate for gate in (ours.gates if ours else ()) if {"photo", "metadata"} <= {*gate.weights}
    ]
    clean = next((gate for gate in gates if gate.condition == "clean"), None)
    cases = {
        "overlays+clutter": "under overlays and clutter together",
        "shuffled metadata": "with another item's metadata",
    }
    told = []
    for condition, words in cases.items():
        found = [gate for gate in gates if gate.condition == condition]
        if clean is None or not found:
            continue
        worst = max(found, key=lambda gate: gate.severity)
        level = f" at severity {worst.severity:g}" if worst.severity else ""
        photo, metadata = (
            f"{part}'s from {clean.weights[part].mean:.2f} to {worst.weights[part].mean:.2f}"
            for part in ("photo", "metadata")
        )
        told.append(f"{words}{level} the {photo}, the {metadata}")
    return (
        f"The weights of the base, from the items as they are: {'; '.join(told)}." if told else ""
    )


def _parts(results: Results) -> str:
    """Which variants of ours are worse, better or neither, by their largest difference."""
    told: dict[str, list[tuple[float, str]]] = {"wins": [], "loses": [], "level": []}
    for name in names(results, VARIANTS):
        gains = {
            catalog: gain
            for catalog in results.catalogs
            if (gain := gain_over(results, name, catalog, METRIC)) is not None
        }
        if not gains:
            continue
        clear = {c: g for c, g in gains.items() if _standing(g) != "level"} or gains
        catalog, gain = max(clear.items(), key=lambda one: abs(one[1].absolute.value))
        side = "behind" if gain.absolute.value > 0 else "ahead"
        seed = ", one seed" if gain.seeds == 1 else ""
        points = f" ({100 * abs(gain.absolute.value):.1f} points {side} on {catalog}{seed})"
        standing, text = _standing(gain), label(results, name)
        told[standing].append((-abs(gain.absolute.value), text + points * (standing != "level")))
    words = {
        "wins": "Variants of ours that do worse than TGQ-Former",
        "loses": "Variants that do better",
        "level": "Variants that cannot be told from it",
    }
    lines = [
        f"{words[key]}: {', '.join(text for _, text in sorted(found))}."
        for key, found in told.items()
        if found
    ]
    return " ".join(lines)


def origin(members: Sequence[Comparison]) -> str:
    """What ran, on which machine, for how long and on which data."""
    digests = {
        name: f"{name} `{facts.digest}`"
        for each in members
        for name, facts in each.results.catalogs.items()
        if facts.digest
    }
    version, commits, machines, gathered = (
        ", ".join(dict.fromkeys(found))
        for found in (
            [each.origin["version"] for each in members],
            [each.origin["commit"] or "unknown" for each in members],
            [each.origin["machine"] or "machine unknown" for each in members],
            [each.results.created[:10] for each in members],
        )
    )
    hours = sum(each.origin["hours"] for each in members)
    return (
        f"tgqformer {version}, commit {commits}; {machines}; {hours:.1f} hours; "
        f"gathered {gathered}." + f" Data: {', '.join(digests.values())}." * bool(digests)
    )


def wrapped(text: str, indent: str = "") -> str:
    return fill(
        text, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent
    )

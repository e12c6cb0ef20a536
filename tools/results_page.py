"""Make docs/results.md, its tables, sentences and figures, out of the comparisons in docs/results/.

    python tools/results_page.py                                make the page and the figures
    python tools/results_page.py --check                        exit 1 where they are not up to date
    python tools/results_page.py add runs/hm/results.json hm    add a comparison, and make the page

A comparison is `NAME.json`: what `tgqformer compare` wrote, less what the page does not need, and
where it comes from. Nobody types a figure: every number of the page is computed from these files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

from results_figure import draw, same_figure
from results_files import METRIC, Comparison, add, folded, read

from tgqformer.comparison.plan import commit, machine
from tgqformer.comparison.results import MARKS, VARIANTS, Figure, Gain, Results
from tgqformer.comparison.standing import (
    COMPARED,
    CORRUPTIONS,
    enumerate_names,
    figure_of,
    gain_over,
    gain_points,
    interval,
    label,
    names,
    ranked,
    rate,
    short_count,
    signed,
    strongest,
    value_and_bounds,
)
from tgqformer.comparison.tables import weight_table
from tgqformer.errors import TGQFormerError
from tgqformer.evaluation.compare import metric_label
from tgqformer.files import write_text

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("base", "frozen_both", "frozen_text", "qformer_text_full")
"""The methods that the first screen holds ours against, where they were compared."""
BOTH = {"H@10": "hit@10", "H@100": "hit@100"}
MOST_LINES, WIDTH = 250, 110
MADE = "<!-- Made by `make results` out of docs/results/; change those files, not this one. -->"


# -- the page ------------------------------------------------------------------------------------


def page(found: Sequence[Comparison]) -> str:
    """docs/results.md."""
    if not found:
        none = "No comparison is in yet: this page is made out of `docs/results/`, which is empty."
        return f"# Results\n\n{MADE}\n\n{none}\n"
    blocks = [(0, _opening(found))]
    for series, members in _sections(found):
        blocks += _series(series, members) if series else _section(members[0])
    blocks.append((0, _about_the_figures()))
    whole = len(blocks)
    size = [text.count("\n") + 2 for _, text in blocks]
    while sum(size) > MOST_LINES - 1 and (least := max(number for number, _ in blocks)):
        place = max(i for i, (number, _) in enumerate(blocks) if number == least)
        del blocks[place], size[place]
    if len(blocks) < whole:
        blocks.append((0, "Tables that would make this page too long are in `docs/results/`."))
    return "\n\n".join(text for _, text in blocks) + "\n"


def _sections(found: Sequence[Comparison]) -> list[tuple[str, list[Comparison]]]:
    """What makes a section each: ("", [one]), or a series and its members."""
    series: dict[str, list[Comparison]] = {}
    for each in found:
        series.setdefault(each.series or f"\0{each.name}", []).append(each)
    return [(name if name[0] != "\0" else "", members) for name, members in series.items()]


def _opening(found: Sequence[Comparison]) -> str:
    rivals = [each for each in found if each.of_rivals and not each.aside]
    columns = [(each, catalog) for each in rivals for catalog in each.results.catalogs]
    parts = ["# Results", MADE, _verdict(columns)]
    beside = [n for n in BESIDE if any(n in each.results.methods for each in rivals)]
    if columns:
        text = (
            "H@10 in percent with its 95 % interval, and, behind that of every other method, how "
            f"far TGQ-Former is ahead of it, in points ({MARKS}):"
        )
        head = ["catalog", "TGQ-Former", *_heads(rivals, beside)]
        parts += [_wrapped(text), _table(head, _figures(columns, beside))]
    return "\n\n".join(part for part in parts if part)


def _verdict(columns: Sequence[tuple[Comparison, str]]) -> str:
    """On which catalogs ours wins, is level and loses, against the best of the others there."""
    told: dict[str, list[str]] = {"wins": [], "level": [], "loses": []}
    for each, catalog in columns:
        rival = strongest(each.results, catalog, METRIC)
        gain = None if rival is None else gain_over(each.results, rival, catalog, METRIC)
        if rival is None or gain is None:
            continue
        name, points = label(each.results, rival), signed(gain.absolute)
        seed = ", one seed" if gain.seeds == 1 else ""
        told[_standing(gain)].append(f"{_place(each, catalog)} ({points} against {name}{seed})")
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
    return "\n\n".join(_wrapped(line) for line in lines)


def _standing(gain: Gain) -> str:
    clear = gain.apart if gain.seeds > 1 else gain.clear
    return "level" if not clear else "wins" if gain.absolute.value > 0 else "loses"


def _place(each: Comparison, catalog: str) -> str:
    """A catalog's name, with the comparison's where that alone would not tell it."""
    return catalog if catalog.startswith(each.name) else f"{each.name}: {catalog}"


def _heads(found: Sequence[Comparison], methods: Sequence[str]) -> list[str]:
    return [
        next(label(each.results, name) for each in found if name in each.results.methods)
        for name in methods
    ]


def _figures(columns: Sequence[tuple[Comparison, str]], beside: Sequence[str]) -> list[list[str]]:
    return [
        [
            _place(each, catalog),
            _shown(figure_of(each.results, each.results.ours, catalog, METRIC)),
            *(_against(each.results, name, catalog) for name in beside),
        ]
        for each, catalog in columns
    ]


def _against(results: Results, name: str, catalog: str) -> str:
    figure = figure_of(results, name, catalog, METRIC)
    return "–" if figure is None else f"{_value(figure)}; {_gain(results, name, catalog)}"


def _section(each: Comparison) -> list[tuple[int, str]]:
    """Blocks of a comparison, each with how soon it may be left out; 0 is never."""
    results = each.results
    opening = [f"## {each.name}", _wrapped(f"{each.about} {_setting(each)}".strip())]
    alt = f"{metric_label(METRIC)} of every method with its interval, {each.name}"
    opening.append(f"![{alt}](results/{each.name}.svg)")
    opening += [_wrapped(line) for line in _sentences(each) if line]
    blocks = [(0, "\n\n".join(opening))]
    blocks.append((0, "<details markdown>\n<summary>All figures, and the command</summary>"))
    blocks.append((1, _all_figures(each)))
    if robustness := _robustness(results):
        blocks.append((3, robustness))
    if weights := _weights(results):
        blocks.append((2, weights))
    blocks.append((0, _provenance(each) + "\n\n</details>"))
    return blocks


def _series(title: str, members: Sequence[Comparison]) -> list[tuple[int, str]]:
    """Blocks of the comparisons of a series: one table, a row for each catalog."""
    opening = [f"## {title}"]
    shared = dict.fromkeys(_how(each) for each in members)
    told = [
        f"- **{each.name}**: {each.about} {_trained(each)}"
        + ("" if len(shared) == 1 else f" {_how(each)}")
        for each in members
    ]
    opening.append("\n".join(_wrapped(line, "  ") for line in told))
    opening += map(_wrapped, shared if len(shared) == 1 else ())
    alt = f"{metric_label(METRIC)} of every method with its interval"
    opening.append("\n".join(f"![{alt}, {m.name}](results/{m.name}.svg)" for m in members))
    shown = [n for n in (members[0].results.ours, *BESIDE) if any(_has(m, n) for m in members)]
    head = [
        "trained on",
        "judged on",
        *(f"{name}: H@10 / H@100" for name in _heads(members, shown)),
    ]
    head += [
        f"ahead of {name}, {figure}" for name in _heads(members, shown[1:2]) for figure in BOTH
    ]
    rows = [
        [next(iter(each.results.catalogs)), catalog, *_row(each.results, catalog, shown)]
        for each in members
        for catalog in each.results.catalogs
    ]
    blocks = [(0, "\n\n".join(opening)), (0, _table(head, rows))]
    about = _wrapped(_origin(members))
    commands = "\n".join(folded(each.results.command, WIDTH - 3) for each in members)
    details = "<details markdown>\n<summary>The commands</summary>"
    blocks.append((0, f"{details}\n\n{about}\n\n```bash\n{commands}\n```\n\n</details>"))
    return blocks


def _has(each: Comparison, name: str) -> bool:
    return name in each.results.methods


def _row(results: Results, catalog: str, shown: Sequence[str]) -> list[str]:
    """H@10 / H@100 of the methods, and how far the first is ahead of the second."""
    cells = []
    for name in shown:
        found = [_value(figure_of(results, name, catalog, metric)) for metric in BOTH.values()]
        cells.append(" / ".join(found))
    gains = [
        gain_over(results, name, catalog, metric) if name in results.methods else None
        for name in shown[1:2]
        for metric in BOTH.values()
    ]
    return [*cells, *("–" if g is None else gain_points(g).replace("*", "\\*") for g in gains)]


def _sentences(each: Comparison) -> tuple[str, ...]:
    results = each.results
    return _parts(results), _everything(results), _reliability(results) if each.of_rivals else ""


def _setting(each: Comparison) -> str:
    return f"{_trained(each)} {_how(each)}"


def _trained(each: Comparison) -> str:
    """On which catalogs."""
    main, *others = each.results.catalogs
    facts = each.results.catalogs[main]
    also = f"; judged on {enumerate_names(others)} too" if others else ""
    return (
        f"Trained on {main}: {facts.items:,} items, {facts.queries:,} test queries against "
        f"{facts.pool:,} items{also}."
    )


def _how(each: Comparison) -> str:
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


def _all_figures(each: Comparison) -> str:
    results = each.results
    head = ["method", "rate", "trained weights"]
    for catalog in results.catalogs:
        head += [f"{catalog}: H@1", "H@10", "H@100", "mAP@R", "ours ahead, H@10"]
    order = ranked(results, next(iter(results.catalogs)), METRIC, (*COMPARED, *VARIANTS))
    rows = []
    for name in [*order, *(n for n in results.methods if n not in order)]:
        method = results.methods[name]
        trained = method.trained_parameters
        row = [
            f"**{method.label}**" if name == results.ours else method.label,
            "–" if not method.learning_rate else rate(method.learning_rate),
            "–" if not trained else short_count(trained),
        ]
        for catalog in results.catalogs:
            row += [
                _value(figure_of(results, name, catalog, "hit@1")),
                _shown(figure_of(results, name, catalog, METRIC)),
                _shown(figure_of(results, name, catalog, "hit@100")),
                _value(figure_of(results, name, catalog, "map@r")),
                "" if name == results.ours else _gain(results, name, catalog),
            ]
        rows.append(row)
    return _table(head, rows)


def _robustness(results: Results) -> str:
    """H@10 of ours and those beside it by kind and severity."""
    methods = [results.ours, *BESIDE, *names(results, ("rival",))]
    judged = [n for n, method in results.methods.items() if method.robustness]
    known = [n for n in dict.fromkeys(methods) if n in judged][:6]
    if not known:
        return ""
    points = [(p.kind, p.severity) for p in results.methods[known[0]].robustness]
    head = [f"{CORRUPTIONS.get(kind, kind)}, {level:g}" for kind, level in points]
    rows = []
    for name in known:
        found = {(p.kind, p.severity): p for p in results.methods[name].robustness}
        cells = [found[p].metrics.get(METRIC) if p in found else None for p in points]
        rows.append([label(results, name), *map(_value, cells)])
    unseen = "that training never uses" if results.robustness_kinds == "unseen" else "of training"
    catalog = next(iter(results.catalogs))
    text = f"H@10 on {catalog}, photos of the queries under kinds of noise {unseen}, by severity:"
    return f"{text}\n\n{_table(['method', *head], rows)}"


def _weights(results: Results) -> str:
    table = weight_table(results)
    if not table:
        return ""
    rows = [[row["condition"], *(value for value, _ in row["cells"])] for row in table["rows"]]
    text = "How much each part of an embedding counts, 1 before training, mean over items:"
    return f"{text}\n\n{_table(['photos and metadata', *table['parts']], rows)}"


def _provenance(each: Comparison) -> str:
    command = folded(each.results.command, WIDTH - 3)
    return f"{_wrapped(_origin([each]))}\n\n```bash\n{command}\n```"


def _origin(members: Sequence[Comparison]) -> str:
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


def _about_the_figures() -> str:
    text = (
        "H@10 is the share of queries with a right item among the first ten of the whole pool; "
        "[evaluation](evaluation.md) says how all figures are made, and what the methods are. A "
        "rival stands here as published and, where it says so, with everything of ours that it "
        "can take. In the figures TGQ-Former is green, what has everything of ours blue, what is "
        "frozen grey, and the rest orange. The best of the others is chosen by the test figure "
        "itself, which favours it. "
        "What was tried on the way is in [the log](../LOG.md)."
    )
    return f"## About the figures\n\n{_wrapped(text)}"


# -- words ---------------------------------------------------------------------------------------


def _shown(figure: Figure | None) -> str:
    return "–" if figure is None else " ".join(value_and_bounds(interval(figure))).strip()


def _value(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.1f}"


def _gain(results: Results, name: str, catalog: str) -> str:
    gain = gain_over(results, name, catalog, METRIC) if name in results.methods else None
    return "–" if gain is None else gain_points(gain).replace("*", "\\*")


def _wrapped(text: str, indent: str = "") -> str:
    return fill(
        text, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# -- commands ------------------------------------------------------------------------------------


def make(docs: Path) -> None:
    """Write the page and the figures, and remove figures of comparisons that are gone."""
    found = read(docs / "results")
    for each in found:
        write_text(docs / "results" / f"{each.name}.svg", draw(each.results, each.shown))
    for path in _figures_without(docs, found):
        path.unlink()
    write_text(docs / "results.md", page(found))


def stale(docs: Path) -> list[str]:
    """A sentence for each file that `make` would change."""
    found = read(docs / "results")
    wanted: list[tuple[Path, str, Callable[[str, str], bool]]] = [
        (docs / "results.md", page(found), str.__eq__)
    ]
    for each in found:
        path = docs / "results" / f"{each.name}.svg"
        wanted.append((path, draw(each.results, each.shown), same_figure))
    told = [
        f"{path} is not what docs/results/ makes; run `make results`."
        for path, text, same in wanted
        if not (path.is_file() and same(path.read_text(encoding="utf-8"), text))
    ]
    gone = _figures_without(docs, found)
    return told + [f"{path} is of no comparison; run `make results`." for path in gone]


def _figures_without(docs: Path, found: Sequence[Comparison]) -> list[Path]:
    known = {each.name for each in found}
    return [path for path in (docs / "results").glob("*.svg") if path.stem not in known]


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of the page")
    adding = parser.add_subparsers(dest="command").add_parser("add", help="add a comparison")
    adding.add_argument("results", type=Path, metavar="RESULTS.json")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--about", default="", help="what the data are, without figures")
    adding.add_argument("--series", default="", help="heading of a section shared with others")
    adding.add_argument("--aside", action="store_true", help="leave it out of the first screen")
    adding.add_argument("--commit", help="of the code that ran, where the runs do not say")
    adding.add_argument("--machine", help="that it ran on, where the runs do not say")
    options = parser.parse_args(arguments)
    try:
        if options.command == "add":
            import tgqformer

            told = {
                "version": tgqformer.__version__,
                "commit": options.commit or commit(),
                "machine": options.machine or machine(),
            }
            place = {name: getattr(options, name) for name in ("about", "series", "aside")}
            add(options.results, options.name, options.docs / "results", told, **place)
        if options.check:
            faults = stale(options.docs)
            print("\n".join(faults), file=sys.stderr, end="\n" * bool(faults))
            return int(bool(faults))
        make(options.docs)
    except TGQFormerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

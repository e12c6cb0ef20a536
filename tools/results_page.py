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

from results_figure import draw, same_figure
from results_files import METRIC, Comparison, add, folded, read
from results_sentences import (
    WIDTH,
    how,
    origin,
    place,
    sentences,
    setting,
    trained,
    verdict,
    wrapped,
)

from tgqformer.comparison.plan import commit, machine
from tgqformer.comparison.results import MARKS, VARIANTS, Figure, Results
from tgqformer.comparison.standing import (
    COMPARED,
    CORRUPTIONS,
    figure_of,
    gain_over,
    gain_points,
    interval,
    label,
    names,
    ranked,
    rate,
    short_count,
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
MOST_LINES = 250
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
    parts = ["# Results", MADE, verdict(columns)]
    beside = [n for n in BESIDE if any(n in each.results.methods for each in rivals)]
    if columns:
        text = (
            "H@10 in percent with its 95 % interval, and, behind that of every other method, how "
            f"far TGQ-Former is ahead of it, in points ({MARKS}):"
        )
        head = ["catalog", "TGQ-Former", *_heads(rivals, beside)]
        parts += [wrapped(text), _table(head, _figures(columns, beside))]
    return "\n\n".join(part for part in parts if part)


def _heads(found: Sequence[Comparison], methods: Sequence[str]) -> list[str]:
    return [
        next(label(each.results, name) for each in found if name in each.results.methods)
        for name in methods
    ]


def _figures(columns: Sequence[tuple[Comparison, str]], beside: Sequence[str]) -> list[list[str]]:
    return [
        [
            place(each, catalog),
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
    opening = [f"## {each.name}", wrapped(f"{each.about} {setting(each)}".strip())]
    alt = f"{metric_label(METRIC)} of every method with its interval, {each.name}"
    opening.append(f"![{alt}](results/{each.name}.svg)")
    opening += [wrapped(line) for line in sentences(each) if line]
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
    shared = dict.fromkeys(how(each) for each in members)
    told = [
        f"- **{each.name}**: {each.about} {trained(each)}"
        + ("" if len(shared) == 1 else f" {how(each)}")
        for each in members
    ]
    opening.append("\n".join(wrapped(line, "  ") for line in told))
    opening += map(wrapped, shared if len(shared) == 1 else ())
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
    about = wrapped(origin(members))
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
    return f"{wrapped(origin([each]))}\n\n```bash\n{command}\n```"


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
    return f"## About the figures\n\n{wrapped(text)}"


# -- words ---------------------------------------------------------------------------------------


def _shown(figure: Figure | None) -> str:
    return "–" if figure is None else " ".join(value_and_bounds(interval(figure))).strip()


def _value(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.1f}"


def _gain(results: Results, name: str, catalog: str) -> str:
    gain = gain_over(results, name, catalog, METRIC) if name in results.methods else None
    return "–" if gain is None else gain_points(gain).replace("*", "\\*")


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

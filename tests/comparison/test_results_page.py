"""Laws of docs/results.md: it is made of the files beside it, and says what they say."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tgqformer.comparison.gather import gather
from tgqformer.comparison.plan import Plan
from tgqformer.comparison.results import (
    VERSION,
    CatalogFacts,
    CatalogResult,
    Figure,
    Gain,
    MethodResult,
    Results,
)
from tgqformer.evaluation.intervals import Interval

TOOLS = Path(__file__).parents[2] / "tools"
NAMES = {
    "tgqformer": ("TGQ-Former", "ours"),
    "qformer_text": ("Q-Former + text", "rival"),
    "qformer_text_full": ("Q-Former + text, with everything", "rival"),
    "frozen_text": ("text (frozen)", "frozen"),
    "no_gates": ("no gates", "ablation"),
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/results_page.py."""
    sys.path.insert(0, str(TOOLS))
    try:
        import results_page
    finally:
        sys.path.remove(str(TOOLS))
    return results_page  # type: ignore[no-any-return]


def gain(value: float, seeds: int) -> Gain:
    interval = Interval(value, value - 0.02, value + 0.02)
    return Gain(interval, None, seeds > 1 and abs(value) > 0.02, 0.01, seeds)


def made(shares: dict[str, dict[str, float]], seeds: int = 3) -> Results:
    """Catalog -> method -> H@10."""

    def result(name: str, catalog: str) -> CatalogResult:
        share, ours = shares[catalog][name], shares[catalog]["tgqformer"]
        figure = Figure(share, share - 0.01, share + 0.01, (share,) * seeds)
        gains = {} if name == "tgqformer" else {"hit@10": gain(ours - share, seeds)}
        return CatalogResult({"hit@10": figure, "hit@1": figure}, gain=gains)

    methods = {
        name: MethodResult(
            *NAMES[name],
            learning_rate=1e-3,
            catalogs={c: result(name, c) for c in shares if name in shares[c]},
        )
        for name in next(iter(shares.values()))
    }
    return Results(
        version=VERSION,
        created="2026-01-02T03:04:05+00:00",
        command="tgqformer compare /home/me/data/shop --also noisy=/data/noisy --set a.b=/x/y "
        f"--connectors {','.join(['qformer_text'] * 30)} --out /home/me/runs/one",
        preset="offline",
        overrides=(),
        steps=160,
        seeds=tuple(range(seeds)),
        sweep=(1e-3,),
        metric="ndcg@10",
        catalogs={name: CatalogFacts(100, 50, 100, "abc") for name in shares},
        methods=methods,
        cells=(),
    )


WON = {"tgqformer": 0.6, "qformer_text": 0.4, "qformer_text_full": 0.55, "frozen_text": 0.3}
LOST = {"tgqformer": 0.5, "qformer_text": 0.4, "qformer_text_full": 0.57, "frozen_text": 0.3}
LEVEL = {**LOST, "qformer_text_full": 0.51}


def put(tool: ModuleType, docs: Path, results: Results, name: str, *more: str) -> None:
    folder = docs.parent / f"run-{name}"
    folder.mkdir(exist_ok=True)
    results.save(folder)
    words = ["--docs", str(docs), "add", str(folder / "results.json"), name, *more]
    assert tool.main(words) == 0


def text(docs: Path) -> str:
    return (docs / "results.md").read_text(encoding="utf-8")


def prose(docs: Path) -> str:
    return " ".join(text(docs).split())


def test_a_real_comparison_becomes_a_page(
    tool: ModuleType, finished: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = gather(finished)
    put(tool, tmp_path / "docs", results, "small", "--about", "A shop of coloured noise.")
    docs = tmp_path / "docs"
    page = text(docs)
    ours = results.methods["tgqformer"].catalogs["small"].metrics["hit@10"]
    assert f"| small | {100 * ours.value:.1f} [" in page
    assert "A shop of coloured noise. Trained on small: 40 items" in prose(docs)
    assert "seeds 0 and 1" in prose(docs)
    assert "| another's category |" in page
    assert str(finished.out.parent) not in page + (docs / "results/small.json").read_text()
    assert results.catalogs["small"].digest in page
    assert "version" in results.cells[0].origin
    assert tool.main(["--docs", str(docs), "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_committed_is_what_the_page_needs_and_reads_back(
    tool: ModuleType, finished: Plan, tmp_path: Path
) -> None:
    results = gather(finished)
    put(tool, tmp_path / "docs", results, "small")
    path = tmp_path / "docs/results/small.json"
    (one,) = tool.read(path.parent)
    assert one.results == Results.from_dict(json.loads(path.read_text())["results"])
    assert one.results.cells == ()
    assert one.origin["unfinished"] == 0
    assert path.stat().st_size < (tmp_path / "run-small/results.json").stat().st_size / 2


@pytest.mark.parametrize(
    ("shares", "seeds", "says"),
    [
        (WON, 3, "**TGQ-Former is ahead of every other method on** shop (+5.0 [+3.0, +7.0]"),
        (LOST, 3, "**It loses on** shop (-7.0 [-9.0, -5.0] against Q-Former + text, with every"),
        (LEVEL, 3, "**Level with the best of the others:** shop (-1.0 [-3.0, +1.0] against"),
        (WON, 1, "with everything, one seed)"),
        (LEVEL, 3, "**Nowhere is TGQ-Former clearly ahead of every other method.**"),
        (WON, 3, "Nowhere is it clearly behind the best of the others."),
        (WON, 3, "H@10 on shop goes: Q-Former + text from 40.0 to 55.0."),
        (WON, 1, "One seed: another one may end otherwise."),
    ],
)
def test_it_says_where_ours_wins_and_where_it_loses(
    tool: ModuleType, tmp_path: Path, shares: dict[str, float], seeds: int, says: str
) -> None:
    put(tool, tmp_path / "docs", made({"shop": shares}, seeds), "shop")
    assert says in prose(tmp_path / "docs")
    assert ("ne seed" in prose(tmp_path / "docs")) == (seeds == 1)


def test_ablations_are_told_apart_from_rivals(tool: ModuleType, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    put(tool, docs, made({"shop": {"tgqformer": 0.6, "no_gates": 0.5}}), "parts")
    put(tool, docs, made({"shop": WON}), "shop")
    assert "do worse than TGQ-Former: no gates (10.0 points behind on shop)" in prose(docs)
    opening, *sections = text(docs).split("\n## ")
    assert [part.split("\n")[0] for part in sections] == [
        "shop",
        "parts",
        "About the figures",
    ]
    assert "no gates" not in opening
    assert "parts" not in opening


def test_missing_figures_are_dashes(tool: ModuleType, tmp_path: Path) -> None:
    some = {name: share for name, share in WON.items() if name != "frozen_text"}
    put(tool, tmp_path / "docs", made({"shop": WON, "noisy": some}), "shop")
    page = text(tmp_path / "docs")
    assert re.search(r"\| shop: noisy \| 60.0 .* \| – \|", page)
    assert "None" not in page
    assert "nan" not in page
    width = None
    for line in page.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|"):
            assert width in (None, cells), line
        width = cells if line.startswith("|") else None


def test_no_path_of_a_machine_is_in_it_and_no_line_is_too_long(
    tool: ModuleType, tmp_path: Path
) -> None:
    put(tool, tmp_path / "docs", made({"shop": WON}), "shop")
    page = text(tmp_path / "docs")
    assert "/home" not in page + (tmp_path / "docs/results/shop.json").read_text()
    command = re.search(r"```bash\n(.*?)\n```", page, re.DOTALL)
    assert command is not None
    whole = re.sub(r"\\\n(    )?", "", command[1])
    assert whole.split() == [
        *["tgqformer", "compare", "shops/shop", "--also", "noisy=shops/noisy", "--set", "a.b=y"],
        *("--connectors", ",".join(["qformer_text"] * 30), "--out", "runs/one"),
    ]
    lines = [line for line in page.splitlines() if not line.startswith("|")]
    assert max(map(len, lines)) <= 110


def test_a_page_of_many_comparisons_is_no_longer_than_one_reads(
    tool: ModuleType, tmp_path: Path
) -> None:
    for number in range(7):
        put(tool, tmp_path / "docs", made({f"shop{number}": WON}), f"shop{number}")
    page = text(tmp_path / "docs")
    assert len(page.splitlines()) <= 250
    assert "Tables that would make this page too long are in `docs/results/`." in page
    assert page.count("\n## ") == 8


def test_what_is_out_of_date_is_told(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    put(tool, docs, made({"shop": WON}), "shop")
    check = ["--docs", str(docs), "--check"]
    assert tool.main(check) == 0
    page, figure = text(docs), (docs / "results/shop.svg").read_text()
    (docs / "results.md").write_text(page.replace("60.0", "70.0"))
    (docs / "results/shop.svg").write_text(figure.replace("60.00", "70.00"))
    (docs / "results/gone.svg").write_text(figure)
    assert tool.main(check) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in told] == [
        str(docs / name) for name in ("results.md", "results/shop.svg", "results/gone.svg")
    ]
    assert tool.main(["--docs", str(docs)]) == 0
    assert (text(docs), (docs / "results/shop.svg").read_text()) == (page, figure)
    assert not (docs / "results/gone.svg").exists()


def test_figures_of_another_matplotlib_are_held_to_what_they_say(
    tool: ModuleType, tmp_path: Path
) -> None:
    results = made({"shop": WON, "noisy": LOST})
    drawn = tool.draw(results, list(results.methods))
    assert drawn == tool.draw(results, list(results.methods))
    other = re.sub(r"Matplotlib v[\w.]+", "Matplotlib v9.9", drawn).replace("<path", "<path  ")
    assert tool.same_figure(other, drawn)
    assert not tool.same_figure(other.replace("60.00", "61.00"), drawn)
    assert not tool.same_figure(drawn.replace("<path", "<path  "), drawn)


def test_without_comparisons_the_page_says_so(tool: ModuleType, tmp_path: Path) -> None:
    assert tool.main(["--docs", str(tmp_path)]) == 0
    assert "No comparison is in yet" in text(tmp_path)
    assert tool.main(["--docs", str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize("name", ["../x", "A", ""])
def test_a_name_that_is_no_files_is_refused(
    tool: ModuleType, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made({"shop": WON}).save(tmp_path)
    assert tool.main(["--docs", str(tmp_path / "docs"), "add", str(path), name]) == 2
    assert "must be made of a to z" in capsys.readouterr().err


def test_a_file_of_another_version_is_told(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tool, tmp_path / "docs", replace(made({"shop": WON})), "shop")
    path = tmp_path / "docs/results/shop.json"
    path.write_text(path.read_text().replace(f'"version": {VERSION}', '"version": 0'))
    assert tool.main(["--docs", str(tmp_path / "docs"), "--check"]) == 2
    assert "add it again, or remove it" in capsys.readouterr().err


def test_a_series_is_one_section_with_a_row_for_each_catalog(
    tool: ModuleType, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    series = ["--series", "Fewer pairs", "--aside", "--about", "Some of the pairs."]
    put(tool, docs, made({"all": WON}), "all")
    put(tool, docs, made({"none": LOST, "none-noisy": LEVEL}), "none", *series)
    put(tool, docs, made({"half": WON}), "half", *series)
    page = text(docs)
    assert page.count("## Fewer pairs") == 1
    rows = [line for line in page.splitlines() if re.match(r"\| (none|half) \|", line)]
    assert [row.split(" | ")[1] for row in rows] == ["half", "none", "none-noisy"]
    assert "60.0 / –" in rows[0]
    assert "50.0 / –" in rows[1]
    opening = page[: page.index("## all")]
    assert "| all |" in opening
    assert "none" not in opening
    assert tool.main(["--docs", str(docs), "--check"]) == 0

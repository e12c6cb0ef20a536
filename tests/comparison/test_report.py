"""Laws of the comparison's page: figures land on it, nothing is fetched, partial results do."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.comparison.figures import spread
from tgqformer.comparison.readings import gains_reading, headline_reading
from tgqformer.comparison.report import write_comparison_report
from tgqformer.comparison.results import (
    VERSION,
    CatalogFacts,
    CatalogResult,
    CellResult,
    Figure,
    Gain,
    GateFigure,
    GateResult,
    GroupResult,
    MethodResult,
    Results,
    RobustnessResult,
)
from tgqformer.comparison.standing import duration, rate, short_count, strongest
from tgqformer.errors import ConfigError, StorageError
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.report import Disagreement, Disagreements, GalleryCell, disagreements
from tgqformer.retrieval.scores import unit

HOSTILE = "</style><script>alert('x')</script><img src=x onerror=alert(1)> \"$ 衣服 |"
METRICS = ("hit@1", "hit@10", "hit@50", "hit@100")
SHARES = {"tgqformer": 0.8512, "rival": 0.7934, "odd": 0.4156, "frozen": 0.1667}
OURS = SHARES["tgqformer"]


def figure(value: float) -> Figure:
    return Figure(value, max(0.0, value - 0.02), min(1.0, value + 0.02), (value,))


def gain(ours: float, other: float, half: float = 0.03) -> Gain:
    gap, ratio = ours - other, ours / other - 1
    return Gain(
        Interval(gap, gap - half, gap + half),
        Interval(ratio, ratio - half, ratio + half),
        abs(gap) > half,
    )


def found(share: float, *, ours: bool = False) -> CatalogResult:
    scale = {"hit@1": 0.5, "hit@10": 1.0, "hit@50": 1.1, "hit@100": 1.15}
    metrics = {m: figure(share * scale[m]) for m in METRICS}
    gains = {} if ours else {m: gain(OURS * s, share * s) for m, s in scale.items()}
    groups = {g: GroupResult(40, metrics, gains) for g in ("clean", HOSTILE)}
    return CatalogResult(metrics, {"noise": groups}, gains)


def method(name: str, label: str, group: str) -> MethodResult:
    share, frozen = SHARES[name], group == "frozen"
    gate = GateFigure(0.111, 0.2, 0.03)
    kinds = ("overlays", "overlays+clutter")
    return MethodResult(
        label,
        group,
        note=HOSTILE if name == "odd" else "",
        learning_rate=None if frozen else 1e-3,
        sweep={} if frozen else {"0.0003": 0.5, "0.001": 0.6127},
        multiply_adds=512_000_000 + 10_000_000 * len(label),
        trained_parameters=0 if frozen else 1_230_000,
        visual_tokens=8,
        steps_to_90=() if frozen else (400, 600),
        catalogs={"shop": found(share, ours=name == "tgqformer"), HOSTILE: found(share)},
        robustness=tuple(
            RobustnessResult(kind, s, {"hit@10": figure(share * (1 - 0.4 * s))})
            for kind in kinds
            for s in (0.0, 0.75)
        ),
        gates=(
            GateResult("clean", 0.0, gate, gate, None),
            GateResult("overlays+clutter", 0.75, replace(gate, mean=0.222), gate, None),
            GateResult("no photo", 0.0, None, replace(gate, mean=-0.333), None),
            GateResult("no title", 0.0, weights={"photo": replace(gate, mean=1.777)}),
        )
        if name == "tgqformer"
        else (),
    )


def cell(name: str, seed: int, state: str = "done") -> CellResult:
    curve = tuple({"step": float(s), "hit@10": 0.1 * n} for n, s in enumerate((0, 100, 200)))
    told = f"tgqformer compare shop --connectors {name} --seeds {seed}"
    return CellResult(
        name,
        1e-3,
        seed,
        state,  # type: ignore[arg-type]
        100.0,
        chosen=state == "done",
        curve=curve if state == "done" else (),
        validation={"hit@10": 0.5} if state == "done" else {},
        command=told,
        error=HOSTILE if state == "failed" else "",
    )


def whole() -> Results:
    methods = {
        "tgqformer": method("tgqformer", "TGQ-Former", "ours"),
        "odd": method("odd", HOSTILE, "simple"),
        "rival": method("rival", "Strong rival", "rival"),
        "frozen": method("frozen", "frozen text", "frozen"),
    }
    for name, share in (("no_gates", 0.85), ("no_anchored", 0.61)):
        methods[name] = MethodResult(
            name.replace("_", " "), "ablation", note="a switch", catalogs={"shop": found(share)}
        )
    return Results(
        VERSION,
        "today",
        "tgqformer compare shop",
        "tiny",
        (),
        2000,
        (0, 1),
        (3e-4, 1e-3),
        "hit@10",
        {"shop": CatalogFacts(900, 321, 800), HOSTILE: CatalogFacts(900, 322, 800)},
        methods,
        (
            *(cell(name, seed) for name in ("tgqformer", "odd", "rival") for seed in (0, 1)),
            cell("rival", 2, "failed"),
            cell("odd", 2, "pending"),
        ),
    )


def gallery() -> tuple[Disagreements, ...]:
    one, other = GalleryCell(b"jpeg", HOSTILE, right=True), GalleryCell(None, "x", right=False)
    row = Disagreement(GalleryCell(b"jpeg", HOSTILE), ((one,), (other,)), (1, 4321), "clutter")
    back = replace(row, answers=((other,), (one,)), ranks=(4322, 1))
    return (Disagreements("shop", ("TGQ-Former", HOSTILE), 10, (5, 3, 1, 2), (row,), (back,)),)


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.parts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_comparison_report(whole(), path, gallery=gallery())
    return path.read_text(encoding="utf-8")


def test_nothing_is_fetched_and_nothing_runs(text):
    page = Page(text)
    assert not page.all("script")
    assert not page.all("iframe")
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#"))
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text


def test_every_figure_lands_on_the_page(text):
    words = Page(text).words
    for share in SHARES.values():
        assert f"{100 * share:.1f}" in words  # headline
        assert f"{100 * share * 0.7:.1f} left" in words  # robustness at 0.75
    assert "+5.8 [+2.8, +8.8] *" in words  # over the strongest
    assert "+7.3 % [+4.3, +10.3]" in words
    assert "1e-3: 61.3" in words  # the sweep
    assert "500 (400–600)" in words  # steps to 90 %
    assert "-24.1 [-27.1, -21.1] *" in words  # an ablation, seen from the full method
    for gate in ("+0.111", "+0.222", "-0.333", "1.78"):
        assert gate in words
    assert "70 %" in words
    assert "1.23 M" in words
    assert "321 queries, pool of 800" in words
    assert "tgqformer compare shop --connectors rival --seeds 1" in words
    assert "6 runs are done, 1 pending, 1 failed" in words


def test_hostile_text_is_shown_as_text(text):
    page = Page(text)
    assert page.words.count("<script>alert('x')</script>") >= 8
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))


def test_it_can_be_read_without_seeing_it(text):
    page = Page(text)
    charts = page.all("svg")
    # Hits and gains of two catalogs, learning, two kinds, two costs, two gates.
    assert len(charts) == 11
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert page.all("img")
    assert all(image["alt"] for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = [a["href"][1:] for a in page.all("a")]
    assert targets
    assert set(targets) <= set(ids)
    assert not re.findall(r"(?:fill|stroke): (#0[0-9a-f]0[0-9a-f]0[0-9a-f])", text), "a stand-in"


def test_both_kinds_of_disagreement_are_shown(text):
    words = Page(text).words
    assert "Found by TGQ-Former alone" in words
    assert "first right item at place 4,321" in words
    assert "first right item at place 4,322" in words
    assert words.count("✓ right") == words.count("✗ other") == 2


def partial(results: Results, **changes: object) -> Results:
    methods = {name: replace(m, **changes) for name, m in results.methods.items()}
    return replace(results, methods=methods)


def bare() -> Results:
    """Nothing done yet."""
    methods = {n: MethodResult(m.label, m.group) for n, m in whole().methods.items()}
    cells = tuple(cell(name, 0, "pending") for name in ("tgqformer", "rival"))
    return replace(whole(), methods=methods, cells=cells, seeds=(0,))


def only_a_rival() -> Results:
    results = whole()
    return replace(results, methods={"rival": results.methods["rival"]}, cells=(), sweep=())


def no_intervals() -> Results:
    """One seed, no bootstrap, and no ablations, robustness or gates."""
    point = {
        name: CatalogResult(
            {"hit@10": Figure(share)},
            gain={}
            if name == "tgqformer"
            else {"hit@10": Gain(Interval(OURS - share), None, False)},
        )
        for name, share in SHARES.items()
    }
    methods = {
        name: MethodResult(whole().methods[name].label, "rival", catalogs={"shop": one})
        for name, one in point.items()
    }
    return replace(whole(), methods=methods, cells=(), seeds=(0,), sweep=(1e-3,))


@pytest.mark.parametrize("results", [bare(), only_a_rival(), no_intervals()])
def test_partial_results_give_a_page_and_tables(tmp_path, results):
    path = tmp_path / "r.html"
    write_comparison_report(results, path)
    words = Page(path.read_text(encoding="utf-8")).words
    for absent in ("None", "nan", "What the gates do", "Where they disagree"):
        assert absent not in words


def test_a_pending_method_is_named_as_such(tmp_path):
    write_comparison_report(bare(), tmp_path / "r.html")
    words = Page((tmp_path / "r.html").read_text(encoding="utf-8")).words
    assert "TGQ-Former pending" in words
    assert "TGQ-Former is not judged on shop yet." in words


def test_a_reading_says_no_more_than_its_interval():
    results = whole()
    assert strongest(results, "shop", "hit@10") == "rival"
    assert headline_reading(results, "shop", "hit@10").endswith("more than chance explains.")
    assert "Ahead of 3 of 3 methods" in gains_reading(results, "shop", "hit@10")
    rival = results.methods["rival"]
    for half, other, said in ((0.09, 0.7934, "holds zero."), (0.01, 0.9, "behind by 4.9 points")):
        shop = CatalogResult({"hit@10": figure(other)}, gain={"hit@10": gain(OURS, other, half)})
        methods = results.methods | {"rival": replace(rival, catalogs={"shop": shop})}
        assert said in headline_reading(replace(results, methods=methods), "shop", "hit@10")


def test_a_gain_that_only_looks_clear_alone_is_no_gain_beyond_chance(tmp_path):
    """Its interval leaves zero out, but not among so many methods, or it is of one seed."""
    results = whole()
    rival, lead = results.methods["rival"], gain(OURS, 0.7934)
    for one, said, mark in (
        (replace(lead, apart=False, seeds=3), "as so many methods are compared.", ""),
        (replace(lead, apart=False, seeds=1), "one training seed, another may say otherwise.", "†"),
    ):
        shop = replace(rival.catalogs["shop"], gain={"hit@10": one})
        methods = results.methods | {"rival": replace(rival, catalogs={"shop": shop})}
        told = replace(results, methods=methods)
        assert headline_reading(told, "shop", "hit@10").endswith(said)
        write_comparison_report(told, tmp_path / "r.html")
        words = Page((tmp_path / "r.html").read_text(encoding="utf-8")).words
        assert f"+5.8 [+2.8, +8.8] {mark}".strip() in words


@pytest.mark.parametrize("kinds", ["seen", "unseen"])
def test_the_report_says_where_the_corruptions_are_unseen(tmp_path, kinds):
    results = replace(whole(), robustness_kinds=kinds)
    assert Results.from_dict(results.to_dict()) == results
    write_comparison_report(results, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("kinds that training never uses" in page) == (kinds == "unseen")


def test_nothing_to_report_and_nowhere_to_write(tmp_path):
    with pytest.raises(ConfigError, match="nothing to report"):
        write_comparison_report(replace(whole(), methods={}), tmp_path / "r.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"r\.html cannot be written"):
        write_comparison_report(bare(), tmp_path / "file" / "r.html")


@pytest.mark.parametrize("seed", range(5))
def test_names_are_moved_apart_and_keep_their_order(seed):
    wanted = np.random.default_rng(seed).uniform(size=9)
    places = np.array(spread(wanted.tolist(), 0.08))
    assert (np.argsort(places) == np.argsort(wanted)).all()
    assert np.diff(np.sort(places)).min() >= 0.08 - 1e-9
    assert abs(places.mean() - wanted.mean()) < 0.08
    apart = np.linspace(0, 1, 9)
    assert spread(apart.tolist(), 0.08) == pytest.approx(apart.tolist())


def test_figures_are_written_as_people_do():
    assert [short_count(v) for v in (999, 1.234e6, 512e6, 3.543e10)] == [
        "999",
        "1.23 M",
        "512 M",
        "35.4 G",
    ]
    assert [rate(v) for v in (3e-4, 1e-3, 1.5e-4)] == ["3e-4", "1e-3", "1.5e-4"]
    assert [duration(v) for v in (47, 720, 12240)] == ["47 s", "12 min", "3.4 h"]


@pytest.fixture(scope="module")
def shop() -> Catalog:
    items = [Item(f"i{row}", title=f"title {row}", images=()) for row in range(60)]
    pairs = [Pair(f"i{row}", f"i{row + 30}", split="test") for row in range(30)]
    noise = pl.DataFrame({"item_id": [i.item_id for i in items], "noise": ["clean"] * 60})
    return Catalog(items, pairs, noise)


def knowing(shop: Catalog, rows: range, seed: int) -> np.ndarray:
    """Vectors that put the targets of some queries right beside them."""
    vectors = np.random.default_rng(seed).standard_normal((60, 64))
    for row in rows:
        vectors[row] = vectors[row + 30]
    return unit(vectors)


def test_disagreements_are_those_that_ranks_tell(shop):
    ours, other = knowing(shop, range(20), 1), knowing(shop, range(10, 25), 2)
    found = disagreements(shop, ours, other, name="shop", models=("a", "b"), k=1, count=8, shown=3)
    hits = [evaluate(v, shop, ks=(1,), bootstrap=0).per_query["rank"] <= 1 for v in (ours, other)]
    a, b = (one.to_numpy() for one in hits)
    assert found.counts == ((a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum())
    assert len(found.ours) == len(found.other) == 4
    for row in found.ours:
        assert row.ranks[0] == 1 < row.ranks[1]
        assert row.answers[0][0].right
        assert not row.answers[1][0].right
        assert [len(cells) for cells in row.answers] == [3, 3]
    assert all(row.ranks[1] == 1 < row.ranks[0] for row in found.other)


def test_as_many_of_either_kind_are_shown(shop):
    ours, other = knowing(shop, range(30), 1), knowing(shop, range(20), 2)
    found = disagreements(shop, ours, other, name="shop", models=("a", "b"), k=1)
    assert found.counts[1] > 0 == found.counts[2]
    assert found.ours == found.other == ()
    with pytest.raises(ConfigError, match="b came with 59 vectors for 60 items"):
        disagreements(shop, ours, other[:59], name="shop", models=("a", "b"))

"""Laws of a comparison: it goes on where it was, repeats itself, and tunes every method alike."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
from rich.console import Console

from tgqformer.catalog.catalog import Catalog
from tgqformer.cli.compare import rich_table
from tgqformer.comparison import prepare as preparation
from tgqformer.comparison import run
from tgqformer.comparison.cell import faulty, run_cell
from tgqformer.comparison.gather import _correct, _curve, gather
from tgqformer.comparison.methods import find_methods
from tgqformer.comparison.plan import (
    CELL,
    COSTS,
    PLAN,
    Cell,
    Plan,
    cells,
    chosen_rate,
    jobs,
    read_cell,
    steps,
    validation,
)
from tgqformer.comparison.prepare import prepare, query_items
from tgqformer.comparison.results import FILE, CatalogResult, Gain, MethodResult, Results
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.flops import Cost, count_cost
from tgqformer.errors import ConfigError, ModelError, StorageError
from tgqformer.evaluation.collaborative import Engagement, ItemCosine
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.robustness import KINDS, SEVERITIES, corrupted_items
from tgqformer.training.run import steps_for
from tgqformer.training.validation import score

FAULTS = ("no title", "advertising title", "no category", "another's category")


def told(plan: Plan) -> dict[str, object]:
    """What a comparison found, without what differs from run to run on purpose."""
    data = gather(plan).to_dict()
    for each in data["cells"]:
        del each["seconds"], each["command"]
    return {**data, "created": "", "command": ""}


@pytest.fixture(scope="module")
def results(finished: Plan) -> Results:
    return gather(finished)


@pytest.fixture
def copied(finished: Plan, tmp_path: Path) -> Plan:
    """The finished comparison in a folder that may be changed."""
    shutil.copytree(finished.out, tmp_path / "out")
    return replace(finished, out=tmp_path / "out")


def test_every_cell_is_trained_and_the_chosen_ones_judged(finished: Plan, results: Results) -> None:
    assert {cell.state for cell in results.cells} == {"done"}
    ours = results.methods["tgqformer"]
    assert len(ours.catalogs["small"].metrics["hit@10"].seeds) == len(finished.seeds)
    assert [cell.chosen for cell in results.cells if cell.method == "tgqformer"].count(True) == 2
    assert len(ours.sweep) == len(finished.sweep)
    assert list(jobs(finished)) == []


def test_results_come_back_from_disk_as_they_were(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    assert Results.load(tmp_path) == results
    (tmp_path / FILE).write_text('{"version": 0}')
    with pytest.raises(StorageError, match="version"):
        Results.load(tmp_path)


def test_what_was_stopped_between_cells_ends_alike(finished: Plan, copied: Plan) -> None:
    rate = chosen_rate(finished, "tgqformer")
    assert rate is not None
    last, first = (copied.path(Cell("tgqformer", rate, seed)) for seed in (1, 0))
    shutil.rmtree(last)  # never begun
    (first / CELL).unlink()  # killed at the very end
    shutil.rmtree(first / "test")
    assert "pending" in {cell.state for cell in gather(copied).cells}
    while (job := next(jobs(copied), None)) is not None:
        run_cell(copied, job.cell, judge=job.judge)
    assert told(copied) == told(finished)


def test_a_cell_by_its_own_command_gives_the_same_figures(
    finished: Plan, plan_of: Callable[..., Plan], run_all: Callable[[Plan], None], tmp_path: Path
) -> None:
    rate = chosen_rate(finished, "tgqformer")
    again = plan_of(
        tmp_path / "again",
        methods=("tgqformer",),
        seeds=(1,),
        sweep=(rate,),
        robustness=False,
        cache=finished.cache_dir,
    )
    run_all(again)
    own, other = (
        (plan.path(Cell("tgqformer", rate, 1)) / "test/small/queries.parquet").read_bytes()
        for plan in (finished, again)
    )
    assert own == other
    words = finished.command(Cell("tgqformer", rate, 1)).split()
    assert words[words.index("--seeds") + 1] == "1"
    assert float(words[words.index("--sweep") + 1]) == rate


def test_the_sweep_takes_the_rate_that_validation_likes_best(finished: Plan) -> None:
    rate = chosen_rate(finished, "tgqformer")
    found = {r: validation(finished, Cell("tgqformer", r, 0)) for r in finished.sweep}
    assert found[rate] == max(found.values())  # type: ignore[index]


@pytest.mark.parametrize(
    ("figures", "chosen"),
    [
        ({0.003: 0.4, 0.03: 0.5}, 0.03),
        ({0.003: 0.5, 0.03: 0.5}, 0.003),  # the lower of two equal ones
        ({0.003: 0.4, 0.03: float("nan")}, 0.003),
        ({0.003: 0.4}, None),  # not settled yet
        ({0.003: 0.4, 0.03: "failed"}, 0.003),
        ({0.003: "failed", 0.03: "failed"}, None),
    ],
)
def test_sweeps_in_every_state(
    plan_of: Callable[..., Plan], tmp_path: Path, figures: dict[float, object], chosen: object
) -> None:
    plan = plan_of(tmp_path)
    for rate, figure in figures.items():
        folder = plan.path(Cell("tgqformer", rate, 0))
        folder.mkdir(parents=True)
        if figure == "failed":
            (folder / "error.txt").write_text("no memory\n")
        else:
            (folder / CELL).write_text(json.dumps({"validation": {"ndcg@10": figure}}))
    assert chosen_rate(plan, "tgqformer") == chosen
    seeds = {cell.seed for cell in cells(plan, "tgqformer")}
    assert seeds == ({0} if chosen is None else {0, 1})


def test_the_losers_of_a_sweep_never_see_the_test_queries(finished: Plan) -> None:
    rate = chosen_rate(finished, "tgqformer")
    for path in finished.out.glob("cells/tgqformer/*/seed-0"):
        assert (path / "test").exists() == (path.parent.name == f"lr-{rate!r}")
        assert not (path / "run" / "checkpoints").exists()
        assert (path / "run" / "model" / "model.safetensors").is_file()


def test_ours_has_no_gain_over_itself_and_the_others_have_one_everywhere(results: Results) -> None:
    methods = results.methods
    ours, frozen = (methods[name].catalogs["small"] for name in ("tgqformer", "frozen_both"))
    assert ours.gain == {}
    assert set(frozen.gain) == set(frozen.metrics) > {"hit@10", "map@r"}
    for metric, lead in frozen.gain.items():
        gap = ours.metrics[metric].value - frozen.metrics[metric].value
        assert lead.absolute.value == pytest.approx(gap)
        assert lead.seeds == 2
        assert lead.p is not None
    assert set(frozen.breakdown["missing"]["nothing"].gain) == set(frozen.metrics)
    queries = sum(group.queries for group in ours.breakdown["missing"].values())
    assert queries == results.catalogs["small"].queries


def test_stars_are_given_by_column(results: Results) -> None:
    """A column's gains together, ours' variants apart from the others, catalogs from each other."""
    lead = Gain(Interval(0.1, 0.01, 0.19), None, True, 0.03, 3)

    def method(group: str) -> MethodResult:
        catalogs = {name: CatalogResult({}, gain={"mrr": lead}) for name in ("a", "b")}
        return MethodResult(group, group, catalogs=catalogs)

    methods = [method(group) for group in ("rival", "simple", "ablation")]
    methods[0].catalogs["b"].gain["mrr"] = replace(lead, p=0.001)
    methods[1].catalogs["b"].gain["mrr"] = replace(lead, p=0.04)
    _correct(methods)
    stars = [[one.catalogs[name].gain["mrr"].apart for name in "ab"] for one in methods]
    assert stars == [[False, True], [False, True], [True, True]]


def test_robustness_has_every_kind_at_every_severity_and_one_clean_start(results: Results) -> None:
    points = results.methods["tgqformer"].robustness
    assert [(p.kind, p.severity) for p in points] == [
        (kind, level) for kind in KINDS for level in (0.0, *SEVERITIES)
    ]
    clean = [p.metrics for p in points if p.severity == 0]
    assert clean[0] == clean[1] == clean[2]


def test_corrupted_photos_are_drawn_once_and_hang_on_the_item_alone(
    finished: Plan, small_shop: Path, tmp_path: Path
) -> None:
    items = query_items(Catalog.load(small_shop))
    whole = corrupted_items(items, "overlays", 0.5, tmp_path / "whole")
    alone = corrupted_items(items[3:4], "overlays", 0.5, tmp_path / "alone")
    assert whole[3].images[0].read_bytes() == alone[0].images[0].read_bytes()  # type: ignore[union-attr]
    made = whole[3].images[0].stat().st_mtime_ns  # type: ignore[union-attr]
    assert corrupted_items(items, "overlays", 0.5, tmp_path / "whole") == whole
    assert whole[3].images[0].stat().st_mtime_ns == made  # type: ignore[union-attr]
    kept = {photo.name for photo in (finished.out / "corrupted/unseen/overlays/0.5").iterdir()}
    assert kept <= {photo.name for photo in (tmp_path / "whole/overlays/0.5").iterdir()}


def test_gates_are_told_for_every_condition(results: Results) -> None:
    found = {(g.condition, g.severity): g for g in results.methods["tgqformer"].gates}
    assert set(found) == {
        ("clean", 0.0),
        *((kind, level) for kind in KINDS for level in SEVERITIES),
        ("shuffled metadata", 0.0),
        ("no photo", 0.0),
        ("no metadata", 0.0),
        *((fault, 0.0) for fault in FAULTS),
    }
    for gate in found.values():
        assert list(gate.weights) == ["photo", "metadata", "anchored", "exploratory"]
        for weight in gate.weights.values():
            assert exp(-1.5) < weight.mean == weight.magnitude < exp(1.5)
        for figure in (gate.anchored, gate.exploratory):
            assert figure is not None
            assert abs(figure.mean) <= figure.magnitude < 1
    missing = found["no photo", 0.0].agreement
    assert missing is not None
    assert (missing.mean, missing.spread) == (0, 0)  # nothing agrees with what is not there
    assert results.methods["frozen_both"].gates == ()


def test_a_fault_is_one_change_of_the_metadata_and_the_same_each_time(small_shop: Path) -> None:
    items = [item for item in Catalog.load(small_shop).items if item.title]
    found = faulty(items)
    assert set(found) == set(FAULTS)
    assert found == faulty(items)
    for name, them in found.items():
        for item in them:
            own = next(each for each in items if each.item_id == item.item_id)
            field = "category" if "category" in name else "title"
            assert getattr(item, field) != getattr(own, field)
            assert replace(item, **{field: getattr(own, field)}) == own  # type: ignore[arg-type]
    bare = [replace(item, title="", category="") for item in items]
    assert faulty(bare) == {}


def test_the_frozen_base_is_where_a_run_starts(
    plan_of: Callable[..., Plan], run_all: Callable[[Plan], None], tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, methods=("base", "tgqformer"), seeds=(0,), sweep=(0.0,))
    run_all(replace(plan, robustness=False))
    found = gather(plan).methods
    base, ours = (found[name].catalogs["small"].metrics for name in ("base", "tgqformer"))
    assert base["mrr"].value == pytest.approx(ours["mrr"].value)
    assert found["base"].trained_parameters == 0


def test_gates_are_averaged_by_condition_where_a_cell_knows_fewer(copied: Plan) -> None:
    rate = chosen_rate(copied, "tgqformer")
    assert rate is not None
    path = copied.path(Cell("tgqformer", rate, 0)) / "gates.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps([row for row in told if not row["severity"]]))
    gates = {(g.condition, g.severity): g for g in gather(copied).methods["tgqformer"].gates}
    missing = gates["no photo", 0.0].agreement
    assert missing is not None
    assert missing.mean == 0, "the mean of another condition's"


def test_gates_told_without_robustness_are_made_again_with_it(copied: Plan) -> None:
    rate = chosen_rate(copied, "tgqformer")
    assert rate is not None
    path = copied.path(Cell("tgqformer", rate, 1)) / "gates.json"
    whole = path.read_text()
    path.write_text(json.dumps([row for row in json.loads(whole) if not row["severity"]]))
    assert list(jobs(replace(copied, robustness=False))) == []
    (job,) = jobs(copied)
    run_cell(copied, job.cell, judge=job.judge)
    assert path.read_text() == whole
    path.write_text("[]")  # a connector without gates
    assert list(jobs(copied)) == []


def test_another_comparison_does_not_fit_into_the_folder(copied: Plan) -> None:
    replace(copied, seeds=(0, 1, 2), methods=("tgqformer", "mlp")).save()  # more of it does
    with pytest.raises(ConfigError, match="preset"):
        replace(copied, preset="offline").save()
    with pytest.raises(ConfigError, match=r"training\.steps=9"):
        replace(copied, assignments=("training.steps=9",)).save()


def test_a_comparison_of_before_there_were_unseen_kinds_is_of_the_seen(copied: Plan) -> None:
    assert copied.robustness_kinds == "unseen"
    data = json.loads((copied.out / PLAN).read_text())
    del data["robustness_kinds"]
    (copied.out / PLAN).write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="robustness kinds is 'seen' and not 'unseen'"):
        copied.save()
    Plan.load(copied.out).save()
    assert Plan.load(copied.out).robustness_kinds == "seen"


def test_figures_of_the_alignment_stage_are_another_models() -> None:
    lines = [{"step": 30, "loss": 2.0}, {"step": 30, "hit@10": 0.9}, {"step": 60, "hit@10": 0.8}]
    assert _curve({"curve": lines, "alignment_steps": 60}) == (lines[0], lines[2])
    assert _curve({"curve": lines}) == tuple(lines)


def test_the_sweep_goes_by_what_the_run_goes_by(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    plan, cell = plan_of(tmp_path), Cell("tgqformer", 0.003, 0)
    plan.path(cell).mkdir(parents=True)
    figures = {"ndcg@10": 0.5, "noisy_ndcg@10": 0.25}
    (plan.path(cell) / CELL).write_text(json.dumps({"validation": figures}))
    assert validation(plan, cell) == score(figures, "ndcg@10") == 0.375


def test_steps_that_the_catalog_decides_are_known_once_it_is_prepared(
    plan_of: Callable[..., Plan], tmp_path: Path, small_shop: Path
) -> None:
    plan = plan_of(tmp_path, assignments=("training.steps=0",), methods=("frozen_both",))
    assert steps(plan) == 0
    plan = replace(plan, robustness=False)
    prepare(plan)
    assert steps(plan) == steps_for(40, 20)
    assert gather(plan).steps == steps(plan)


@pytest.mark.parametrize(
    ("was", "told"),
    [
        ("  steps: 7\n", r"training\.steps: 7, now 2"),
        ("", r"training\.steps: absent, now 2"),
        ("  steps: 2\n  hops: 3\n", r"training\.hops: 3, now absent"),
    ],
)
def test_runs_of_another_configuration_are_refused(
    copied: Plan, monkeypatch: pytest.MonkeyPatch, was: str, told: str
) -> None:
    monkeypatch.setattr(run, "run_prepare", lambda plan: pytest.fail("it was begun"))
    cell = cells(copied, "tgqformer")[-1]
    path = copied.path(cell) / "run" / "config.yaml"
    text = path.read_text()
    assert text.count("  steps: 2\n") == 1
    path.write_text(text.replace("  steps: 2\n", was))
    with pytest.raises(ConfigError, match=rf"{cell.folder} in .* \({told}\); remove that folder"):
        run.compare(copied)


def test_a_curve_ends_where_the_steps_do(finished: Plan) -> None:
    for cell in cells(finished, "tgqformer"):
        curve = read_cell(finished, cell)["curve"]
        assert [line["step"] for line in curve if "hit@10" in line] == [0, 1, 2]


def test_the_table_names_every_method_with_its_figure_and_our_lead(results: Results) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(rich_table(results))
    lines = [line for line in console.export_text().splitlines() if "frozen" in line]
    frozen = results.methods["frozen_both"].catalogs["small"]
    assert len(lines) == 1
    assert f"{100 * frozen.metrics['hit@10'].value:.1f}" in lines[0]
    assert f"{100 * frozen.gain['hit@10'].absolute.value:+.1f}" in lines[0]


def test_a_catalog_that_changed_under_the_comparison_is_refused(
    copied: Plan, small_shop: Path, tmp_path: Path
) -> None:
    other = Catalog.load(small_shop)
    items = [replace(item, images=()) for item in other.items]
    Catalog(items, other.pairs).save(tmp_path / "small")
    with pytest.raises(ConfigError, match="'small' is not the one"):
        prepare(replace(copied, catalogs={"small": tmp_path / "small"}))


def test_every_method_has_its_costs_whenever_it_is_added(
    plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[EmbedderConfig] = []

    def count(config: EmbedderConfig) -> Cost:
        counted.append(config)
        if config.connector.kind == "mlp":
            raise ModelError("there is no such tower.")
        return count_cost(config)

    monkeypatch.setattr(preparation, "count_cost", count)
    first = plan_of(tmp_path, methods=("frozen_text",))
    more = plan_of(tmp_path, methods=("frozen_text", "mlp", "frozen_image", "frozen_both"))
    for plan in (first, more):
        preparation._count_costs(plan)
        costs = json.loads((tmp_path / COSTS).read_text())
        assert costs.keys() == plan.chosen.keys()
    assert len(counted) == 3, "the towers once each time, and what cannot be counted"
    assert costs["mlp"] == {}
    for each in ("multiply_adds", "parameters"):
        assert costs["frozen_both"][each] == sum(
            costs[name][each] for name in ("frozen_text", "frozen_image")
        )
    assert costs["frozen_both"]["trained_parameters"] == 0
    assert gather(more).methods["mlp"].multiply_adds is None


def test_with_nothing_left_to_do_it_only_gathers(
    copied: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise AssertionError("a worker was started")

    pages: list[object] = []
    monkeypatch.setattr(run, "_start", start)
    monkeypatch.setattr(run, "write_comparison_report", lambda *a, **k: pages.append(a[0]))
    found = run.compare(copied)
    assert found.methods == results.methods
    assert pages == [Results.load(copied.out)] == [found]


def test_collaborative_references_stand_in_the_table_when_named(
    plan_of: Callable[..., Plan],
    run_all: Callable[[Plan], None],
    small_shop: Path,
    tmp_path: Path,
) -> None:
    names = ("frozen_text", "popularity", "item_cosine", "ease")
    plan = plan_of(tmp_path, methods=names, catalogs={"small": small_shop, "again": small_shop})
    run_all(plan)
    found = gather(plan)
    assert list(found.methods) == list(names)
    catalog = Catalog.load(small_shop)
    expected = evaluate(ItemCosine(Engagement.from_pairs(catalog)), catalog, bootstrap=0)
    for name in ("small", "again"):
        shown = found.methods["item_cosine"].catalogs[name]
        assert shown.metrics["hit@10"].value == pytest.approx(expected["hit@10"])
        assert "history" not in shown.breakdown, "every query has a training pair here"
        assert (
            shown.breakdown.keys() == found.methods["frozen_text"].catalogs[name].breakdown.keys()
        )
    assert found.methods["ease"].robustness == ()
    assert "popularity" not in find_methods(["all"])

"""Laws of the schedule, with workers that only leave the files that a real one would."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tgqformer.comparison import run as running
from tgqformer.comparison.gather import gather
from tgqformer.comparison.plan import Cell, Plan, error, forget_errors, jobs, parts
from tgqformer.comparison.run import alone, run_cells
from tgqformer.errors import ConfigError

WORKER = """
import json, os, pathlib, sys, time
folder, value, crash, *parts = sys.argv[1:]
if crash == "kill":
    os.kill(os.getpid(), 9)
if crash == "sleep":
    time.sleep(600)
if crash:
    print("Traceback ...\\n  line\\nthe disk is full", file=sys.stderr)
    sys.exit(1)
for part in parts:
    path = pathlib.Path(folder, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
text = json.dumps({"validation": {"ndcg@10": float(value)}, "curve": []})
pathlib.Path(folder, "cell.json").write_text(text)
"""


@pytest.fixture
def plan(plan_of: Callable[..., Plan], tmp_path: Path) -> Plan:
    plan = plan_of(tmp_path, methods=("tgqformer", "qformer"), robustness=False, jobs=2)
    plan.save()
    return plan


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What was started: "words" in order, "most" at a time; "crash" says what goes wrong where."""
    facts: dict[str, object] = {"words": [], "most": 0, "crash": {}}
    alive: list[subprocess.Popen[bytes]] = []

    def start(plan: Plan, words: list[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
        method, rate, seed, *judge = words
        folder = log.parent
        folder.mkdir(parents=True, exist_ok=True)
        crash = facts["crash"].get((method, rate, seed), "")  # type: ignore[attr-defined]
        left = parts(plan, method) if judge else []
        with log.open("ab") as told:
            process = subprocess.Popen(
                [sys.executable, "-S", "-c", WORKER, str(folder), rate, crash, *left],
                stdout=told,
                stderr=told,
            )
        alive.append(process)
        facts["words"].append(tuple(words))  # type: ignore[attr-defined]
        busy = sum(each.poll() is None for each in alive)
        facts["most"] = max(facts["most"], busy)  # type: ignore[call-overload]
        facts["alive"] = alive
        return process

    monkeypatch.setattr(running, "_start", start)
    return facts


def quiet(what: str, cell: Cell | None) -> None:
    pass


def test_every_method_is_swept_with_the_first_seed_and_run_with_the_others_at_its_best(
    plan: Plan, started: dict[str, object]
) -> None:
    assert run_cells(plan, quiet) == []
    assert list(jobs(plan)) == []
    for method in plan.methods:
        own = [words[1:] for words in started["words"] if words[0] == method]  # type: ignore[attr-defined]
        assert sorted(own[:2]) == [("0.003", "0"), ("0.03", "0")]
        assert sorted(own[2:]) == [("0.03", "0", "judge"), ("0.03", "1", "judge")]
    assert started["most"] <= plan.jobs  # type: ignore[operator]


def test_one_rate_needs_no_sweep(
    plan_of: Callable[..., Plan], tmp_path: Path, started: dict[str, object]
) -> None:
    plan = plan_of(tmp_path, methods=("tgqformer",), sweep=(0.01,), robustness=False)
    run_cells(plan, quiet)
    assert started["words"] == [
        ("tgqformer", "0.01", "0", "judge"),
        ("tgqformer", "0.01", "1", "judge"),
    ]


def test_a_cell_that_fails_is_told_with_its_reason_and_the_rest_goes_on(
    plan: Plan, started: dict[str, object]
) -> None:
    bad, killed = Cell("qformer", 0.03, 0), Cell("tgqformer", 0.03, 0)
    started["crash"] = {("qformer", "0.03", "0"): "crash", ("tgqformer", "0.03", "0"): "kill"}
    reports: list[tuple[str, Cell | None]] = []
    failed = run_cells(plan, lambda *told: reports.append(told))
    assert set(failed) == {bad, killed}
    assert {("failed", bad), ("failed", killed)} <= set(reports)
    assert error(plan, bad) == "the disk is full"
    assert "SIGKILL" in (error(plan, killed) or "")
    by_cell = {(c.method, c.learning_rate, c.seed): c for c in _cells_of(plan)}
    assert by_cell["qformer", 0.03, 0].state == "failed"
    assert by_cell["qformer", 0.003, 1].chosen  # the rate that did not fail
    started["crash"] = {}
    forget_errors(plan)
    assert run_cells(plan, quiet) == []
    assert all(cell.state == "done" for cell in _cells_of(plan))


def _cells_of(plan: Plan) -> list:
    """The cells of the results, without their test figures, which these workers do not leave."""
    from tgqformer.comparison.gather import _cell
    from tgqformer.comparison.plan import cells

    return [_cell(plan, cell) for method in plan.chosen for cell in cells(plan, method)]


def test_a_stop_leaves_no_process_behind(plan: Plan, started: dict[str, object]) -> None:
    started["crash"] = {("tgqformer", "0.003", "0"): "sleep", ("tgqformer", "0.03", "0"): "sleep"}

    def stop(what: str, cell: Cell | None) -> None:
        if what == "wait":
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_cells(plan, stop)
    assert time.monotonic() - begun < running.PATIENCE + 20
    assert all(process.poll() is not None for process in started["alive"])  # type: ignore[attr-defined]
    assert all(error(plan, cell) is None for cell in (Cell("tgqformer", 0.003, 0),))


def test_a_comparison_that_has_begun_nothing_can_be_gathered(plan: Plan) -> None:
    results = gather(plan)
    assert {cell.state for cell in results.cells} == {"pending"}
    assert results.methods["tgqformer"].catalogs == {}


def test_two_comparisons_do_not_share_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ConfigError, match="at work"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass

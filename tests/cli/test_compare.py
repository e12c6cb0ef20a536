"""Laws of ``tgqformer compare`` at the command line: what it refuses, and in how many words."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tgqformer.comparison import run as runner
from tgqformer.comparison.plan import Plan
from tgqformer.errors import ConfigError

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--connectors", "tgqformer,pilgrim"], "pilgrim"),
        (["--connectors", ""], "--connectors"),
        (["--seeds", "0,one"], "0,one"),
        (["--seeds", "1,1"], "seeds"),
        (["--sweep", "fast"], "fast"),
        (["--sweep", "-1"], "sweep"),
        (["--also", "nowhere"], "NAME=CATALOG"),
        (["--also", "a b=SHOP"], "a b"),
        (["--set", "training.stops=3"], "training.steps"),
        (["--preset", "grand"], "grand"),
    ],
)
def test_a_wrong_option_is_one_sentence_that_names_it(
    tgqformer: Command, tmp_path: Path, options: list[str], word: str
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    code, _, err = tgqformer(
        "compare", shop, "--out", tmp_path / "out", "--preset", "tiny", *options
    )
    assert code == 2
    assert word in err
    assert not (tmp_path / "out" / "cells").exists()


def test_a_catalog_is_needed_but_for_the_quick_form(tgqformer: Command, tmp_path: Path) -> None:
    code, _, err = tgqformer("compare", "--out", tmp_path / "out")
    assert (code, "--quick" in err) == (2, True)
    code, _, err = tgqformer("compare", tmp_path / "none", "--out", tmp_path / "out", "--jobs", 1)
    assert (code, "none is no folder" in err) == (2, True)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans of the comparisons that were asked for, none of which is run."""
    asked: list[Plan] = []

    def taken(plan: Plan, **_: object) -> None:
        asked.append(plan)
        raise ConfigError("enough")

    monkeypatch.setattr(runner, "compare", taken)
    return asked


@pytest.mark.parametrize(
    "options",
    [
        ["--connectors", "tgqformer", "--other-metadata", "--no-robustness"],
        ["--connectors", "mean", "--ablations", "--seeds", "3,1", "--sweep", "0.1,0.02"],
        ["--set", "training.steps=2", "--also", "b=a shop", "--robustness-queries", "7"],
    ],
)
def test_the_command_of_a_plan_makes_the_same_plan(
    tgqformer: Command, tmp_path: Path, plans: list[Plan], options: list[str]
) -> None:
    tgqformer("compare", tmp_path, "--out", tmp_path / "out", "--preset", "tiny", *options)
    tgqformer(*shlex.split(plans[0].command())[1:])
    assert plans[0] == plans[1]
    assert plans[0].conditions == ("--ablations" in options or "--other-metadata" in options)


def test_a_comparison_goes_on_with_the_kinds_that_it_began_with(
    tgqformer: Command, tmp_path: Path, plans: list[Plan]
) -> None:
    words = ["compare", tmp_path, "--out", tmp_path / "out", "--preset", "tiny"]
    tgqformer(*words)
    tgqformer(*words, "--robustness-kinds", "seen")
    assert [plan.robustness_kinds for plan in plans] == ["unseen", "seen"]
    plans[1].save()
    tgqformer(*words)
    assert plans[2] == plans[1]


def test_comparisons_beside_each_other_can_be_kept_to_a_thread_each(
    tgqformer: Command, tmp_path: Path, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tgqformer("compare", tmp_path, "--out", tmp_path / "out", "--jobs", 1)
    assert (plans[0].jobs, plans[0].threads) == (1, 1)


@pytest.mark.slow
def test_a_comparison_from_end_to_end_and_again_with_nothing_left_to_do(
    shop: Path, tmp_path: Path, tgqformer_json: Callable[..., dict], tgqformer: Command
) -> None:
    """In processes of its own, with a method that fails, which the others survive."""
    out = tmp_path / "out"
    options = ["--preset", "tiny", "--out", out, "--jobs", 2, "--seeds", "0,1", "--sweep", "0.01"]
    few = ["--set", "training.steps=2", "--set", "training.eval_every=1", "--no-robustness"]
    names = ["--connectors", "tgqformer,cabstractor,frozen_text", "-q"]
    first = tgqformer_json("compare", shop, *options, *few, *names)
    assert {cell["state"] for cell in first["cells"]} == {"done"}
    assert (out / "report.html").stat().st_size > 10_000
    again = tgqformer_json("compare", shop, *options, *few, *names)
    assert {**again, "created": ""} == {**first, "created": ""}
    broken = out / "cells" / "cabstractor" / "lr-0.01" / "seed-1"
    (broken / "cell.json").unlink()
    (broken / "run" / "model" / "config.json").unlink()
    code, told, err = tgqformer("compare", shop, *options, *few, *names)
    assert code == 1
    assert "no saved embedder" in err
    assert "TGQ-Former" in told

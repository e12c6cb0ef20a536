"""Laws of the benchmarks: the page is what the figures give, and says what has not run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("page", "run", "measuring"):
        sys.modules.pop(name, None)
    import page

    return page


def test_the_page_is_what_the_figures_give(page):
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run benchmarks/page.py"


def test_what_has_not_run_is_said(page, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    told = page.page()
    assert "Nothing has run." in told
    assert told.count("**this has not run.**") == len(" ".join(e[2] for e in page.SECTIONS).split())
    figures = json.loads((FOLDER / "results" / "gpu.json").read_text()) | {"gpu": None}
    (tmp_path / "gpu.json").write_text(json.dumps(figures))
    assert "there was no GPU" in page.page()


def test_every_figure_of_the_page_has_a_script(page):
    import run

    wanted = {name for entry in page.SECTIONS for name in entry[2].split()}
    assert wanted <= {**run.QUICK, **run.LONG}.keys()
    for line in {**run.QUICK, **run.LONG}.values():
        assert (FOLDER / line.split()[0]).is_file()


def test_a_slope_is_the_exponent(page):
    from measuring import slope

    assert slope([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)

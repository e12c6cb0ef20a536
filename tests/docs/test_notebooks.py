"""The notebooks run from end to end, and come without outputs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)  # kernels, on a machine that may be busy

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
place = {"metadata": {"path": sys.argv[2]}}
nbclient.NotebookClient(notebook, timeout=600, startup_timeout=300, resources=place).execute()
nbformat.write(notebook, sys.argv[3])
"""


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_there_are_two() -> None:
    assert NOTEBOOKS == ["comparing.ipynb", "first_catalog.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(name: str, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ipynb"
    work.mkdir()
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(FOLDER / name), str(work), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stderr
    said = [cell for cell in cells(out) if cell["cell_type"] == "code" and cell["outputs"]]
    assert len(said) >= 4, "a notebook that shows nothing teaches nothing"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_without_outputs(name: str) -> None:
    for cell in cells(FOLDER / name):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            ast.parse("".join(cell["source"]))
    assert (FOLDER / name).stat().st_size < 50_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_file_that_it_links_is_there(name: str) -> None:
    told = [c["source"] for c in cells(FOLDER / name) if c["cell_type"] == "markdown"]
    text = "\n".join("".join(lines) for lines in told)
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (FOLDER / link).exists(), link

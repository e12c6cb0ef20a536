"""Every bash and python block of the README runs, in order, in one folder.

In shells and processes of their own, which share their imports (warm.py) to save a minute.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1200)  # other processes, on a machine that may be busy

README = Path(__file__).parent.parent / "README.md"
# pipefail is left out: "| head" may end a writer early, as it is meant to
FLAGS = {"bash": "-euc", "python": "-c"}
BLOCK = re.compile(
    r"(<!-- not run by the tests: [^>]* -->\n)?```(bash|python)\n(.*?)```\n", re.DOTALL
)


def test_every_block_of_the_readme_runs(tmp_path: Path, warm_bin: Path) -> None:
    environment = dict(
        os.environ,
        PATH=f"{warm_bin}{os.pathsep}{os.environ['PATH']}",
        TGQFORMER_CACHE=str(tmp_path / "cache"),
        OMP_NUM_THREADS="1",
    )
    ran = []
    for skipped, language, code in BLOCK.findall(README.read_text(encoding="utf-8")):
        if skipped:
            continue
        command = [
            "bash" if language == "bash" else str(warm_bin / "python"),
            FLAGS[language],
            code,
        ]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1100,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        ran.append(language)
    assert ran.count("bash") >= 4
    assert ran.count("python") >= 1


def test_only_what_installs_or_trains_for_hours_is_not_run() -> None:
    skipped = [code for mark, _, code in BLOCK.findall(README.read_text("utf-8")) if mark]
    assert len(skipped) == 2
    assert "make demo" in skipped[0]
    assert skipped[1].startswith("tgqformer compare")


def test_every_file_that_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if not (README.parent / link).exists()]
    assert links
    assert not missing

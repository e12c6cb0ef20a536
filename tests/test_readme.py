"""Every bash and python block of the README runs, in order, in one folder.

In shells and processes of their own, which share their imports (warm.py) to save a minute.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1200)  # other processes, on a machine that may be busy

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(
    r"(<!-- not run by the tests: [^>]* -->\n)?```(bash|python)\n(.*?)```\n", re.DOTALL
)


def test_every_block_of_the_readme_runs(
    tmp_path: Path, run_blocks: Callable[[Path, Path], list[str]]
) -> None:
    ran = run_blocks(README, tmp_path)
    assert ran.count("bash") >= 4
    assert ran.count("python") >= 1


def test_only_what_installs_serves_or_trains_for_hours_is_not_run() -> None:
    skipped = [code for mark, _, code in BLOCK.findall(README.read_text("utf-8")) if mark]
    assert len(skipped) == 4
    assert "make demo" in skipped[0]
    assert "tgqformer serve" in skipped[1]
    calls = skipped[2].replace("\\\n", "").splitlines()
    assert all(line.startswith("curl -s ") for line in calls)
    assert skipped[3].startswith("tgqformer compare")


def test_every_file_that_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))
    missing = [link for link in links if not (README.parent / link).exists()]
    assert links
    assert not missing

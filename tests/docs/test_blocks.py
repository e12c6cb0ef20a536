"""Every block of the guides runs, in their order and in one folder, or says why it is not run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1200)  # other processes, on a machine that may be busy

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("getting-started", "catalog", "training", "evaluation", "retrieval", "recommenders")
NOT_RUN = ("adapters", "attention", "audit", "method", "service", "operations", "security")
FENCE = re.compile(r"(.*)\n```(bash|python|console|sh)\n")


def test_every_block_of_the_guides_runs(
    tmp_path: Path, run_blocks: Callable[[Path, Path], list[str]]
) -> None:
    for guide in GUIDES:
        ran = run_blocks(DOCS / f"{guide}.md", tmp_path)
        assert ran, guide


@pytest.mark.parametrize("page", [*GUIDES, *NOT_RUN])
def test_a_block_that_is_not_run_says_why(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for before, _ in FENCE.findall(text):
        told = re.fullmatch(r"<!-- not run by the tests: \S[^>]* -->", before)
        assert told or page in GUIDES, before


def test_no_block_of_a_guide_has_a_prompt_or_an_unknown_language() -> None:
    for guide in GUIDES:
        text = (DOCS / f"{guide}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) <= {"bash", "python"}
        assert not re.search(r"^\$ ", text, re.MULTILINE)

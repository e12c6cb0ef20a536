"""For the tests of every room: Python processes that start at once, and what goes first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WARM = Path(__file__).with_name("warm.py")
# pipefail is left out: "| head" may end a writer early, as it is meant to
FLAGS = {"bash": "-euc", "python": "-c"}
BLOCK = re.compile(
    r"(<!-- not run by the tests: [^>]* -->\n)?```(bash|python)\n(.*?)```\n", re.DOTALL
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is known to take long goes first, or at the end one process would wait for another."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def stir() -> Callable[..., Any]:
    """Move every trained weight of an embedder off its start, as training would; the embedder."""

    def move(embedder: Any, by: float = 0.1) -> Any:
        import torch

        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in embedder.model.parameters():
                if weight.requires_grad:
                    weight.add_(by * torch.randn(weight.shape, generator=generator))
        return embedder

    return move


@pytest.fixture(scope="session")
def warm_bin() -> Iterator[Path]:
    """A folder with `python` and `tgqformer` as a fresh process would run them, imports apart."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's address has 100 characters
        address = f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, str(WARM), "serve", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        with server:  # closing its standard input ends it
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            start = f'#!/bin/sh\nexec "{sys.executable}" -IS "{WARM}" call "{address}"'
            script = Path(sys.executable).with_name("tgqformer")
            for name, before in (("python", ""), ("tgqformer", f' "{script}"')):
                program = Path(folder, name)
                program.write_text(f'{start}{before} "$@"\n')
                program.chmod(0o755)
            yield Path(folder)


@pytest.fixture
def run_blocks(warm_bin: Path) -> Callable[[Path, Path], list[str]]:
    """Run a page's blocks in a folder, those marked as not run apart: the language of each."""

    def run(page: Path, folder: Path) -> list[str]:
        environment = dict(
            os.environ,
            PATH=f"{warm_bin}{os.pathsep}{os.environ['PATH']}",
            TGQFORMER_CACHE=str(folder / "cache"),
            OMP_NUM_THREADS="1",
        )
        ran = []
        for skipped, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
            if skipped:
                continue
            program = "bash" if language == "bash" else str(warm_bin / "python")
            done = subprocess.run(
                [program, FLAGS[language], code],
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=1100,
            )
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
            ran.append(language)
        return ran

    return run

"""A small shop and a run on it, made once by the commands that the tests are about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.cli import main as cli


@pytest.fixture
def tgqformer(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call(*arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def tgqformer_json(tgqformer: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run a command with --json: what it printed, which must be JSON and nothing else."""

    def run(*arguments: object, code: int = 0) -> Any:
        found, out, err = tgqformer(*arguments, "--json")
        assert found == code, err
        return json.loads(out)

    return run


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "shop"
    assert call("storefront", folder, "--items", 80, "--size", 48, "--workers", 1, "-q") == 0
    return folder


@pytest.fixture(scope="session")
def trained(shop: Path) -> Path:
    run = shop.parent / "run"
    options = ["--set", "training.steps=4", "--set", "training.eval_every=2", "-q"]
    assert call("train", shop, "--preset", "tiny", "--out", run, *options) == 0
    return run


@pytest.fixture(scope="session")
def embedded(shop: Path, trained: Path) -> Path:
    out = shop.parent / "vectors.parquet"
    assert call("embed", trained, shop, "--out", out, "-q") == 0
    return out


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """A digest of each file under a folder, by its path in there."""

    def read(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    return read


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code

"""Laws of the repository: the public surface, the table of rooms, the files that ship."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tgqformer

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "tgqformer"
PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


@pytest.mark.parametrize("name", tgqformer.__all__)
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    value = getattr(tgqformer, name)
    assert name == "__version__" or value.__doc__


def test_the_public_surface_is_this_and_no_more() -> None:
    assert set(tgqformer.__all__) <= set(dir(tgqformer))
    assert sorted(tgqformer.__all__, key=str.lower) == sorted(set(tgqformer.__all__), key=str.lower)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tgqformer.nonsense


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, tgqformer\n"
        "heavy = {'torch', 'numpy', 'polars', 'pyarrow', 'PIL', 'click', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def rooms_imported(node: ast.AST) -> set[str]:
    """The rooms and root modules that code imports, those for type checkers alone left out."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return set()
    found: set[str] = set()
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tgqformer."):
        found.add(str(node.module).split(".")[1])
    return found.union(*(rooms_imported(child) for child in ast.iter_child_nodes(node)))


def test_the_table_of_rooms_says_who_imports_whom() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = re.findall(r"\w+", contracts["importlinter:contract:rooms"]["layers"])
    table = re.findall(
        r"^\| `(\w+)(?:/|\.py)` \| .* \| (.*) \|$",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {room for room, _ in table} == set(layers) >= set(PACKAGES)
    for room, told in table:
        place = SOURCE / room
        files = place.rglob("*.py") if place.is_dir() else [SOURCE / f"{room}.py"]
        trees = (ast.parse(path.read_text(encoding="utf-8")) for path in files)
        found = set().union(*(rooms_imported(tree) for tree in trees)) & set(layers) - {room}
        assert told.startswith("any") or set(re.findall(r"`(\w+)`", told)) == found, room
        free = f"tgqformer.{room}" in contracts["importlinter:contract:no-torch"]["source_modules"]
        assert ("no torch" in told) == free, room


def test_the_files_that_contributing_walks_through_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+/\w+\.py)`", text):
        assert any((folder / name).is_file() for folder in (SOURCE, SOURCE.parent, ROOT)), name


def test_no_module_reads_pickles_or_runs_text() -> None:
    """No pickle, eval or exec; torch.load only with weights_only=True, np.load never of objects."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.split(".")[0] for alias in node.names}
                names.add(getattr(node, "module", None) or "")
                assert not names & {"pickle", "dill", "joblib", "shelve", "marshal"}, where
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, where
            keywords = {
                word.arg: word.value.value
                for word in node.keywords
                if isinstance(word.value, ast.Constant)
            }
            assert keywords.get("allow_pickle") is not True, where
            if ast.unparse(node.func) == "torch.load":
                assert keywords.get("weights_only") is True, where


def test_makefile_targets_exist_and_are_phony() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = {
        name for line in text.splitlines() if line.startswith(".PHONY:") for name in line.split()
    }
    for target in ("demo", "test", "test-slow", "lint", "format", "bench"):
        assert f"\n{target}:" in text
        assert target in phony


def test_versions_agree() -> None:
    assert f"version: {tgqformer.__version__}\n" in (ROOT / "CITATION.cff").read_text()

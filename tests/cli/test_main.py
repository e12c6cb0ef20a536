"""Laws of the command line: quick help, one sentence for a fault, exit codes for scripts."""

from __future__ import annotations

import errno
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from tgqformer import __version__
from tgqformer.cli import main as cli
from tgqformer.cli.main import COMMANDS
from tgqformer.errors import CatalogError, TGQFormerError, UnreadInputWarning

HEAVY = [
    "torch", "transformers", "peft", "accelerate", "polars", "pyarrow", "numpy", "PIL", "faiss",
    "matplotlib", "yaml", "rich", "jinja2",
]  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tgqformer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Replace the command `doctor` by one that raises what it is given."""

    def install(error: BaseException) -> None:
        @click.command()
        def doctor() -> None:
            raise error

        monkeypatch.setattr("tgqformer.cli.doctor.doctor", doctor)

    return install


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], *([n, "-h"] for n in COMMANDS)]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from tgqformer.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        f"    sys.exit(' '.join(set({HEAVY!r}) & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"imported: {done.stderr}"
    if arguments != ["--version"]:
        assert "Usage: tgqformer" in done.stdout + done.stderr


def test_help_lists_every_command_with_a_sentence() -> None:
    lines = run("--help").stdout.splitlines()
    told = dict(line.split(maxsplit=1) for line in lines[lines.index("Commands:") + 1 :])
    assert list(told) == list(COMMANDS)
    assert all(text.endswith(".") for text in told.values())


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, __version__ in done.stdout) == (0, True)


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--nonsense"], ["embed"]])
def test_wrong_usage_exits_with_2_and_says_how(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Usage:" in done.stderr


def test_our_errors_are_one_line_and_exit_with_2(failing, capsys) -> None:
    failing(CatalogError("row 7 has no id;\n  give it one"))
    assert exit_code("doctor") == 2
    assert capsys.readouterr().err == "tgqformer: error: row 7 has no id; give it one\n"


def test_every_error_of_the_tree_is_caught(failing, capsys) -> None:
    for kind in TGQFormerError.__subclasses__():
        failing(kind("told"))
        assert exit_code("doctor") == 2
        assert capsys.readouterr().err == "tgqformer: error: told\n"


def test_a_message_with_a_lone_surrogate_can_be_printed(failing, capsys) -> None:
    failing(CatalogError("item 'a\ud800b' is not valid"))
    assert exit_code("doctor") == 2
    assert "a\\ud800b" in capsys.readouterr().err


def test_a_bug_is_called_a_bug_and_shows_its_place(failing, capsys) -> None:
    failing(ValueError("surprise"))
    assert exit_code("doctor") == 1
    told = capsys.readouterr().err
    assert "bug: ValueError in test_main.py:" in told
    assert "report" in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback_of_any_error(failing, capsys) -> None:
    for error, code in ((ValueError("surprise"), 1), (CatalogError("told"), 2)):
        failing(error)
        assert exit_code("--debug", "doctor") == code
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_exits_with_130_and_a_sentence(failing, capsys) -> None:
    failing(KeyboardInterrupt())
    assert exit_code("doctor") == 130
    told = capsys.readouterr().err
    assert "interrupted" in told
    assert "starts anew" in told  # there is nothing that could go on


def test_what_cannot_be_read_is_told_without_code(monkeypatch, capsys) -> None:
    @click.command()
    def doctor() -> None:
        warnings.warn("a photo is missing", UnreadInputWarning, stacklevel=1)

    monkeypatch.setattr("tgqformer.cli.doctor.doctor", doctor)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert exit_code("doctor") == 0
    assert capsys.readouterr().err == "tgqformer: a photo is missing\n"


def test_a_full_disk_is_no_bug(failing, capsys) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "/x/y"))
    assert exit_code("doctor") == 2
    assert "No space left on device (/x/y)" in capsys.readouterr().err


def test_an_int_that_a_command_returns_is_the_exit_code(monkeypatch) -> None:
    @click.command()
    def doctor() -> int:
        return 1

    monkeypatch.setattr("tgqformer.cli.doctor.doctor", doctor)
    assert exit_code("doctor") == 1


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = (
        "import click, tgqformer.cli.doctor as d\n"
        "talk = lambda: [click.echo('x' * 99) for _ in range(9999)]\n"
        "d.doctor = click.Command('doctor', callback=talk)\n"
        "from tgqformer.cli.main import main\n"
        "main(['doctor'])\n"
    )
    script = tmp_path / "s.py"
    script.write_text(code)
    shell = f"{sys.executable} {script} | head -1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("x" * 99 + "\n", "")

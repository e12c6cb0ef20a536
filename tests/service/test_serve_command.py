"""Laws of `tgqformer serve`'s arguments: a mistake is one sentence before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tgqformer.cli.serve import _keys, _named, serve
from tgqformer.errors import ConfigError


def test_models_are_named_after_their_runs_or_as_told() -> None:
    further = ("rival=runs/a:b:stores/a", "third=hub/id:s")
    assert _named(Path("runs/main"), Path("s"), further) == {
        "main": (Path("runs/main"), Path("s")),
        "rival": (Path("runs/a:b"), Path("stores/a")),
        "third": (Path("hub/id"), Path("s")),
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give RUN and STORE"),
        (["run"], "give RUN and STORE"),
        (["--model", "a=b"], "must be NAME=RUN:STORE"),
        (["--model", "=b:c"], "must be NAME=RUN:STORE"),
        (["--model", "a=b:c", "--model", "a=d:e"], "given twice"),
        (["run", "store", "--port", "99999"], "--port"),
        (["run", "store", "--timeout", "0"], "--timeout"),
    ],
)
def test_what_cannot_be_served_is_a_usage_error(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(serve, arguments)
    assert (done.exit_code, words in done.output) == (2, True), done.output


def test_keys_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TGQFORMER_API_KEYS", raising=False)
    assert _keys(None) is None
    monkeypatch.setenv("TGQFORMER_API_KEYS", f"read {'a' * 20},write {'b' * 20}")
    keys = _keys(None)
    assert keys is not None
    assert (keys.right("Bearer " + "a" * 20), keys.right("Bearer " + "b" * 20)) == ("read", "write")
    file = tmp_path / "keys"
    file.write_text(f"write {'c' * 20}\n")
    keys = _keys(file)
    assert keys is not None
    assert keys.right("bearer " + "c" * 20) == "write"
    assert keys.right("Bearer " + "a" * 20) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        _keys(tmp_path / "none")

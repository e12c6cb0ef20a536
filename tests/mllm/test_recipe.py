"""The page of the recipe runs, and what it does not run it names rightly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tgqformer.mllm.flops import MLLMS

PAGE = (Path(__file__).parents[2] / "recipes" / "mllm.md").read_text("utf-8")


@pytest.mark.slow
def test_the_tiny_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "recipes/mllm.md", "exec"), {})
    assert re.match(r"H@10 \d+\.\d% over a pool of \d+\n", capsys.readouterr().out)
    assert (tmp_path / "runs/tiny-internvl/model/model.safetensors").is_file()


def test_the_published_example_is_python_and_names_models_that_are_shipped():
    (code,) = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    compile(code, "recipes/mllm.md", "exec")
    assert all(name in code for name in MLLMS.values())

"""``tgqformer flops``: the table, its JSON, and the one sentence for a wrong name."""

from __future__ import annotations

import json

import pytest

from tgqformer.cli import main as cli


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["flops", "--preset", "tiny", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_parts_add_up_in_both_conventions(capsys):
    assert run("--json", "--text-tokens", "9") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["parts"]) == ["image tower", "text tower", "connector", "backbone", "head"]
    for name in ("multiply_adds", "flops", "parameters", "trained"):
        assert told["total"][name] == sum(part[name] for part in told["parts"].values())
    assert told["total"]["flops"] == 2 * told["total"]["multiply_adds"]
    assert told["text_tokens"] == 9
    assert told["reported_by_the_paper"]["TGQ-Former"] == 35.43e9


def test_a_connector_is_chosen_by_name_or_all_are_compared(capsys):
    assert run("--json", "--connector", "mlp") == 0
    chosen = json.loads(capsys.readouterr().out)
    assert run("--json", "--connector", "all") == 0
    every = json.loads(capsys.readouterr().out)["connectors"]
    assert chosen["connector"] == "mlp"
    assert chosen["parts"]["connector"] == every["mlp"]
    assert len({part["tokens"] for part in every.values()}) == 1


def test_the_table_names_the_papers_figure(capsys):
    assert run() == 0
    out = capsys.readouterr().out
    assert "backbone" in out
    assert "35.43" in out


def test_an_unknown_connector_is_named_with_the_known_ones(capsys):
    assert run("--connector", "nonsense") == 2
    told = capsys.readouterr().err
    assert "connector.kind 'nonsense' is unknown" in told
    assert "perceiver" in told

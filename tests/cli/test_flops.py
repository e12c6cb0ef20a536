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
    # the baselines without a photo or without a backbone hand on none
    assert len({part["tokens"] for part in every.values()} - {0}) == 1


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


def test_end_to_end_models_stand_beside_the_preset(capsys, tmp_path):
    from tgqformer.mllm.network import save_tiny_mllm

    folder = str(save_tiny_mllm(tmp_path, "internvl"))
    assert run("--json", "--mllm", folder, "--text-tokens", "9") == 0
    told = json.loads(capsys.readouterr().out)
    mllm = told["mllms"][folder]
    assert list(mllm["parts"]) == ["vision tower", "projector", "backbone", "head"]
    for name in ("multiply_adds", "flops", "parameters", "trained"):
        assert mllm["total"][name] == sum(part[name] for part in mllm["parts"].values())
    ratio = mllm["total"]["multiply_adds"] / told["total"]["multiply_adds"]
    assert told["times_the_preset"][folder] == pytest.approx(ratio)
    assert mllm["text_tokens"] == 9
    assert mllm["weight_bytes"] > mllm["activation_bytes"] > 0

    assert run("--mllm", folder) == 0
    out = capsys.readouterr().out
    for said in ("vision tower", "preset tiny", "activations", "not downloaded", "453 px"):
        assert said in out


def test_a_model_that_is_nowhere_is_named(capsys):
    assert run("--mllm", "./nowhere") == 2
    assert "'./nowhere' does not exist" in capsys.readouterr().err

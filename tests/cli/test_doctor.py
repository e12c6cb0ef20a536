"""Laws of `doctor`: what runs here, and the package that is absent where something does not."""

from __future__ import annotations


def test_doctor_tells_what_runs_here(tgqformer, tgqformer_json) -> None:
    told = tgqformer_json("doctor", "--no-network")
    assert told["cpu"]["cores"] >= 1
    assert told["memory"]["total"] >= told["memory"]["available"] > 0
    assert told["presets"]["tiny"] == {"runs": True, "lacks": [], "licences": []}
    assert all(preset["runs"] == (not preset["lacks"]) for preset in told["presets"].values())
    assert "tiny" in tgqformer("doctor", "--no-network")[1]


def test_doctor_names_the_package_that_is_absent(monkeypatch, tgqformer_json) -> None:
    from tgqformer.cli import doctor as command

    monkeypatch.setattr(command, "TOWER_PACKAGES", ("no_such_package",))
    monkeypatch.setattr(command, "is_installed", lambda name: False)
    lacks = tgqformer_json("doctor", "--no-network")["presets"]["offline"]["lacks"]
    assert [lack["what"].split(":")[0] for lack in lacks] == [
        "image tower",
        "text tower",
        "backbone",
    ]
    assert all("[offline]" in lack["remedy"] for lack in lacks)


def test_doctor_and_presets_tell_the_terms_of_a_model(tgqformer, tgqformer_json) -> None:
    told = tgqformer_json("doctor", "--no-network")["presets"]
    assert [name for name, preset in told.items() if preset["licences"]] == ["gemma"]
    assert "Gemma Terms of Use" in told["gemma"]["licences"][0]
    assert "Gemma Terms of Use" in tgqformer("doctor", "--no-network")[1]
    rows = {row["preset"]: row for row in tgqformer_json("presets")}
    assert "Gemma Terms of Use" in rows["gemma"]["licence"]
    assert not rows["offline"]["licence"]

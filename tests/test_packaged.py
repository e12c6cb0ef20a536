"""Models in pip packages: parts are held against their digest, and a folder is whole or absent."""

from __future__ import annotations

import hashlib
import json

import pytest

from tgqformer import packaged
from tgqformer.errors import MissingDependencyError, ModelError
from tgqformer.packaged import Package, is_installed, packaged_folder, terms

PARTS = [b"GGUF of no model, ", b"in two parts"]


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A model of two packages whose parts make a file that is no GGUF."""
    names = ("a_model_part1", "a_model_part2")
    for n, (name, content) in enumerate(zip(names, PARTS, strict=True)):
        (tmp_path / "site" / name / "data").mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").touch()
        (tmp_path / "site" / name / "data" / f"model.gguf.part0{n}").write_bytes(content)
    if not is_installed("gemma-3-270m"):
        (tmp_path / "site" / "gguf").mkdir()
        (tmp_path / "site" / "gguf" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("TGQFORMER_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(b"".join(PARTS)).hexdigest()
    known = Package(names, "data", "gemma", digest, "Terms")
    monkeypatch.setitem(packaged.PACKAGED, "a-model", known)
    return tmp_path


def left(folder) -> list[str]:
    return sorted(p.name for p in (folder / "cache" / "models").iterdir() if p.suffix != ".lock")


def test_changed_parts_are_refused_and_nothing_is_left(parts):
    changed = parts / "site" / "a_model_part2" / "data" / "model.gguf.part01"
    changed.write_bytes(PARTS[1].replace(b"two", b"too"))
    with pytest.raises(ModelError, match=r"SHA-256 .* is the published one; install them anew"):
        packaged_folder("a-model")
    assert left(parts) == []


def test_what_fails_on_the_way_leaves_nothing_and_what_was_killed_is_cleared_away(parts):
    unfinished = parts / "cache" / "models"
    unfinished.mkdir(parents=True)
    name = f"a-model-{packaged.PACKAGED['a-model'].sha256[:12]}-{packaged.FORM}"
    (unfinished / f".{name}.tmp").mkdir()
    (unfinished / f".{name}.tmp" / "config.json").write_text("{}")
    with pytest.raises(Exception):  # noqa: B017  # transformers' own, since it is no GGUF
        packaged_folder("a-model")
    assert left(parts) == []
    whole = unfinished / name
    whole.mkdir()
    (whole / "config.json").write_text("{}")
    assert packaged_folder("a-model") == whole
    assert packaged_folder("a-model", assemble=False) is None


def test_an_absent_package_is_named(parts, monkeypatch):
    monkeypatch.setitem(
        packaged.PACKAGED, "b-model", Package(("no_such_part",), "data", "gemma", "0" * 64)
    )
    with pytest.raises(MissingDependencyError, match=r'pip install "tgqformer\[gemma\]"'):
        packaged_folder("b-model")
    assert packaged_folder("a hub's/model") is None


def test_terms_are_told_of_models_that_have_some():
    told = terms(["all-MiniLM-L6-v2", "gemma-3-270m", "gemma-3-270m", "another/model"])
    assert len(told) == 1
    assert "Gemma Terms of Use" in told[0]


@pytest.mark.slow
@pytest.mark.gemma
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not is_installed("gemma-3-270m"), reason="needs the [gemma] extra")
def test_gemma_is_made_once_and_loads_like_a_folder(tmp_path, monkeypatch, capsys):
    from tgqformer.language import LanguageConfig, load_backbone, load_tokenizer

    monkeypatch.setenv("TGQFORMER_CACHE", str(tmp_path))
    folder = packaged_folder("gemma-3-270m")
    assert "Gemma Terms of Use" in capsys.readouterr().err
    settings = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in settings
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    by_name = LanguageConfig(name="gemma-3-270m", layers=6, train="frozen")
    by_folder = LanguageConfig(name=str(folder), layers=6, train="frozen")
    a, b = load_backbone(by_name), load_backbone(by_folder)
    assert a.causal
    assert all((x == y).all() for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert load_tokenizer(by_name)("Hello world")["input_ids"] == [2, 9259, 1902]  # as published

"""A saved folder: what is in it, what is not, and what is said of a bad one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tgqformer.config import override
from tgqformer.embedder import ItemEmbedder
from tgqformer.errors import ModelError, StorageError

FILES = {
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
}


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refused(path: Path | str, match: str) -> str:
    with pytest.raises(ModelError, match=match) as caught:
        ItemEmbedder.from_pretrained(path, device="cpu")
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_loading_gives_the_same_vectors_bit_for_bit(saved, items, vectors):
    loaded = ItemEmbedder.from_pretrained(saved, device="cpu")
    assert np.array_equal(loaded.encode(items), vectors)
    assert loaded.facts == {"H@10": 0.123}


def test_saving_what_was_loaded_gives_the_same_bytes(saved, tmp_path):
    ItemEmbedder.from_pretrained(saved, device="cpu").save_pretrained(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


@pytest.mark.parametrize(
    "change",
    [
        ["language.train=full"],
        ["language.train=frozen"],
        ["base=frozen", "reliability=false", "matryoshka=8,16"],
        ["base=none", "language.kind=none"],
        ["image_tower.name=shared", "text_tower.name=shared", "language.pooling=mean"],
    ],
)
def test_other_configurations_come_back_too(make, config, items, tmp_path, change):
    embedder = make(override(config, change), seed=5)  # frozen random weights know no seed
    embedder.save_pretrained(tmp_path)
    loaded = ItemEmbedder.from_pretrained(tmp_path, device="cpu")
    assert loaded.config == embedder.config
    assert np.array_equal(loaded.encode(items), embedder.encode(items))


def test_a_model_saved_with_an_option_that_is_gone_loads_where_it_stood_at_what_is_left(
    saved, tmp_path, items, vectors
):
    shutil.copytree(saved, tmp_path / "old")
    path = tmp_path / "old" / "config.json"
    told = json.loads(path.read_text())
    told["embedder"]["connector"]["anchoring"] = "initial"
    path.write_text(json.dumps(told))
    loaded = ItemEmbedder.from_pretrained(tmp_path / "old", device="cpu")
    assert np.array_equal(loaded.encode(items), vectors)
    told["embedder"]["connector"]["anchoring"] = "guide"
    path.write_text(json.dumps(told))
    with pytest.raises(ModelError, match="unknown option 'connector.anchoring'"):
        ItemEmbedder.from_pretrained(tmp_path / "old", device="cpu")


def test_no_frozen_weight_and_no_pickle(saved, embedder):
    assert {path.name for path in saved.iterdir()} == FILES
    trained = {n: p for n, p in embedder.model.named_parameters() if p.requires_grad}
    trained |= {f"base.{n}": x for n, x in embedder.model.base.named_buffers()}  # fitted
    trained["token_scale"] = embedder.model.token_scale
    frozen = {n for n, p in embedder.model.named_parameters() if not p.requires_grad}
    assert any("embed_tokens" in name for name in frozen)
    with safe_open(saved / "model.safetensors", framework="pt") as weights:
        assert set(weights.keys()) == set(trained)
    size = (saved / "model.safetensors").stat().st_size
    told = sum(p.numel() * p.element_size() for p in trained.values())
    assert told <= size < told + 200 * len(trained) + 1000
    pickles = (b"\x80", b"PK\x03\x04")
    assert not any(path.read_bytes().startswith(pickles) for path in saved.iterdir())


def test_a_run_stands_for_its_model(saved, tmp_path, items, vectors):
    shutil.copytree(saved, tmp_path / "run" / "model")
    loaded = ItemEmbedder.from_pretrained(tmp_path / "run", device="cpu")
    assert np.array_equal(loaded.encode(items), vectors)


def test_the_card_tells_figures_and_towers(saved):
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: tgqformer")
    assert "- H@10: 0.123" in card
    assert "| image tower (frozen, not in this folder) | tiny |" in card
    count = sum(x.numel() for x in load_file(saved / "model.safetensors").values())
    assert f"| trained weights | {count:,} |" in card
    told = json.loads(card.split("```json\n")[1].split("```")[0])
    assert told == json.loads((saved / "config.json").read_text())["embedder"]


# -- what is said of a bad folder -----------------------------------------------------------------


def test_no_folder_at_all(tmp_path):
    refused(tmp_path / "nowhere", "holds no saved embedder; give the folder")
    refused(tmp_path, "holds no saved embedder")


def test_a_hub_id_that_is_not_reached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refused("nobody/nothing", "'nobody/nothing' is neither a folder here nor reachable")
    assert message.count(". ") == 0


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"text"', "{}", '{"model_type": "bert"}'])
def test_a_config_of_another_kind(copy, text):
    (copy / "config.json").write_text(text)
    refused(copy, "is no saved embedder: its config.json is missing or of another kind")


def test_a_format_of_the_future(copy):
    edit(copy, format=99)
    refused(copy, "has format 99, and this version reads 1; upgrade tgqformer")


def test_an_option_of_the_future(copy):
    saved = json.loads((copy / "config.json").read_text())["embedder"]
    edit(copy, embedder=saved | {"telepathy": True}, tgqformer_version="9.9")
    refused(copy, "telepathy.*saved by version 9.9")


@pytest.mark.parametrize("damage", ["cut", "empty", "absent", "text"])
def test_damaged_weights(copy, damage):
    weights = copy / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    if damage != "absent":
        weights.write_bytes({"cut": content[:-100], "empty": b"", "text": b"hello" * 50}[damage])
    refused(copy, "The weights .*model.safetensors cannot be read; they are missing or damaged")


def test_weights_of_another_model(copy):
    own = load_file(copy / "model.safetensors")
    save_file({n: x for n, x in own.items() if n != "head.bias"}, copy / "model.safetensors")
    refused(copy, r"do not fit their configuration \(1 differ, first 'head.bias'\)")
    save_file(own | {"head.bias": own["head.bias"][:3]}, copy / "model.safetensors")
    refused(copy, r"do not fit their configuration \(1 differ, first 'head.bias'\)")


def test_a_pickle_is_never_read(copy):
    (copy / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.")
    refused(copy, "missing or damaged")


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- a disk that refuses --------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_folder(saved, items, vectors, tmp_path, warm_bin):
    """Files may not pass 8 KB here: safetensors fails in its own way, and nothing is left over."""
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    code = (
        "import resource, signal, sys, torch\n"
        "from tgqformer.embedder import ItemEmbedder\n"
        "from tgqformer.errors import StorageError\n"
        "embedder = ItemEmbedder.from_pretrained(sys.argv[1], device='cpu')\n"
        "assert 'sentence_transformers' not in sys.modules\n"  # on the way: it is not needed here
        "torch.nn.init.zeros_(embedder.model.head.weight)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "try:\n"
        "    embedder.save_pretrained(sys.argv[1])\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    command = [warm_bin / "python", "-c", code, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "model.safetensors cannot be written (" in done.stdout, done.stderr
    assert "free some space" in done.stdout
    assert {path.name for path in folder.iterdir()} == FILES
    loaded = ItemEmbedder.from_pretrained(folder, device="cpu")
    assert np.array_equal(loaded.encode(items), vectors)


def test_a_folder_where_a_file_stands(embedder, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match="taken"):
        embedder.save_pretrained(tmp_path / "taken")

"""An end-to-end MLLM behind the same commands: embed, evaluate, similar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.mllm import MLLMConfig, MLLMEmbedder
from tgqformer.mllm.network import save_tiny_mllm
from tgqformer.retrieval.embeddings import read_embeddings
from tgqformer.storefront import draw_storefront


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mllm") / "shop"
    draw_storefront(folder, items=40, size=32, workers=1)
    (folder / "images" / "p000001.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mllm-run")
    save_tiny_mllm(folder / "internvl", "internvl")
    config = MLLMConfig(str(folder / "internvl"), dims=16, max_pixels=32 * 32, max_tokens=24)
    MLLMEmbedder.from_config(config, seed=0).save_pretrained(folder / "run" / "model")
    return folder / "run"


def test_embed_gives_what_encode_gives(tgqformer_json, run, few, tmp_path):
    out = tmp_path / "all.parquet"
    told = tgqformer_json("embed", run, few, "--out", out, "--batch-size", 4, "--quiet")
    assert (told["items"], told["dims"], told["broken_photos"]) == (40, 16, 1)
    stored, catalog = read_embeddings(out), Catalog.load(few)
    vectors = MLLMEmbedder.from_pretrained(run).encode(catalog.items, batch_size=4, errors="ignore")
    assert stored.ids == [item.item_id for item in catalog.items]
    np.testing.assert_allclose(stored.as_float32(), vectors, atol=1e-6)
    found = tgqformer_json("similar", run, out, "--title", "Table lamp", "-k", 3)
    assert len(found["neighbours"]) == 3


def test_evaluate_has_no_reference_points(tgqformer_json, run, few):
    told = tgqformer_json("evaluate", run, few, "--bootstrap", 10, "--quiet")
    assert [each["name"] for each in told["evaluations"]] == ["run"]


def test_shards_are_refused_in_one_sentence(tgqformer, run, few, tmp_path):
    code, _, error = tgqformer("embed", run, few, "--out", tmp_path / "shards", "--quiet")
    assert code == 2
    assert "end-to-end MLLM" in error
    assert ".parquet" in error
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("command", [("explain", "--id", "p000000"), ("audit", "--out", "a.html")])
def test_what_looks_into_a_connector_refuses_in_one_sentence(tgqformer, run, few, command):
    name, *options = command
    code, _, error = tgqformer(name, run, few, *options)
    assert code == 2
    assert "end-to-end MLLM" in error

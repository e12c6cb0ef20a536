"""Laws of `tgqformer index`: the store from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tgqformer.retrieval.embeddings import EmbeddingWriter
from tgqformer.retrieval.scores import to_int8, unit


@pytest.fixture
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((12, 6)))


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = ["item_id,title,brand,category,price,attributes"]
    for row in range(12):
        stock = '"{""in_stock"": ""yes""}"' if row % 2 else ""
        lines.append(f"i{row},Lamp {row},O'Hara,Home > Light {row % 3},{row}.5,{stock}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder


def embeddings(path: Path, ids: list[str], vectors: np.ndarray, model: str = "m") -> Path:
    with EmbeddingWriter(path, dims=vectors.shape[1], metadata={"model": model}) as writer:
        writer.write(ids, vectors)
    return path


def test_a_catalog_of_other_items_is_refused(
    tmp_path: Path, vectors, catalog: Path, tgqformer
) -> None:
    other = embeddings(tmp_path / "a.parquet", ["x1", "x2"], vectors[:2])
    code, _, err = tgqformer("index", "build", tmp_path / "store", other, "--catalog", catalog)
    assert (code, "name the catalog that was embedded" in err, err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "store").exists()


def test_a_store_is_built_changed_searched_and_told_of(
    tmp_path: Path, vectors, catalog: Path, tgqformer, tgqformer_json
) -> None:
    store, ids = tmp_path / "store", [f"i{row}" for row in range(12)]
    first = embeddings(tmp_path / "a.parquet", ids[:10], vectors[:10])
    assert tgqformer_json("index", "build", store, first, "--catalog", catalog)["items"] == 10
    second = embeddings(tmp_path / "b.parquet", ids[8:], vectors[8:])
    told = tgqformer_json("index", "upsert", store, second)
    assert told == {"new": 2, "replaced": 2, "items": 12}
    told = tgqformer_json("index", "delete", store, "i3", "nobody")
    assert told == {"removed": 1, "absent": 1, "items": 11}
    (tmp_path / "gone.txt").write_text("i4\n")
    assert tgqformer_json("index", "delete", store, "--from", tmp_path / "gone.txt")["items"] == 10

    (tmp_path / "latin").write_bytes(b"i5\xff\n")
    for source, hint in (("latin", "one id a line"), (".", "no manifest")):
        code, _, err = tgqformer("index", "delete", store, "--from", tmp_path / source)
        assert (code, hint in err, err.count("\n")) == (2, True, 1)
    assert tgqformer("index", "delete", store)[0] == 2

    left = [row for row in range(12) if row not in (0, 3, 4)]
    near = tgqformer_json("index", "search", store, "--id", "i0", "-k", 20)["neighbours"]
    expected = sorted(left, key=lambda row: -float(vectors[0] @ vectors[row]))
    assert [entry["item_id"] for entry in near] == [f"i{row}" for row in expected]
    options = ["--category", "Home > Light 1", "--brand", "O'Hara", "--min-price", 2, "--in-stock"]
    near = tgqformer_json("index", "search", store, "--embeddings", first, *options)["neighbours"]
    # i10, whose metadata was never told, passes no filter
    assert {entry["item_id"] for entry in near} == {"i7"}
    assert {entry["title"] for entry in near} == {"Lamp 7"}
    assert {entry["query_id"] for entry in near} == set(ids[:10]) - {"i7"}

    assert tgqformer_json("index", "info", store)["sidecar"] is None
    assert tgqformer_json("index", "sidecar", store, "--queries", 5)["recall"]["10"] == 1.0
    assert tgqformer_json("index", "optimize", store)["bytes"] > 0
    told = tgqformer_json("index", "info", store)
    assert (told["store"]["items"], told["store"]["dims"]) == (10, 6)
    assert told["store"]["memory_bytes"] == 10 * 6 * 4
    assert told["sidecar_current"] is True
    code, out, _ = tgqformer("index", "info", store)
    assert (code, "recall" in out) == (0, True)


def test_a_collection_of_qdrant_is_taken_wherever_a_folder_is(
    tmp_path: Path, vectors, catalog: Path, tgqformer, tgqformer_json
) -> None:
    """By the client's local mode, which leaves the approximate search of a server out."""
    pytest.importorskip("qdrant_client")
    ids = [f"i{row}" for row in range(12)]
    stores = [tmp_path / "store", f"qdrant://{tmp_path}/cluster/items"]
    first = embeddings(tmp_path / "a.parquet", ids[:10], vectors[:10])
    second = embeddings(tmp_path / "b.parquet", ids[8:], vectors[8:])
    other = embeddings(tmp_path / "c.parquet", ids, vectors, model="another")
    told = []
    for store in stores:
        answers = [
            tgqformer_json("index", "build", store, first, "--catalog", catalog)["items"],
            tgqformer_json("index", "upsert", store, second),
            tgqformer_json("index", "delete", store, "i3", "nobody"),
        ]
        for options in (["--id", "i0"], ["--embeddings", first, "--min-price", 2, "--in-stock"]):
            near = tgqformer_json("index", "search", store, "-k", 5, *options)["neighbours"]
            answers.append([(n["query_id"], n["item_id"], n["title"]) for n in near])
        info = tgqformer_json("index", "info", store)["store"]
        answers.append((info["items"], info["dims"], info["model"]))
        assert tgqformer("index", "info", store)[0] == 0
        for arguments, words in [
            (["build", store, first], "is a store already"),
            (["upsert", store, other], "was made by another model (another)"),
            (["search", store, "--id", "nobody"], "no vector for item 'nobody'"),
        ]:
            code, _, err = tgqformer("index", *arguments)
            assert (code, words in err) == (2, True), err
        told.append(answers)
    assert told[0] == told[1]
    for command in ("optimize", "sidecar"):
        code, _, err = tgqformer("index", command, stores[1])
        assert (code, err.count("\n")) == (2, 1)


def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, vectors, tgqformer, tgqformer_json
) -> None:
    store, ids = tmp_path / "store", [f"i{row}" for row in range(12)]
    file = embeddings(tmp_path / "a.parquet", ids, vectors)
    other = embeddings(tmp_path / "b.parquet", ids, vectors, model="another")
    with EmbeddingWriter(tmp_path / "c.parquet", dims=6, precision="int8") as writer:
        writer.write(ids, to_int8(vectors))
    assert tgqformer("index", "build", store, file)[0] == 0
    for arguments, words in [
        (["build", store, file], "is a store already"),
        (["upsert", store, other], "was made by another model (another)"),
        (["upsert", tmp_path / "none", file], "is no store; make one with"),
        (["search", store, "--id", "nobody"], "no vector for item 'nobody'"),
        (["search", store], "give either --id or --embeddings"),
        (["delete", store], "give the ids of some items"),
        (["search", store, "--id", "i1", "--max-price", "nan"], "max_price is nan"),
    ]:
        code, _, err = tgqformer("index", *arguments)
        assert (code, words in err) == (2, True), err
    told = tgqformer_json("index", "build", store, tmp_path / "c.parquet", "--replace")
    assert (told["items"], told["dims"]) == (12, 6)

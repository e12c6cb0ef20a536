"""POST /v1/similar with `blend`: what goes with an item leads, and content fills up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from scipy.sparse import csr_array

from tgqformer.cli.serve import _tables
from tgqformer.cli.shared import model_digest
from tgqformer.errors import StorageError
from tgqformer.retrieval.blend import Blend
from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.neighbour_table import BlendedTable, read_neighbours, write_neighbours
from tgqformer.retrieval.neighbours import Rules
from tgqformer.retrieval.store import Store

NAMES = [f"i{row}" for row in range(20)]
TOGETHER = {0: [7, 8, 9], 7: [0], 8: [0], 9: [0]}  # who was bought with whom; the others never


@pytest.fixture
def write(store: Path, tmp_path: Path) -> Callable[..., Path]:
    """Blend the store's vectors with the purchases above, as `tgqformer blend` does."""

    def write(k: int = 4, *, rules: Rules | None = None, model: str = "") -> Path:
        known = Store(store).records(NAMES)
        vectors = np.stack([known[name].vector for name in NAMES])
        together = np.zeros((20, 20))
        for row, others in TOGETHER.items():
            together[row, others] = [0.99, 0.98, 0.97][: len(others)]
        seen = np.array([9.0 * (row in TOGETHER) for row in range(20)])
        blend = Blend(vectors, csr_array(together), seen, 0.001)
        stored = Embeddings(NAMES, vectors, {"model": model})
        out = tmp_path / "blended.parquet"
        for _ in write_neighbours(stored, out, k, rules=rules, blend=blend):
            pass
        return out

    return write


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/similar", json={"blend": True, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def named(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["results"]]


def sources(answer: dict[str, Any]) -> list[str]:
    return [hit["source"] for hit in answer["results"]]


def test_what_goes_with_an_item_leads_and_content_fills_up(make_client, write) -> None:
    out = write()
    client = make_client(blend=BlendedTable(out))
    table = read_neighbours(out)
    answer = ask(client, id="i0", k=10)
    assert named(answer)[:3] == ["i7", "i8", "i9"]
    assert named(answer)[:4] == table.neighbours[0]
    assert [hit["score"] for hit in answer["results"][:4]] == [float(s) for s in table.scores[0]]
    assert sources(answer) == ["blend"] * 4 + ["content"] * 6
    content = [n for n in named(ask_plain(client, id="i0", k=20)) if n not in table.neighbours[0]]
    assert named(answer)[4:] == content[:6]
    assert answer["weight"] == pytest.approx(9 / 9.001)
    assert named(ask(client, id="i0", k=2)) == ["i7", "i8"]


def ask_plain(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = ask(client, blend=False, **body)
    assert "weight" not in answer
    assert all("source" not in hit for hit in answer["results"])
    return answer


def test_an_item_without_a_history_goes_by_content(make_client, write) -> None:
    client = make_client(blend=BlendedTable(write()))
    answer = ask(client, id="i3", k=10)
    assert answer["weight"] == 0
    assert named(answer) == named(ask_plain(client, id="i3", k=10))


def test_an_item_that_the_table_lacks_has_content_and_an_unknown_one_is_named(
    make_client, write, helpers
) -> None:
    client = make_client(blend=BlendedTable(write()))
    helpers.upsert(client, {"id": "new", "title": "A new lamp"})
    answer = ask(client, id="new", k=5)
    assert sources(answer) == ["content"] * 5
    assert "weight" not in answer
    assert named(answer) == named(ask_plain(client, id="new", k=5))
    assert "new" in named(ask(client, id="i0", k=100))  # it may fill up
    assert ask(client, id="nobody") == {"results": [], "unknown": ["nobody"], "model": "fake"}


@pytest.mark.parametrize(
    "where",
    [
        {"brands": ["Lux"]},
        {"max_price": 8},
        {"categories": ["Home > Light 2"]},
        {"in_stock": False},
    ],
)
def test_filters_hold_for_both_and_content_fills_what_they_take(make_client, write, where) -> None:
    client = make_client(blend=BlendedTable(write()))
    passing = named(ask_plain(client, id="i0", k=100, filter=where))
    led = [name for name in ("i7", "i8", "i9") if name in passing]
    for k in (1, 3, 100):
        answer = ask(client, id="i0", k=k, filter=where)
        assert named(answer)[: len(led)] == led[:k]
        assert len(named(answer)) == min(k, len(passing)) == len(set(named(answer)))
        assert set(named(answer)) <= set(passing)


def test_the_item_itself_is_there_where_it_is_asked_for_and_once(make_client, write) -> None:
    client = make_client(blend=BlendedTable(write()))
    assert "i0" not in named(ask(client, id="i0", k=100))
    answer = ask(client, id="i0", k=4, exclude_self=False)
    assert named(answer)[:2] == ["i0", "i7"]
    assert answer["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(answer["results"]) == 4
    filtered = ask(client, id="i0", k=100, exclude_self=False, filter={"brands": ["Lux"]})
    assert "i0" not in named(filtered)  # it is a Nox


def test_what_was_deleted_is_gone_and_replaced(make_client, write) -> None:
    client = make_client(blend=BlendedTable(write()))
    assert client.delete("/v1/items/i7").status_code == 200
    answer = ask(client, id="i0", k=10)
    assert named(answer)[:2] == ["i8", "i9"]
    assert len(answer["results"]) == 10
    assert client.delete("/v1/items/i0").status_code == 200
    assert ask(client, id="i0")["unknown"] == ["i0"]


def test_what_the_tables_rules_leave_out_does_not_come_back_by_content(
    make_client, write, helpers
) -> None:
    apart = np.arange(20)
    apart[[0, 7, 11, 12]] = 0  # variants, or the same photo
    within = np.arange(20) % 2
    client = make_client(blend=BlendedTable(write(rules=Rules(apart=apart))))
    answer = ask(client, id="i0", k=100)
    assert named(answer)[:2] == ["i8", "i9"]
    assert set(named(answer)) == set(NAMES) - {"i0", "i7", "i11", "i12"}
    client = make_client(blend=BlendedTable(write(rules=Rules(apart=apart, within=within))))
    helpers.upsert(client, {"id": "new", "title": "Of a category that the table does not know"})
    answer = ask(client, id="i0", k=100)
    assert set(named(answer)) == set(NAMES[::2]) - {"i0", "i12"}
    assert len(ask(client, id="i0", k=7)["results"]) == 7  # however many must be passed over


def test_metadata_is_told_of_both(make_client, write) -> None:
    client = make_client(blend=BlendedTable(write()))
    hits = ask(client, id="i0", k=8, metadata=True)["results"]
    assert [hit["metadata"]["title"] for hit in hits] == [
        f"Lamp number {hit['id'][1:]}" for hit in hits
    ]


def test_a_blend_of_anything_but_a_stored_item_and_without_a_table_is_refused(
    make_client, write
) -> None:
    client = make_client(blend=BlendedTable(write()))
    assert client.get("/v1/models").json()["data"][0]["blends"] is True
    for query in ({"ids": ["i0"]}, {"item": {"title": "Lamp"}}, {"vector": [1.0] * 16}):
        answer = client.post("/v1/similar", json={**query, "blend": True})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "blend")
    bare = make_client()
    answer = bare.post("/v1/similar", json={"id": "i0", "blend": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_blend")
    assert "--blend" in answer.json()["error"]["message"]
    assert bare.get("/v1/models").json()["data"][0]["blends"] is False


def test_a_file_that_is_no_blended_table_is_refused(store, write, tmp_path) -> None:
    out = write()
    frame = pl.read_parquet(out)
    broken = {
        "cut": frame.with_columns(neighbours=pl.col("neighbours").list.head(1)),
        "foreign": frame.with_columns(pl.col("neighbours").list.eval(pl.element() + "x")),
        "nan": frame.with_columns(weight=pl.lit(float("nan"), dtype=pl.Float32)),
        "twice": pl.concat([frame, frame]),
        "texts": frame.with_columns(neighbours=pl.lit("i1")),
        "plain": frame.drop("weight"),
        "other": pl.DataFrame({"a": [1]}),
    }
    for name, table in broken.items():
        path = tmp_path / f"{name}.parquet"
        table.write_parquet(path)
        with pytest.raises(StorageError, match="tgqformer blend"):
            BlendedTable(path)
    (tmp_path / "text.parquet").write_text("no parquet")
    for path in (tmp_path / "text.parquet", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(StorageError, match="cannot be read"):
            BlendedTable(path)


def test_a_table_goes_to_the_model_of_its_vectors(write, tmp_path) -> None:
    runs = {}
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text(f'{{"name": "{name}"}}')
        runs[name] = tmp_path / name
    out = write(model=model_digest(runs["b"]))
    assert list(_tables((out,), runs)) == ["b"]
    with pytest.raises(StorageError, match="both of the model b"):
        _tables((out, out), runs)
    with pytest.raises(StorageError, match="of another model"):
        _tables((out,), {"a": runs["a"]})
    out = write()
    assert list(_tables((out,), {"a": runs["a"]})) == ["a"]
    with pytest.raises(StorageError, match="does not say which model"):
        _tables((out,), runs)

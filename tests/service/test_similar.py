"""Laws of POST /v1/similar: the answer is the exact search's, whoever asks and however."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.flat import FlatIndex
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.retrieval.scores import Vectors
from tgqformer.retrieval.store import Columns, Store


@pytest.fixture
def exact(store: Path) -> ExactIndex:
    known = Store(store).records(Store(store).ids())
    return ExactIndex(list(known), np.stack([one.vector for one in known.values()]))


def ask(client: TestClient, **body: Any) -> list[str]:
    answer = client.post("/v1/similar", json=body)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["results"]]


def by_vector(exact: ExactIndex, vector: Vectors, k: int) -> list[str]:
    _, rows = exact.search(vector[None].astype(np.float32), k)
    return [exact.ids[row] for row in rows[0]]


def test_by_id_equals_exact_search_without_the_item_itself(client, exact) -> None:
    answer = client.post("/v1/similar", json={"id": "i3", "k": 7}).json()
    expected = exact.similar("i3", 7)
    assert [hit["id"] for hit in answer["results"]] == [n.item_id for n in expected]
    assert [hit["score"] for hit in answer["results"]] == [n.score for n in expected]
    assert answer["unknown"] == []
    assert ask(client, id="i3", k=1, exclude_self=False) == ["i3"]


def test_ids_add_up_with_their_weights(client, exact) -> None:
    vectors = {name: exact.vectors[exact.row(name)] for name in ("i1", "i2", "i5")}
    total = vectors["i1"] + 2 * vectors["i2"] - 0.5 * vectors["i5"]
    told: list[Any] = ["i1", {"id": "i2", "weight": 2.0}, {"id": "i5", "weight": -0.5}]
    expected = by_vector(exact, total / np.linalg.norm(total), 20)
    assert ask(client, ids=told, k=20, exclude_self=False) == expected
    assert ask(client, ids=told, k=20) == [n for n in expected if n not in vectors]
    # one id with any positive weight asks what the id alone asks
    assert ask(client, ids=[{"id": "i1", "weight": 3.0}], k=5) == ask(client, id="i1", k=5)


def test_unknown_ids_are_named_and_not_fatal(client) -> None:
    answer = client.post("/v1/similar", json={"ids": ["i1", "nobody", "no/one"], "k": 3})
    assert answer.status_code == 200
    assert answer.json()["unknown"] == ["nobody", "no/one"]
    assert len(answer.json()["results"]) == 3
    answer = client.post("/v1/similar", json={"id": "nobody"})
    assert (answer.status_code, answer.json()["results"]) == (200, [])
    assert answer.json()["unknown"] == ["nobody"]


def test_weights_that_cancel_are_refused(client) -> None:
    for weights in [(1.0, -1.0), (0.0, 0.0)]:
        ids = [{"id": "i1", "weight": weights[0]}, {"id": "i1", "weight": weights[1]}]
        answer = client.post("/v1/similar", json={"ids": ids})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "ids")


@pytest.mark.parametrize(
    "where",
    [
        {"brands": ["Lux"]},
        {"categories": ["Home > Light 1"], "max_price": 10},
        {"categories": ["Home"], "min_price": 4.5},
        {"in_stock": False},
        {"brands": ["nobody's"]},
    ],
)
def test_filters_admit_what_their_definition_admits(client, store, where) -> None:
    known = Store(store).metadata([f"i{row}" for row in range(20)])
    told = {k: tuple(v) if isinstance(v, list) else v for k, v in where.items()}
    passing = {name for name, entry in known.items() if Filter(**told).matches(entry)}
    assert set(ask(client, id="i0", k=100, filter=where)) == passing - {"i0"}


def test_an_item_and_its_vector_ask_the_same(client, embedder) -> None:
    item = {"title": "A new lamp", "brand": "Lux", "price": 3}
    vector = client.post("/v1/embeddings", json={"input": [item]}).json()["data"][0]["embedding"]
    assert ask(client, item=item, k=20) == ask(client, vector=vector, k=20)


def test_a_vector_of_any_length_asks_for_cosines(client) -> None:
    vector = client.get("/v1/items/i3?vector=true").json()["vector"]
    for factor in (1.0, 1e-12, 1e5):
        body = {"vector": [factor * value for value in vector], "k": 1}
        (hit,) = client.post("/v1/similar", json=body).json()["results"]
        assert (hit["id"], hit["score"]) == ("i3", pytest.approx(1.0, abs=1e-6))


def test_metadata_is_told_where_asked_for(client) -> None:
    hit = client.post("/v1/similar", json={"id": "i0", "k": 1}).json()["results"][0]
    assert set(hit) == {"id", "score"}
    hit = client.post("/v1/similar", json={"id": "i0", "k": 1, "metadata": True}).json()
    told = hit["results"][0]
    row = int(told["id"][1:])
    assert told["metadata"]["title"] == f"Lamp number {row}"
    assert told["metadata"]["price"] == row


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"id": "i1", "vector": [1.0]}, None),
        ({"id": "i1", "k": 0}, "k"),
        ({"id": "i1", "k": 1001}, "k"),
        ({"id": "i1", "k": "3"}, "k"),
        ({"id": "i1", "k": True}, "k"),
        ({"id": 7}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 513}, "id"),
        ({"vector": [1.0, 2.0]}, "vector"),
        ({"vector": [1e30] * 16}, "vector"),
        ({"vector": [0.0] * 16}, "vector"),
        ({"id": "i1", "unheard": 1}, "unheard"),
        ({"id": "i1", "filter": {"brands": "Lux"}}, "filter.brands"),
        ({"item": {"title": "a", "price": -1}}, "item.price"),
    ],
)
def test_what_breaks_a_rule_is_422_and_names_the_part(client, body, param) -> None:
    answer = client.post("/v1/similar", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error.get("param")) == (422, param), error
    assert set(error) <= {"code", "message", "param"}


def test_an_unknown_model_is_404_and_names_those_that_there_are(client) -> None:
    answer = client.post("/v1/similar", json={"id": "i1", "model": "other"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "fake" in answer.json()["error"]["message"]
    assert client.post("/v1/similar", json={"id": "i1", "model": "fake"}).status_code == 200


def in_categories(paths: list[str]) -> FlatIndex:
    index, count = FlatIndex(1), len(paths)
    unknown: list[None] = [None] * count
    ids, vectors = [str(row) for row in range(count)], np.ones((count, 1), np.float32)
    index.put(Columns(range(count), ids, [""] * count, paths, unknown, unknown, vectors))
    return index


def test_a_thousand_categories_cost_no_more_than_a_few() -> None:
    known = [Metadata(category=f"Shop {row} > Shelf > Lamp") for row in range(10_000)]
    index = in_categories([entry.category for entry in known])
    wanted = tuple(f"Shop {10 * row + 3} > Shelf" for row in range(1_000))
    start = time.process_time()
    rows = index.admitted(Filter(categories=wanted))
    assert time.process_time() - start < 2
    assert rows.tolist() == list(range(3, 10_000, 10))


def test_categories_admit_what_their_definition_admits_however_separators_fall() -> None:
    paths = [
        "".join(part) for size in range(5) for part in product(("a", " ", ">", " > "), repeat=size)
    ]
    known = [Metadata(category=path) for path in paths]
    index = in_categories([entry.category for entry in known])
    for wanted in paths:
        where = Filter(categories=(wanted,))
        passing = [row for row, entry in enumerate(known) if where.matches(entry)]
        assert index.admitted(where).tolist() == passing, wanted

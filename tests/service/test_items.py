"""Laws of /v1/items: what was acknowledged is found at once, and after any restart."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tgqformer.errors import StorageError
from tgqformer.service.served import Served


def upsert(client, *items, code: int = 200):
    answer = client.post("/v1/items", json={"items": list(items)})
    assert answer.status_code == code, answer.text
    return answer.json()


def first(client, item) -> str:
    told = {name: value for name, value in item.items() if name != "id"}
    answer = client.post("/v1/similar", json={"item": told, "k": 1})
    return answer.json()["results"][0]["id"]


def test_an_upserted_item_is_found_by_the_next_query(client, helpers) -> None:
    item = {"id": "new/one", "title": "Teapot", "images": [helpers.in_base64(helpers.photo(9))]}
    assert upsert(client, item)["items"] == [{"id": "new/one", "status": "created"}]
    assert first(client, item) == "new/one"
    changed = {**item, "title": "Kettle"}
    assert upsert(client, changed)["items"] == [{"id": "new/one", "status": "updated"}]
    assert first(client, changed) == "new/one"
    score = client.post("/v1/similar", json={"item": {**item, "id": None} | {"k": 1}})
    assert score.status_code == 422


def test_one_bad_item_fails_alone(client) -> None:
    told = upsert(
        client,
        {"id": "good", "title": "Cup"},
        {"id": "bad", "images": ["no base64!"]},
        {"id": "a/../b", "title": "Path"},
        {"id": "good", "title": "Mug"},
    )
    assert [entry["status"] for entry in told["items"]] == [
        "created",
        "failed",
        "failed",
        "updated",
    ]
    assert told["failed"] == 2
    assert told["items"][1]["error"]["param"] == "items.1.images.0"
    assert told["items"][2]["error"]["param"] == "items.2.id"
    assert client.get("/v1/items/good").json()["title"] == "Mug"  # the last one counts
    assert client.get("/v1/items/bad").status_code == 404


def test_an_item_reads_as_it_was_written(client, helpers) -> None:
    item = {
        "id": "i2",
        "title": "Vase",
        "brand": "Nox",
        "category": "Home > Vase",
        "attributes": {"colour": "blue", "in_stock": "no"},
        "price": 4.5,
        "images": [helpers.in_base64(helpers.photo(40)), helpers.in_base64(helpers.photo(50))],
    }
    upsert(client, item)
    read = client.get("/v1/items/i2", params={"vector": True}).json()
    assert {name: read[name] for name in item if name != "images"} == {
        name: value for name, value in item.items() if name != "images"
    }
    assert (read["photos"], read["in_stock"]) == (2, False)
    told = {name: value for name, value in item.items() if name != "id"}
    made = client.post("/v1/embeddings", json={"input": [told]}).json()["data"][0]["embedding"]
    np.testing.assert_allclose(read["vector"], made, atol=1e-6)
    shown = client.get("/v1/items/i2/photo", params={"n": 1, "size": 20})
    assert shown.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(shown.content)).size == (20, 20)
    assert client.get("/v1/items/i2/photo", params={"n": 2}).status_code == 404


def test_a_patch_changes_what_it_names(client, embedder) -> None:
    before = client.get("/v1/items/i4?vector=true").json()
    batches = len(embedder.batches)
    after = client.patch("/v1/items/i4", json={"price": None, "in_stock": False}).json()
    assert len(embedder.batches) == batches  # neither is part of the embedding
    assert after == {k: v for k, v in before.items() if k not in ("price", "vector")} | {
        "in_stock": False
    }
    patched = client.patch("/v1/items/i4", json={"title": "Lantern"}).json()
    assert patched == after | {"title": "Lantern"}
    item = {"title": "Lantern", "brand": "Nox", "category": before["category"]}
    photo = client.get("/v1/items/i4?vector=true").json()
    assert photo["vector"] != before["vector"]
    assert photo["attributes"] == before["attributes"]
    client.patch("/v1/items/i4", json={"attributes": {}, "images": []})
    assert first(client, item) == "i4"
    assert client.patch("/v1/items/nobody", json={"price": 1}).status_code == 404


def test_an_item_whose_photo_is_not_known_cannot_be_patched_blindly(make_client) -> None:
    client = make_client(catalog=False)
    assert client.patch("/v1/items/i4", json={"price": 2.0}).status_code == 200
    answer = client.patch("/v1/items/i4", json={"title": "Lantern"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "item_incomplete")
    whole = {"title": "Lantern", "attributes": {}, "images": []}
    assert client.patch("/v1/items/i4", json=whole).json()["title"] == "Lantern"
    assert client.get("/v1/items/i4").json()["price"] == 2.0


def test_a_deleted_item_is_gone_everywhere(client) -> None:
    assert client.delete("/v1/items/i5").json() == {"id": "i5", "deleted": True, "model": "fake"}
    for path in ("/v1/items/i5", "/v1/items/i5/photo"):
        assert client.get(path).status_code == 404
    assert client.delete("/v1/items/i5").status_code == 404
    assert client.post("/v1/similar", json={"id": "i5"}).json()["unknown"] == ["i5"]
    found = client.post("/v1/similar", json={"id": "i1", "k": 100}).json()["results"]
    assert "i5" not in {hit["id"] for hit in found}
    assert client.get("/v1/items").json()["total"] == 19


def test_lists_are_sorted_cut_and_filtered(client) -> None:
    ids = sorted(f"i{row}" for row in range(20))
    read = [
        client.get("/v1/items", params={"offset": start, "limit": 6}).json()["items"]
        for start in range(0, 24, 6)
    ]
    assert [entry["id"] for part in read for entry in part] == ids
    odd = client.get("/v1/items", params={"brand": "Lux", "min_price": 10}).json()
    assert {e["id"] for e in odd["items"]} == {f"i{row}" for row in range(11, 20, 2)}
    assert odd["total"] == 5
    upsert(client, {"id": "a"})
    assert client.get("/v1/items", params={"limit": 1}).json()["items"][0]["id"] == "a"


def test_what_was_acknowledged_is_there_after_a_restart(make_client, helpers) -> None:
    photo = helpers.in_base64(helpers.photo(30))
    first_run = make_client()
    item = {"id": "kept", "title": "Bowl", "attributes": {"a": "b"}, "images": [photo]}
    upsert(first_run, item)
    first_run.patch("/v1/items/i1", json={"price": 99.0})
    first_run.delete("/v1/items/i2")
    read = first_run.get("/v1/items/kept").json()
    make_client.close()
    again = make_client()
    assert again.get("/v1/items/kept").json() == read
    assert again.get("/v1/items/kept/photo").status_code == 200
    assert again.get("/v1/items/i1").json()["price"] == 99.0
    assert again.get("/v1/items/i2").status_code == 404
    assert first(again, item) == "kept"


@pytest.mark.parametrize("after", ["journal", "store"])
def test_a_write_cut_short_is_finished_at_the_next_start(
    make_client, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """As if killed between the journal and the store, or between the store and the journal."""

    def cut(*arguments: object) -> None:
        raise StorageError("killed here")

    client = make_client()
    model = client.app.state.service.models["fake"]
    if after == "journal":
        monkeypatch.setattr(Served, "_store", cut)
    else:
        monkeypatch.setattr(model.records, "settle", cut)
    assert upsert(client, {"id": "begun", "title": "Jug"}, code=503)["error"]["code"] == "storage"
    assert client.delete("/v1/items/i1").status_code == 503
    monkeypatch.undo()
    make_client.close()
    again = make_client()
    assert first(again, {"title": "Jug"}) == "begun"
    assert again.get("/v1/items/i1").status_code == 404
    assert again.app.state.service.models["fake"].records.under_way() == ({}, [])


def test_records_of_a_store_that_was_built_anew_are_dropped(make_client, store, embedder, helpers):
    client = make_client()
    upsert(client, {"id": "i1", "title": "Other", "attributes": {"colour": "green"}})
    make_client.close()
    helpers.make_store(store, embedder, replace=True)
    assert make_client().get("/v1/items/i1").json()["attributes"] == {"colour": "red"}

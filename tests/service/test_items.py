"""Laws of /v1/items: what was acknowledged is found at once, and after any restart."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tgqformer.errors import ImageError, StorageError
from tgqformer.retrieval.protocols import Details, Metadata, Record
from tgqformer.service.routes import items as routes
from tgqformer.service.served import Change


def first(client, item) -> str:
    told = {name: value for name, value in item.items() if name != "id"}
    answer = client.post("/v1/similar", json={"item": told, "k": 1})
    return answer.json()["results"][0]["id"]


def test_an_upserted_item_is_found_by_the_next_query(client, helpers) -> None:
    item = {"id": "new/one", "title": "Teapot", "images": [helpers.in_base64(helpers.photo(9))]}
    assert helpers.upsert(client, item)["items"] == [{"id": "new/one", "status": "created"}]
    assert first(client, item) == "new/one"
    changed = {**item, "title": "Kettle"}
    assert helpers.upsert(client, changed)["items"] == [{"id": "new/one", "status": "updated"}]
    assert first(client, changed) == "new/one"
    score = client.post("/v1/similar", json={"item": {**item, "id": None} | {"k": 1}})
    assert score.status_code == 422


def test_one_bad_item_fails_alone(client, helpers) -> None:
    told = helpers.upsert(
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
    helpers.upsert(client, item)
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


def test_lists_are_sorted_cut_and_filtered(client, helpers) -> None:
    ids = sorted(f"i{row}" for row in range(20))
    read = [
        client.get("/v1/items", params={"offset": start, "limit": 6}).json()["items"]
        for start in range(0, 24, 6)
    ]
    assert [entry["id"] for part in read for entry in part] == ids
    odd = client.get("/v1/items", params={"brand": "Lux", "min_price": 10}).json()
    assert {e["id"] for e in odd["items"]} == {f"i{row}" for row in range(11, 20, 2)}
    assert odd["total"] == 5
    helpers.upsert(client, {"id": "a", "title": "Cup"})
    assert client.get("/v1/items", params={"limit": 1}).json()["items"][0]["id"] == "a"


def test_what_was_acknowledged_is_there_after_a_restart(make_client, helpers) -> None:
    photo = helpers.in_base64(helpers.photo(30))
    first_run = make_client()
    item = {"id": "kept", "title": "Bowl", "attributes": {"a": "b"}, "images": [photo]}
    helpers.upsert(first_run, item)
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


def refuse(*arguments: object, **options: object) -> None:
    raise StorageError("no space is left in /some/where; free some.")


def test_a_write_cut_short_has_not_happened(make_client, monkeypatch, helpers) -> None:
    """As if the disk refused after the items and before the deletions of one batch."""
    client = make_client()
    helpers.upsert(client, {"id": "known", "title": "Jar", "attributes": {"size": "1"}})
    model = client.app.state.service.models["fake"]
    delete = model.index.delete

    def later(ids: list[str]) -> int:
        delete(ids)
        return refuse()

    monkeypatch.setattr(model.index, "delete", later)
    vector = np.ones(16, dtype=np.float32)
    put = Record(vector, Metadata("Jug"), Details({"size": "2"}, ()))
    changes = [Change("begun", put), Change("known", put), Change("i1")]
    with pytest.raises(StorageError):
        model.apply(changes)
    monkeypatch.undo()
    make_client.close()
    again = make_client()
    assert again.get("/v1/items/begun").status_code == 404
    assert again.get("/v1/items/known").json()["attributes"] == {"size": "1"}
    assert again.get("/v1/items/i1").status_code == 200
    assert again.app.state.service.models["fake"].apply(changes) == [False, True, True]
    assert again.get("/v1/items/known").json()["attributes"] == {"size": "2"}
    assert again.get("/v1/items/i1").status_code == 404


def test_a_write_that_failed_is_not_done_later(make_client, store, monkeypatch, helpers) -> None:
    client = make_client()
    helpers.upsert(client, {"id": "a", "title": "Old", "attributes": {"size": "1"}})
    helpers.upsert(client, {"id": "b", "title": "Old", "attributes": {"size": "1"}})
    index = client.app.state.service.models["fake"].index
    monkeypatch.setattr(index, "upsert", refuse)
    failed = [{"id": i, "title": "Failed", "attributes": {"size": "2"}} for i in ("a", "b", "c")]
    helpers.upsert(client, *failed, code=503)
    monkeypatch.undo()
    assert client.get("/v1/items/a").json()["attributes"] == {"size": "1"}
    assert client.delete("/v1/items/c").status_code == 404
    helpers.elsewhere(store, "b", "Newer")
    make_client.close()
    again = make_client()
    assert again.get("/v1/items/a").json()["attributes"] == {"size": "1"}
    assert again.get("/v1/items/b").json()["title"] == "Newer"
    assert again.get("/v1/items/c").status_code == 404


def test_a_write_that_failed_at_its_end_has_not_happened(client, monkeypatch, helpers) -> None:
    helpers.upsert(client, {"id": "a", "title": "Old", "attributes": {"size": "1"}})
    index = client.app.state.service.models["fake"].index
    done = index.upsert

    def fail(*arguments: object) -> None:
        done(*arguments)
        refuse()

    monkeypatch.setattr(index, "upsert", fail)
    helpers.upsert(client, {"id": "a", "title": "New", "attributes": {"size": "2"}}, code=503)
    read = client.get("/v1/items/a").json()
    assert (read["title"], read["attributes"]) == ("Old", {"size": "1"})


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_changes_of_one_item_happen_one_after_the_other(client, monkeypatch, method) -> None:
    """A patch that has read the item does not write over what was answered meanwhile."""
    began, go_on, read_bytes = threading.Event(), threading.Event(), routes._bytes

    def hold(item: object) -> list[bytes]:
        began.set()
        assert go_on.wait(30)
        return read_bytes(item)

    def other() -> int:
        if method == "DELETE":
            return client.delete("/v1/items/i3").status_code
        body = {"items": [{"id": "i3", "title": "Whole", "brand": "New"}]}
        return client.post("/v1/items", json=body).status_code

    monkeypatch.setattr(routes, "_bytes", hold)
    with ThreadPoolExecutor() as pool:
        patched = pool.submit(client.patch, "/v1/items/i3", json={"title": "Patched"})
        assert began.wait(30)
        whole = pool.submit(other)
        wait([whole], 1.0)
        go_on.set()
        assert (patched.result().status_code, whole.result()) == (200, 200)
    after = client.get("/v1/items/i3")
    if method == "DELETE":
        assert after.status_code == 404
    else:
        assert (after.json()["title"], after.json()["brand"]) == ("Whole", "New")


def test_a_null_stock_is_unknown_and_an_unsaid_one_stays(client, helpers) -> None:
    helpers.upsert(client, {"id": "a", "title": "Cup", "attributes": {"in_stock": "yes"}})

    def patched(**fields: object) -> bool | None:
        assert client.patch("/v1/items/a", json=fields).status_code == 200
        return client.get("/v1/items/a").json().get("in_stock")

    assert patched(price=1.0) is True
    assert patched(in_stock=None) is None
    assert patched(title="Mug") is None
    assert patched(attributes={"in_stock": "no"}) is False
    assert patched(attributes={"in_stock": "no"}, in_stock=True) is True
    assert patched(title="Cup", in_stock=None) is None
    assert patched(in_stock=True) is True
    assert patched(attributes={}) is True


def test_ids_that_no_route_would_reach_are_refused(client, helpers) -> None:
    told = helpers.upsert(
        client, {"id": "a/photo", "title": "Cup"}, {"id": "photo", "title": "Cup"}
    )
    assert [entry["status"] for entry in told["items"]] == ["failed", "created"]
    assert told["items"][0]["error"]["param"] == "items.0.id"
    assert client.get("/v1/items/photo").json()["title"] == "Cup"
    assert client.get("/v1/items").json()["total"] == 21


def test_refusals_name_no_path_and_the_log_has_the_reason(
    client, embedder, monkeypatch, caplog
) -> None:
    def missing(items: object) -> None:
        raise ImageError("/some/where/images/b.png does not exist; add it.")

    embedder.before = missing
    answer = client.patch("/v1/items/i3", json={"title": "Lantern"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_image")
    assert "/some/where" not in answer.text
    index = client.app.state.service.models["fake"].index
    monkeypatch.setattr(index, "upsert", refuse)
    monkeypatch.setattr(logging.getLogger("tgqformer.service"), "propagate", True)
    with caplog.at_level(logging.INFO, "tgqformer.service"):
        answer = client.patch("/v1/items/i3", json={"price": 1})
    assert (answer.status_code, "/some/where" in answer.text) == (503, False)
    (line,) = (record.entry for record in caplog.records)
    assert line["fault"].startswith("no space is left in /some/where")
    assert line["request_id"] == answer.headers["x-request-id"]

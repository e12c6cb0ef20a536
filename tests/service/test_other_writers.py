"""Laws of the service beside others that write to its store, or build it anew."""

from __future__ import annotations

import numpy as np
import pytest

from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.store import Store
from tgqformer.service.routes import items as routes


def test_a_store_built_anew_under_a_running_service(make_client, store, embedder, helpers) -> None:
    client = make_client()
    helpers.upsert(client, {"id": "i1", "title": "Other", "attributes": {"colour": "green"}})
    assert client.get("/v1/items").json()["total"] == 20
    helpers.make_store(store, embedder, replace=True)
    Store(store).delete(["i19"])  # two builds of one version, which hold different items
    helpers.upsert(client, {"id": "more", "title": "More"})
    helpers.make_store(store, embedder, replace=True)
    assert client.get("/v1/items/i1").json()["attributes"] == {"colour": "red"}
    listed = client.get("/v1/items").json()
    assert len(listed["items"]) == listed["total"] == 20
    photo = helpers.in_base64(helpers.photo(30))
    item = {"id": "kept", "title": "Bowl", "attributes": {"a": "b"}, "images": [photo]}
    helpers.upsert(client, item)
    assert client.patch("/v1/items/kept", json={"price": 3.0}).status_code == 200
    read = client.get("/v1/items/kept").json()
    assert (read["attributes"], read["photos"]) == ({"a": "b"}, 1)
    make_client.close()
    assert make_client().get("/v1/items/kept").json() == read


def test_lists_tell_a_store_from_one_built_anew(client, store, embedder, helpers) -> None:
    assert client.get("/v1/items").json()["total"] == 20
    items = [(f"new{row}", Metadata("New")) for row in range(9)]
    batch = ([name for name, _ in items], np.eye(16)[:9], [known for _, known in items])
    Store.build(store, [batch], dims=16, replace=True).close()
    listed = client.get("/v1/items").json()
    assert (len(listed["items"]), listed["total"]) == (9, 9)


@pytest.mark.parametrize("running", [True, False])
def test_an_item_that_others_wrote_has_nothing_of_the_one_before(
    make_client, store, helpers, running: bool
) -> None:
    client = make_client()
    photo = helpers.in_base64(helpers.photo(30))
    for name in ("N1", "N2", "N3"):
        item = {"id": name, "title": "Old", "attributes": {"a": "b"}, "images": [photo]}
        helpers.upsert(client, item)
    if not running:
        make_client.close()
    Store(store).delete(["N1", "N2"])
    helpers.elsewhere(store, "N1", "Another")
    if not running:
        client = make_client()
    read = client.get("/v1/items/N1").json()
    assert (read["title"], read["attributes"], read["photos"]) == ("Another", {}, 0)
    assert client.get("/v1/items/N2").status_code == 404
    assert client.get("/v1/items/N3").json()["photos"] == 1
    make_client.close()
    again = make_client().app.state.service.models["fake"].index
    assert [name for name in ("N1", "N2", "N3") if again.details(name)] == ["N3"]


def test_a_patch_keeps_what_another_process_wrote(client, store, helpers) -> None:
    client.get("/v1/items/i3?vector=true")
    vector = helpers.elsewhere(store, "i3", "Elsewhere")
    read = client.patch("/v1/items/i3", json={"price": 3.5}).json()
    assert (read["title"], read["price"]) == ("Elsewhere", 3.5)
    assert client.get("/v1/items/i3?vector=true").json()["vector"] == vector
    vector = helpers.elsewhere(store, "i3", "Once more")
    assert client.get("/v1/items/i3?vector=true").json()["vector"] == vector
    vector = helpers.elsewhere(store, "just added", "Added")
    assert client.get("/v1/items/just added?vector=true").json()["vector"] == vector


@pytest.mark.parametrize("writes", [1, 9])
def test_a_patch_that_embeds_starts_anew_where_another_process_wrote(
    client, store, monkeypatch, writes, helpers
) -> None:
    read_bytes, written = routes._bytes, []

    def write_first(item: object) -> list[bytes]:
        if len(written) < writes:
            written.append(helpers.elsewhere(store, "i3", f"Elsewhere {len(written)}"))
        return read_bytes(item)

    monkeypatch.setattr(routes, "_bytes", write_first)
    answer = client.patch("/v1/items/i3", json={"brand": "B", "attributes": {}, "images": []})
    after = client.get("/v1/items/i3?vector=true").json()
    if writes == 1:
        assert (answer.status_code, len(written)) == (200, 1)
        assert (after["title"], after["brand"]) == ("Elsewhere 0", "B")
        assert after["vector"] != written[0]
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "item_changed")
        assert (after["title"], after["vector"]) == ("Elsewhere 2", written[2])


def test_records_of_a_store_that_was_built_anew_are_dropped(make_client, store, embedder, helpers):
    client = make_client()
    helpers.upsert(client, {"id": "i1", "title": "Other", "attributes": {"colour": "green"}})
    make_client.close()
    helpers.make_store(store, embedder, replace=True)
    assert make_client().get("/v1/items/i1").json()["attributes"] == {"colour": "red"}

"""Laws of explanations, the map, corruptions and several models side by side."""

from __future__ import annotations

import base64
import time
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tgqformer.corruption import CORRUPTIONS
from tgqformer.retrieval.scores import unit
from tgqformer.retrieval.search import LocalIndex
from tgqformer.service.app import create_app
from tgqformer.service.explanation import project
from tgqformer.service.served import Served


def test_an_explanation_is_told_as_it_was_given(client) -> None:
    told = client.post("/v1/explain", json={"id": "i1", "other": {"title": "Other"}}).json()
    heat = told["heatmaps"]["anchored"]
    assert np.array(heat["values"]).shape == (heat["rows"], heat["columns"]) == (2, 3)
    assert np.sum(heat["values"]) == pytest.approx(1, abs=1e-4)
    assert heat["window"] == [-0.5, 0, 1.5, 1]
    assert sum(told["shares"].values()) == pytest.approx(told["similarity"])
    assert told["gates"]["anchored"] == {"mean": 1.25, "values": [1.0, 1.5]}
    alone = client.post("/v1/explain", json={"item": {"title": "No photo"}}).json()
    assert (alone["heatmaps"], alone["agreement"], alone["similarity"]) == ({}, None, None)
    assert client.post("/v1/explain", json={"id": "nobody"}).status_code == 404


def test_the_map_is_drawn_once_and_shows_what_is_stored(client) -> None:
    for _ in range(500):
        answer = client.get("/v1/map")
        if answer.status_code == 200:
            break
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        time.sleep(0.02)
    told = answer.json()
    assert {point["id"] for point in told["points"]} == {f"i{row}" for row in range(20)}
    assert told["total"] == 20
    assert max(abs(point[axis]) for point in told["points"] for axis in "xy") == 1.0
    assert client.get("/v1/map").json() == told


def test_a_projection_keeps_a_plane_and_survives_what_has_none() -> None:
    plane = np.random.default_rng(0).standard_normal((50, 2)) * (3, 1)
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))
    points, explained = project((plane @ turn[:2]).astype(np.float32))
    assert sum(explained) == pytest.approx(1)
    assert explained[0] > explained[1]
    centred = plane - plane.mean(axis=0)
    # each axis found is a mix of the true ones, and nothing else
    mixed = np.linalg.lstsq(centred, points, rcond=None)[0]
    np.testing.assert_allclose(centred @ mixed, points, atol=1e-5)
    for vectors in (np.zeros((0, 4)), np.ones((1, 4)), np.ones((5, 4)), np.ones((3, 1))):
        points, _ = project(vectors.astype(np.float32))
        assert points.shape == (len(vectors), 2)
        assert not points.any()


def test_a_corruption_changes_the_photo_the_same_way_each_time(client, helpers) -> None:
    kinds = client.get("/v1/corruptions").json()
    assert {*kinds["overlays"], *kinds["clutter"]} == set(CORRUPTIONS)
    picture = helpers.in_base64(helpers.photo(64))
    body = {"image": picture, "kind": "banner", "severity": 0.9, "seed": 3}
    first = client.post("/v1/corrupt", json=body).json()
    assert first == client.post("/v1/corrupt", json=body).json()
    clean = client.post("/v1/corrupt", json=body | {"severity": 0.0}).json()
    images = [
        np.asarray(Image.open(BytesIO(base64.b64decode(told["image"])))) for told in (first, clean)
    ]
    assert images[0].shape == images[1].shape == (64, 64, 3)
    assert np.abs(images[0].astype(int) - images[1]).max() > 50
    stored = client.post("/v1/corrupt", json={"id": "i1", "kind": "crop"})
    assert stored.status_code == 200
    # what comes back may be sent as a photo
    query = {"item": {"images": [stored.json()["image"]]}}
    assert client.post("/v1/similar", json=query).status_code == 200
    assert client.post("/v1/corrupt", json=body | {"kind": "rain"}).status_code == 422


def test_models_stand_side_by_side_and_keep_apart(store, tmp_path, embedder, helpers) -> None:
    class Mirrored:
        def encode(self, items, *, progress=False):
            return unit(-embedder.encode(items) + 0.1)

    other = helpers.make_store(tmp_path / "other", Mirrored())
    models = [
        Served("one", embedder, LocalIndex(store)),
        Served("two", Mirrored(), LocalIndex(other)),
    ]
    with TestClient(create_app(models)) as client:
        told = client.get("/v1/models").json()["data"]
        assert [(card["id"], card["default"]) for card in told] == [("one", True), ("two", False)]
        answers = [
            client.post("/v1/similar", json={"id": "i1", "k": 20, "model": name}).json()
            for name in ("one", "two")
        ]
        assert answers[0]["results"] != answers[1]["results"]
        client.post("/v1/items", json={"items": [{"id": "new", "title": "Cup"}], "model": "two"})
        assert client.get("/v1/items/new").status_code == 404
        assert client.get("/v1/items/new", params={"model": "two"}).status_code == 200
        refused = client.post("/v1/explain", json={"id": "i1", "model": "two"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_explainer")

"""What cannot be used is named with place and field, in one sentence, and spoils nothing else."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
HEIC = b"\x00\x00\x00\x18ftypheic" + bytes(40)


def told(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encoded(mode: str, kind: str, **options: Any) -> str:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), (200, 90, 30)).convert(mode).save(out, kind, **options)
    return told(out.getvalue())


WRONG = [
    # fields of an item, the field that the answer names, and what its sentence says
    ({"title": 5}, "title", "the number 5, but must be a text"),
    ({"title": None}, "title", "null"),
    ({"title": "lamp", "price": float("nan")}, "price", "NaN, but must be a finite number"),
    ({"title": "lamp", "price": float("inf")}, "price", "finite"),
    ({"title": "lamp", "price": -3}, "price", "-3, but must be 0 or more"),
    ({"title": "lamp", "price": "12.50"}, "price", "the text '12.50', but must be a number"),
    ({"title": "lamp", "price": True}, "price", "true, but must be a number"),
    ({"title": "lamp", "in_stock": "yes"}, "in_stock", "must be true or false"),
    ({"title": "lamp", "category": ["Home", "Lamps"]}, "category", "a list, but must be a text"),
    ({"title": "lamp", "attributes": {"colour": 5}}, "attributes.colour", "must be a text"),
    ({"title": "lamp", "attributes": [1]}, "attributes", "a list, but must be an object"),
    ({"title": "lamp", "images": "a.jpg"}, "images", "must be a list"),
    ({"title": "lamp", "images": [5]}, "images.0", "the number 5, but must be a text"),
    ({"title": "lamp", "image": "x"}, "image", "did you mean images?"),
    ({"name": "lamp"}, "name", "the fields are"),
    ({"title": "x" * 10_001}, "title", "10001 characters, but may have at most 10000"),
    ({}, "", "neither text nor photo"),
    ({"title": " ", "price": 3}, "", "neither text nor photo"),
    ({"images": ["https://shop.example/a.jpg"]}, "images.0", "is a URL, and photos are not"),
    ({"images": ["s3://bucket/a.jpg"]}, "images.0", "is a URL"),
    ({"images": ["file:///etc/passwd"]}, "images.0", "send"),
    ({"images": ["photos/a.jpg"]}, "images.0", "the path of a file, which is not opened here"),
    ({"images": ["/data/a.jpg"]}, "images.0", "the path of a file"),
    ({"images": ["no base64!"]}, "images.0", "is no base64; send the bytes"),
    ({"images": ["data:image/png,%89PNG"]}, "images.0", "must be in base64"),
    ({"images": [told(SVG)]}, "images.0", "an SVG drawing does"),
    ({"images": [told(b"<svg/>")]}, "images.0", "an SVG drawing"),
    ({"images": [f"data:image/svg+xml;base64,{told(SVG)}"]}, "images.0", "an SVG drawing"),
    ({"images": [told(HEIC)]}, "images.0", "a HEIC photo"),
    ({"images": [told(b"%PDF-1.7 ")]}, "images.0", "a PDF"),
    ({"images": [told(b"<!DOCTYPE html><html>")]}, "images.0", "a web page"),
    ({"images": [encoded("RGB", "PNG")[:60]]}, "images.0", "cut short"),
    ({"images": [encoded("RGB", "PNG")] * 9}, "images", "9 photos, more than the 8"),
]  # fmt: skip


def post(client: Any, path: str, body: Any) -> tuple[int, Any]:
    """NaN goes over the wire as Python and JavaScript libraries write it."""
    answer = client.post(
        path, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize(("fields", "field", "words"), WRONG, ids=lambda x: str(x)[:40])
def test_one_wrong_item_is_named_and_the_others_are_done(client, fields, field, words) -> None:
    good = {"title": "Desk lamp"}
    status, answer = post(client, "/v1/embeddings", {"input": [good, fields, "Mug"]})
    assert (status, answer["failed"]) == (200, 1)
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert [entry["embedding"] is None for entry in answer["data"]] == [False, True, False]
    check(answer["data"][1]["error"], "input.1", field, words)
    assert answer["data"][0]["error"] is None
    alone = post(client, "/v1/embeddings", {"input": [good, "Mug"]})[1]["data"]
    assert [entry["embedding"] for entry in alone] == [
        answer["data"][row]["embedding"] for row in (0, 2)
    ]

    items = [{"id": "good", **good}, {"id": "wrong", **fields}]
    status, answer = post(client, "/v1/items", {"items": items})
    assert (status, answer["failed"]) == (200, 1)
    assert [(e["id"], e["status"]) for e in answer["items"]] == [
        ("good", "created"),
        ("wrong", "failed"),
    ]
    check(answer["items"][1]["error"], "items.1", field, words)
    assert client.get("/v1/items/wrong").status_code == 404
    assert client.get("/v1/items/good").status_code == 200

    for path, body, place in (  # nothing that could be used is no success
        ("/v1/embeddings", {"input": [fields]}, "input.0"),
        ("/v1/items", {"items": items[1:]}, "items.0"),
        ("/v1/similar", {"item": fields}, "item"),
    ):
        status, answer = post(client, path, body)
        assert status == 422
        check(answer["error"], place, field, words)


def check(error: dict[str, str], place: str, field: str, words: str) -> None:
    assert error["param"] == ".".join(part for part in (place, field) if part)
    assert words in error["message"]
    assert error["message"].endswith((".", "?"))
    assert "\n" not in error["message"]


def test_an_unknown_field_of_a_request_is_named_with_the_known_ones(client) -> None:
    for path, body, words in (
        ("/v1/embeddings", {"inputs": ["a"], "input": "a"}, "did you mean input?"),
        ("/v1/similar", {"id": "i1", "top": 3}, "the fields are id, ids, item, vector, k"),
    ):
        status, answer = post(client, path, body)
        assert status == 422
        assert words in answer["error"]["message"]


@pytest.mark.parametrize("entry", [5, None, [], [[]], True, "x", {"title": "no id"}, {"id": 7}])
def test_an_entry_that_is_no_item_fails_alone_too(client, entry) -> None:
    good = {"id": "good", "title": "Cup"}
    status, answer = post(client, "/v1/items", {"items": [entry, good]})
    assert (status, answer["failed"]) == (200, 1)
    assert answer["items"][0]["error"]["param"].startswith("items.0")
    assert answer["items"][1]["status"] == "created"


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (5, "input.1"),
        (None, "input.1"),
        ("", "input.1"),
        ([], "input.1"),
        ([{"type": "text", "text": 5}], "input.1.0.text"),
        ([{"type": "film", "film": "x"}], "input.1.0"),
        ({"content": []}, "input.1.content"),
        ({"content": [{"type": "image_url", "image_url": {"url": "x.jpg"}}]}, "input.1.0"),
    ],
)
def test_an_input_of_another_kind_fails_alone(client, entry, place) -> None:
    status, answer = post(client, "/v1/embeddings", {"input": ["Desk lamp", entry]})
    assert (status, answer["failed"]) == (200, 1)
    assert answer["data"][1]["error"]["param"] == place


WHOLE = [
    # a whole `input`, the place that the answer names, and what its sentence says
    (None, "input", "null, but must be a text or a list"),
    (5, "input", "the number 5, but must be a text or a list"),
    (float("inf"), "input", "infinite, but must be a text or a list"),
    ({"title": "lamp"}, "input", "an object, but must be a text or a list"),
    ([], "input", "is empty"),
    ("x" * 10_001, "input", "10001 characters"),
    (["a"] * 10_001, "input", "at most 10000 entries"),
    ([1, 2, 3], "input.0", "the number 1, which cannot be embedded"),
    ([[1, 2], [3]], "input.0", "a list of token ids"),
    ([["a", "b"]], "input.0", "a list of texts"),
    ([{"type": "text", "text": "a"}], "input.0", "a content part alone"),
    ([[{"type": "input_text", "text": "a"}]], "input.0.0", "'input_text', but must be of 'text'"),
    ([[{"text": "a"}]], "input.0.0", "has no type"),
    ([[{"type": "text"}]], "input.0.0.text", "is missing"),
    ([[{"type": "image_url", "image_url": "x"}]], "input.0.0.image_url", "must be an object"),
    ([[{"type": "image_url", "image_url": {}}]], "input.0.0.image_url.url", "is missing"),
    ([{"images": [""]}], "input.0.images.0", "is empty"),
    ([{"attributes": {"k" * 201: "a"}}], f"input.0.attributes.{'k' * 60}...", "at most 200"),
    ([{"title": "a", "k" * 9_000: 1}], f"input.0.{'k' * 60}...", "is no field"),
    ([{"title": "a", "price": 10**400}], "input.0.price", "of 401 digits, but must be a finite"),
    (["half a pair \ud83d"], "input.0", "half of a UTF-16 pair"),
    ([{"title": "\ud83d"}], "input.0.title", "half of a UTF-16 pair"),
]


@pytest.mark.parametrize(("given", "place", "words"), WHOLE, ids=lambda x: ascii(x)[:40])
def test_a_place_is_a_way_through_the_request_and_a_sentence_says_what_may_stand_there(
    client, given, place, words
) -> None:
    status, answer = post(client, "/v1/embeddings", {"input": given})
    error = answer["error"]
    assert (status, error["param"]) == (422, place), error
    assert words in error["message"]
    assert error["message"].endswith((".", "?"))
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    "item_id",
    ["\ud800", "a\ud800b", " a", "a ", "\ufeffa", "\u200b", "a\u00a0", ".", "a/./b", "",
     " ", "\x00", "..", "x" * 513, "x" * 2**20, 5, None, ["a"], {"a": 1}, True, 1.5],
    ids=lambda x: ascii(x)[:20],
)  # fmt: skip
def test_an_id_that_no_catalog_or_path_could_hold_fails_alone(client, item_id) -> None:
    items = [{"id": "good", "title": "Cup"}, {"id": item_id, "title": "Lamp"}]
    status, answer = post(client, "/v1/items", {"items": items})
    assert (status, answer["failed"]) == (200, 1), answer
    assert answer["items"][0] == {"id": "good", "status": "created"}
    error = answer["items"][1]["error"]
    assert error["param"].startswith("items.1")
    assert error["message"].endswith(".")
    assert len(error["message"]) < 400
    assert client.get("/v1/items/good").status_code == 200


def test_a_body_of_another_kind_is_told_what_to_send(client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/v1/items", content=b'{"items": []}', headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "photo",
    [
        encoded("CMYK", "JPEG"),
        encoded("L", "PNG"),
        encoded("RGB", "GIF", save_all=True, append_images=[Image.new("RGB", (30, 20))]),
        f"data:image/jpeg;base64,{encoded('RGB', 'JPEG')}",
        encoded("I;16", "PNG"),
        encoded(
            "RGB",
            "JPEG",
            exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
            b"\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00",
        ),
        f" data:image/png;base64,{encoded('RGB', 'PNG')} ",
        encoded("RGB", "JPEG").replace("+", "-").replace("/", "_"),
    ],
    ids=["CMYK", "grey", "animation", "data URL", "16 bit", "rotated", "blanks", "base64url"],
)
def test_photos_of_every_colour_and_an_animations_first_are_read(client, photo) -> None:
    status, answer = post(client, "/v1/embeddings", {"input": [{"images": [photo]}]})
    assert (status, answer["failed"]) == (200, 0)


def test_the_schema_tells_that_an_entry_fails_alone(client) -> None:
    told = client.get("/openapi.json").json()
    schemas = told["components"]["schemas"]
    assert {"$ref": "#/components/schemas/ErrorDetail"} in (
        schemas["EmbeddingObject"]["properties"]["error"]["anyOf"]
    )
    entries = schemas["ItemsRequest"]["properties"]["items"]["items"]
    assert {"$ref": "#/components/schemas/StoredItem"} in entries["anyOf"]
    assert "spoils no other" in told["paths"]["/v1/embeddings"]["post"]["description"]

"""Laws of POST /v1/embeddings: OpenAI's clients work, and an input is the item it stands for."""

from __future__ import annotations

import base64

import numpy as np
import openai
import pytest

from tgqformer.catalog.items import Item


def photo_text(helpers) -> str:
    return helpers.in_base64(helpers.photo())


@pytest.fixture
def api(client) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="none", base_url="http://testserver/v1", http_client=client, max_retries=0
    )


def test_the_openai_client_gets_the_embedders_vectors(api, embedder) -> None:
    expected = embedder.encode([Item("a", "Desk lamp"), Item("b", "Chair")])
    for encoding in ("float", "base64", openai.NOT_GIVEN):  # unsaid, the client asks for base64
        made = api.embeddings.create(
            model="fake", input=["Desk lamp", "Chair"], encoding_format=encoding
        )
        vectors = [
            np.frombuffer(base64.b64decode(entry.embedding), "<f4")
            if isinstance(entry.embedding, str)
            else np.array(entry.embedding, dtype=np.float32)
            for entry in made.data
        ]
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
        assert [entry.index for entry in made.data] == [0, 1]
        assert made.model == "fake"
    one = api.embeddings.create(model="fake", input="Desk lamp", encoding_format="float")
    np.testing.assert_allclose(one.data[0].embedding, expected[0], atol=1e-6)


def test_the_openai_client_lists_models_and_sees_errors(api) -> None:
    assert [model.id for model in api.models.list()] == ["fake"]
    with pytest.raises(openai.NotFoundError, match="no model is called 'gpt'"):
        api.embeddings.create(model="gpt", input="a")
    with pytest.raises(openai.UnprocessableEntityError, match="dimensions is 17"):
        api.embeddings.create(model="fake", input="a", dimensions=17)


def test_dimensions_are_a_prefix_of_unit_length(api) -> None:
    whole = api.embeddings.create(model="fake", input="a", encoding_format="float")
    part = api.embeddings.create(model="fake", input="a", encoding_format="float", dimensions=5)
    prefix = np.array(whole.data[0].embedding[:5])
    np.testing.assert_allclose(part.data[0].embedding, prefix / np.linalg.norm(prefix), atol=1e-6)


def test_the_same_item_in_any_shape_has_the_same_vector(client, helpers) -> None:
    picture = photo_text(helpers)
    url = f"data:image/png;base64,{picture}"
    parts = [
        {"type": "text", "text": "Desk"},
        {"type": "text", "text": "lamp"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    inputs = [
        {"title": "Desk lamp", "images": [picture]},
        {"title": "Desk lamp", "images": [url]},
        {"content": parts},
        parts,
        "Desk lamp",
    ]
    data = client.post("/v1/embeddings", json={"input": inputs}).json()["data"]
    vectors = [entry["embedding"] for entry in data]
    assert vectors[0] == vectors[1] == vectors[2] == vectors[3] != vectors[4]


def test_a_batch_over_the_limit_is_413_and_a_broken_photo_names_its_input(
    make_client, helpers
) -> None:
    client = make_client(max_batch=3)
    answer = client.post("/v1/embeddings", json={"input": ["a"] * 4})
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "input")
    inputs = [{"images": [photo_text(helpers), photo_text(helpers)[:40]]}]
    answer = client.post("/v1/embeddings", json={"input": inputs})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "bad_image")
    assert error["param"] == "input.0.images.1"


@pytest.mark.parametrize("told", [[], [1, 2], [[1, 2]], {"a": 1}, None, 7, [None], [{"x": 1}]])
def test_inputs_that_are_none_are_422(client, told) -> None:
    assert client.post("/v1/embeddings", json={"input": told}).status_code == 422

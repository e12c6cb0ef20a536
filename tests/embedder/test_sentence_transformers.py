"""The saved folder in sentence-transformers: the same vectors, whatever an item is given as."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.errors import ImageError, UnreadInputWarning

pytest.importorskip("sentence_transformers", reason="sentence-transformers is a development extra")

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def model(saved):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(saved), trust_remote_code=True, device="cpu")


def as_dict(item: Item) -> dict[str, object]:
    names = ("title", "brand", "category", "attributes", "price", "images")
    return {name: getattr(item, name) for name in names}


def test_items_give_the_vectors_of_encode(model, items, vectors):
    with pytest.warns(UnreadInputWarning, match="neither text nor photo"):
        ours = model.encode([as_dict(item) for item in items])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, vectors, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(model.encode(items, batch_size=3), vectors, rtol=0, atol=1e-5)


def test_the_same_batch_gives_the_same_bits(model, embedder):
    # sentence-transformers sorts by length, longest first: these are sorted already
    titles = ["a large green boot of leather", "warm red shoe", "lamp"]
    expected = embedder.encode([Item(str(i), title=t) for i, t in enumerate(titles)])
    assert np.array_equal(model.encode(titles), expected)
    assert np.array_equal(model.encode("lamp"), embedder.encode([Item("a", title="lamp")])[0])


def test_text_is_another_name_of_the_title(model):
    a, b = model.encode([{"title": "red lamp"}, {"text": "red lamp"}])
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["bytes", "path", "text", "pil", "list"])
def test_a_photo_in_any_form(model, embedder, photo, tmp_path, form):
    encoded = photo(3)
    path = tmp_path / "photo.png"
    path.write_bytes(encoded)
    given = {
        "bytes": encoded,
        "path": path,
        "text": str(path),
        "pil": Image.open(io.BytesIO(encoded)),
        "list": [encoded],
    }[form]
    [ours] = model.encode([{"title": "red lamp", "image": given}])
    [expected] = embedder.encode([Item("a", title="red lamp", images=(encoded,))])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "F"])
def test_pil_images_of_every_mode(model, photo, mode):
    image = Image.open(io.BytesIO(photo(3)))
    image = (
        image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    )
    assert np.isfinite(model.encode([image])).all()


def test_a_pil_image_is_turned_upright(model, embedder, photo):
    image = Image.open(io.BytesIO(photo(3)))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, exif=exif)
    [ours] = model.encode([Image.open(out)])
    [expected] = embedder.encode([Item("a", images=(out.getvalue(),))])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_what_it_says_of_itself(model):
    assert model.get_embedding_dimension() == 32
    assert model.similarity_fn_name == "cosine"
    assert model.max_seq_length == 48
    assert model.supports("text")
    assert model.supports("image")


def test_truncation_agrees_with_dims(model, embedder, items):
    ours = model.encode(items, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_allclose(ours, embedder.encode(items, dims=8), rtol=0, atol=1e-5)


def test_saving_by_sentence_transformers_loads_in_both(model, items, vectors, tmp_path):
    from sentence_transformers import SentenceTransformer

    from tgqformer.embedder import ItemEmbedder

    model.save_pretrained(str(tmp_path))
    kind = "tgqformer.embedder.sentence_transformers.ItemModule"
    assert json.loads((tmp_path / "modules.json").read_text())[0]["type"] == kind
    assert np.array_equal(
        ItemEmbedder.from_pretrained(tmp_path, device="cpu").encode(items), vectors
    )
    again = SentenceTransformer(str(tmp_path), trust_remote_code=True, device="cpu")
    assert np.array_equal(again.encode(items), model.encode(items))


def test_without_trust_by_naming_the_module(saved, model):
    from sentence_transformers import SentenceTransformer

    from tgqformer.embedder.sentence_transformers import ItemModule

    direct = SentenceTransformer(modules=[ItemModule.load(str(saved))], device="cpu")
    assert np.array_equal(direct.encode(["red lamp"]), model.encode(["red lamp"]))


def test_the_gradient_reaches_the_trained_weights(model):
    import torch

    features = model.preprocess(["red lamp", "blue shoe"])
    model(features)["sentence_embedding"].sum().backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    moved = {n for n, p in model.named_parameters() if p.grad is not None}
    assert moved
    assert moved <= trained
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)
    model.zero_grad()


@pytest.mark.parametrize(
    "image", ["http://127.0.0.1:1/lamp.jpg", "gone/lamp.jpg", "data:image/png;base64,AAAA", b"no"]
)
def test_a_photo_that_cannot_be_read_is_never_swallowed(model, image):
    given = [{"title": "lamp"}, {"title": "red lamp with a shade", "image": image}]
    with pytest.raises(ImageError, match="red lamp with a shade"):
        model.encode(given)


def test_a_data_url_is_a_photo(model, embedder, photo):
    url = f"data:image/png;base64,{base64.b64encode(photo(3)).decode()}"
    [ours] = model.encode([{"title": "red lamp", "image": url}])
    [expected] = embedder.encode([Item("a", title="red lamp", images=(photo(3),))])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)

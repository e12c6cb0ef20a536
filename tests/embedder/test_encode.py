"""`encode`: what goes in, what comes out, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.catalog.items import Item
from tgqformer.config import override
from tgqformer.errors import ConfigError
from tgqformer.retrieval.scores import quantize

TOLERANCE = 1e-5


def test_unit_rows_in_the_order_of_the_items(embedder, items, vectors):
    assert vectors.shape == (len(items), 32)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(items))
    shuffled = embedder.encode([items[i] for i in order])
    np.testing.assert_allclose(shuffled, vectors[order], atol=TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batch_size_does_not_matter(embedder, items, vectors, batch_size):
    again = embedder.encode(items, batch_size=batch_size)
    np.testing.assert_allclose(again, vectors, atol=TOLERANCE)


def test_encoding_twice_gives_the_same_bits(embedder, items, vectors):
    embedder.model.train()  # as a training loop may have left it
    assert np.array_equal(embedder.encode(items), vectors)


def test_nothing_to_encode(embedder):
    assert embedder.encode([]).shape == (0, 32)
    assert embedder.encode([], dims=8, precision="int8").shape == (0, 8)


def test_photo_and_words_count_and_id_and_price_do_not(embedder, items, photo):
    item = items[0]
    [own] = embedder.encode([item])

    def moves(**change: object) -> bool:
        [other] = embedder.encode([replace(item, **change)])
        return not np.allclose(own, other, atol=1e-4)

    assert moves(title="something else")
    assert moves(brand="Other")
    assert moves(category="Shop > Lamps")
    assert moves(attributes={"colour": "red"})
    assert moves(images=(photo(99),))
    assert moves(images=())
    assert not moves(item_id="../another", price=3.5)


def test_items_that_lack_parts_differ_from_one_another(embedder, photo):
    items = [
        Item("a", title="red lamp"),
        Item("b", title="blue lamp"),
        Item("c", images=(photo(1),)),
        Item("d", images=(photo(2),)),
        Item("e"),
        Item("f", title="red lamp", images=(photo(1),)),
    ]
    vectors = embedder.encode(items)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    assert (distances + np.eye(len(items)) > 1e-3).all()


def test_an_item_without_a_readable_photo_is_an_item_without_photo(embedder):
    broken, without = Item("a", "lamp", images=(b"not a photo",)), Item("a", "lamp")
    a, b = embedder.encode([broken, without], errors="ignore")
    np.testing.assert_allclose(a, b, atol=TOLERANCE)


def test_the_visual_view_says_nothing_of_a_missing_photo(make, config, items):
    """What is made of an absent photo must not reach the backbone."""
    embedder = make(override(config, ["base=none"]))
    without = Item("a", "red lamp")
    [before] = embedder.encode([without])
    with torch.no_grad():
        embedder.model.connector.memory.null.add_(3.0)
        embedder.model.connector.exploratory.slots.add_(3.0)
    [after] = embedder.encode([without])
    assert np.array_equal(before, after)
    [with_photo] = embedder.encode(items[:1])
    assert not np.allclose(with_photo, embedder.encode([replace(items[0], images=())])[0])


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
@pytest.mark.parametrize("dims", [None, 8, 32])
def test_dims_and_precision(embedder, items, vectors, precision, dims):
    out = embedder.encode(items, dims=dims, precision=precision)
    assert np.array_equal(out, quantize(vectors, precision, dims))
    width = dims or 32
    assert out.shape == (len(items), width // 8 if precision == "binary" else width)
    if precision == "float32":
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)


def test_wrong_dims_and_precision_are_named(embedder, items):
    with pytest.raises(ConfigError, match=r"dims is 33"):
        embedder.encode(items[:1], dims=33)
    with pytest.raises(ConfigError, match="precision is 'float8'"):
        embedder.encode(items[:1], precision="float8")


def test_the_second_encoding_calls_no_tower(make, config, items, tmp_path):
    embedder = make(config, cache_dir=tmp_path)
    first = embedder.encode(items, batch_size=4)
    calls = embedder.features.tower_calls
    assert calls > 0
    assert np.array_equal(embedder.encode(items, batch_size=4), first)
    assert embedder.features.tower_calls == calls


def test_building_leaves_the_callers_random_state(make, config):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a = make(config, stirred=False, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    b, c = make(config, stirred=False, seed=5), make(config, stirred=False, seed=6)
    first, same, other = (m.model.visual_head["anchored"][1].weight for m in (a, b, c))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_outputs_tell_gates_and_attention(embedder, items, vectors):
    out = embedder.outputs(items, attention=True)
    np.testing.assert_allclose(out.embedding.numpy(), vectors, atol=TOLERANCE)
    assert set(out.connector.gates) == {"anchored", "exploratory"}
    assert out.connector.attention["anchored"].shape == (len(items), 2, 32)  # of two photos
    absent = [i for i, item in enumerate(items) if not item.images]
    assert not bool(out.connector.attention["anchored"][absent].any())
    whole = [bool(i.images) and bool(i.title) for i in items]
    assert out.complete[:, 0].bool().tolist() == whole


@pytest.mark.parametrize("base", ["none", "trained"])
def test_the_connector_alone_has_an_embedding_where_there_is_a_base(make, config, items, base):
    embedder = make(override(config, [f"base={base}"]))
    both = embedder.encode_views(items)
    alone = embedder.encode_views(items, connector_only=True)
    assert set(both) == {"embedding", "visual"}
    assert set(alone) == ({"visual"} if base == "none" else {"embedding", "visual"})
    assert np.array_equal(both["visual"], alone["visual"])
    for vectors in alone.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_without_a_backbone_the_connector_is_never_alone(make, config, items):
    embedder = make(override(config, ["base=none", "language.kind=none"]))
    both = embedder.encode_views(items)
    alone = embedder.encode_views(items, connector_only=True)
    assert not embedder.model.aligns
    assert both.keys() == alone.keys()
    assert all(np.array_equal(both[name], alone[name]) for name in both)
    assert np.array_equal(both["embedding"], both["visual"])


def test_progress_goes_to_standard_error(embedder, items, capsys):
    embedder.encode(items, progress=True)
    assert capsys.readouterr().out == ""


def test_a_prompt_too_long_for_the_backbone_is_refused_at_once(make, config):
    long = override(config, ["language.prompt.max_tokens=3000"])
    with pytest.raises(ConfigError, match=r"max_tokens \(3000\).* the backbone reads 2048"):
        make(long)


@pytest.mark.parametrize(
    ("option", "value"), [("dims", 0), ("matryoshka", "64"), ("max_images", 0)]
)
def test_a_wrong_option_is_named(config, option, value):
    with pytest.raises(ConfigError, match=rf"embedder.{option} \(\[?{value}"):
        override(config, [f"{option}={value}"])


def test_cut_texts_counts_what_either_reader_does_not_take_whole(embedder, make, config):
    def item(words: int, title: str = "w") -> Item:
        return Item(f"i{words}", title=" ".join([title] * words))

    tower, prompt = config.text_tower.max_tokens, config.language.prompt.max_tokens
    whole = (prompt + 1) // 2  # one byte a word, and the spaces between them
    assert embedder.cut_texts([Item("nothing"), item(1), item(whole)]) == 0
    assert embedder.cut_texts([item(whole), item(whole + 1), item(tower + 1)]) == 2
    wide = make(override(config, ["language.prompt.max_tokens=1500"]))
    assert wide.cut_texts([item(tower), item(tower + 1)]) == 1
    assert wide.cut_texts([item(1, "w" * 2000)]) == 1  # more characters than a text ever has


def test_a_long_title_does_not_hide_the_category(embedder):
    title = "word " * 100
    lamp, mug = (Item(kind, title, category=f"Home > {kind}") for kind in ("Lamp", "Mug"))
    batch = embedder.batch([lamp, mug])
    assert not torch.equal(batch.towers.text[0], batch.towers.text[1])
    assert not torch.equal(batch.prompt.input_ids[0], batch.prompt.input_ids[1])
    a, b = embedder.encode([lamp, mug])
    assert not np.allclose(a, b, atol=1e-4)


def test_the_order_of_an_items_photos_changes_no_bit(make, config, photo, tmp_path):
    photos = tuple(photo(n) for n in range(4))
    orders = [photos, photos[::-1], photos[2:] + photos[:2]]
    items = [Item(f"o{n}", "red lamp", images=order) for n, order in enumerate(orders)]
    for cache in (None, tmp_path):
        first, *others = make(override(config, ["max_images=4"]), cache_dir=cache).encode(items)
        assert all(np.array_equal(first, other) for other in others)
    fewer = Item("fewer", "red lamp", images=photos[:1])
    [one] = make(override(config, ["max_images=4"])).encode([fewer])
    assert not np.allclose(first, one, atol=1e-4)  # all of them are read
    [alone] = make(override(config, ["max_images=1"])).encode([fewer])
    np.testing.assert_allclose(one, alone, atol=TOLERANCE)
    [same] = make(override(config, ["max_images=1"])).encode([items[0]])
    np.testing.assert_allclose(same, alone, atol=TOLERANCE)  # the first where one is read

"""Words by their hash: what counts as one, and what does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from tgqformer.towers.hashing import hashed_words

WIDTH = 512


def cosine(one: str, other: str) -> float:
    a, b = hashed_words([one, other], WIDTH)
    return float(a @ b)


def test_a_text_is_of_unit_length_and_one_without_words_is_zero():
    found = hashed_words(["red lamp", "lamp lamp lamp", "", " ;:-- "], WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 0], atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("red lamp", "Lamp, RED"),
        ("brand: Lux; colour: red", "colour red brand lux"),
        ("STRASSE", "straße"),
        ("ΣΟΦΟΣ", "σοφοσ"),
    ],
)
def test_case_order_and_punctuation_do_not_matter(one, other):
    assert cosine(one, other) == pytest.approx(1)


def test_what_two_texts_share_is_their_cosine():
    assert cosine("oak desk lamp", "oak desk chair") == pytest.approx(2 / 3, abs=0.01)
    assert abs(cosine("oak desk lamp", "red wool coat")) < 0.01


def test_scripts_without_spaces_share_pairs_of_signs():
    assert cosine("红色台灯", "红色椅子") > 0.2
    assert abs(cosine("红色台灯", "木头椅子")) < 0.01


def test_a_text_does_not_depend_on_its_neighbours():
    texts = ["red lamp", "blue chair", "红色台灯", ""]
    together = hashed_words(texts, WIDTH)
    alone = np.concatenate([hashed_words([text], WIDTH) for text in texts])
    assert np.array_equal(together, alone)


def test_no_width_is_no_words():
    assert hashed_words(["red lamp"], 0).shape == (1, 0)

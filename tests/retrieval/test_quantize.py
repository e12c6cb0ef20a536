"""Laws of smaller vectors: directions survive, and each similarity is that of its float twin."""

from __future__ import annotations

import numpy as np
import pytest

from tgqformer.errors import ConfigError
from tgqformer.retrieval.scores import (
    binary_similarity,
    dequantize,
    from_binary,
    from_int8,
    quantize,
    to_binary,
    to_int8,
    truncate,
    unit,
)


@pytest.fixture
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((50, 37)))


def test_truncation_keeps_the_first_dimensions_at_unit_length(vectors):
    short = truncate(vectors, 10)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short / short[:, :1], vectors[:, :10] / vectors[:, :1], rtol=1e-4)
    np.testing.assert_allclose(truncate(vectors, 37), vectors, atol=1e-7)


def test_truncating_twice_is_truncating_once(vectors):
    np.testing.assert_allclose(truncate(truncate(vectors, 20), 8), truncate(vectors, 8), atol=1e-6)


@pytest.mark.parametrize("dims", [0, 38])
def test_truncation_names_the_width(vectors, dims):
    with pytest.raises(ConfigError, match=rf"dims is {dims}, but must lie in 1..37"):
        truncate(vectors, dims)


def test_int8_is_symmetric_and_within_half_a_step(vectors):
    codes = to_int8(vectors)
    np.testing.assert_array_equal(to_int8(-vectors), -codes)
    assert (np.abs(codes).max(axis=1) == 127).all()
    step = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(codes * step - vectors) <= step * 0.5001).all()


def test_int8_does_not_see_the_length(vectors):
    np.testing.assert_array_equal(to_int8(vectors * 8), to_int8(vectors))


def test_similarities_equal_those_of_the_decoded_vectors(vectors):
    queries, stored = vectors[:7], vectors[7:]
    coded = from_int8(to_int8(queries)) @ from_int8(to_int8(stored)).T
    np.testing.assert_allclose(coded, queries @ stored.T, atol=0.02)
    bits = binary_similarity(to_binary(queries), to_binary(stored), 37)
    signs = np.where(queries > 0, 1, -1) @ np.where(stored > 0, 1, -1).T / 37
    np.testing.assert_allclose(bits, signs, atol=1e-6)
    np.testing.assert_allclose(
        from_binary(to_binary(queries), 37) @ from_binary(to_binary(stored), 37).T, bits, atol=1e-6
    )


def test_zeros_stay_zero_and_similar_to_nothing():
    nothing = np.zeros((2, 8), np.float32)
    assert not to_int8(nothing).any()
    assert not from_int8(to_int8(nothing)).any()
    assert not truncate(nothing, 4).any()


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
def test_quantize_and_back_keeps_the_direction(vectors, precision):
    stored = quantize(vectors, precision, dims=24)
    back = dequantize(stored, precision, 24)
    assert back.shape == (50, 24)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    cosine = (back * truncate(vectors, 24)).sum(axis=1)
    floor = {"float32": 0.999999, "int8": 0.999, "binary": 0.5}
    assert cosine.min() > floor[precision]


def test_an_unknown_precision_names_the_known_ones(vectors):
    with pytest.raises(ConfigError, match="'int4', but must be one of"):
        quantize(vectors, "int4")  # type: ignore[arg-type]

"""The one definition of a score, shared by search and by ranks.

Inner products are accumulated in float64 and rounded once to float32. Products of float32 numbers
are exact in float64, so the sum's own error lies some eight digits below the rounding: two equal
vectors get equal scores wherever they stand and however the work is cut into blocks, which a plain
float32 matrix product does not promise (its kernels add in another order at the edges).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_ROWS_AT_ONCE = 8192
_SCORE_BYTES = 64 * 2**20


def as_vectors(vectors: npt.ArrayLike, name: str = "vectors") -> Vectors:
    """Return `vectors` as float32 [N, D] (no copy where it is so already).

    Raises:
        StorageError: not two-dimensional, no columns, or a NaN or an infinity in some row.
    """
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] == 0:
        raise StorageError(
            f"{name} has shape {array.shape}, but must be [rows, dimensions]; "
            "stack one vector for each item."
        )
    for start, stop in blocks(len(array), _ROWS_AT_ONCE):
        finite = np.isfinite(array[start:stop]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise StorageError(
                f"{name} row {row} holds a NaN or an infinity, but every value must be finite; "
                "encode that item again."
            )
    return array


def inner_products(queries: Vectors, vectors: Vectors) -> Vectors:
    """Score all of `queries` [M, D] against all of `vectors` [N, D]: float32 [M, N]."""
    scores: Vectors = np.empty((len(queries), len(vectors)), dtype=np.float32)
    left = queries.astype(np.float64)
    for start, stop in blocks(len(vectors), _ROWS_AT_ONCE):
        scores[:, start:stop] = left @ vectors[start:stop].astype(np.float64).T
    return scores


def queries_at_once(pool: int) -> int:
    """How many queries keep their scores against `pool` items within about 64 MB."""
    return int(np.clip(_SCORE_BYTES // (4 * max(pool, 1)), 1, 1024))


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut range(count) into (start, stop) of at most `size`."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """Scale every row of [N, D] to length 1; rows of zeros stay zero."""
    array = vectors.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))[:, None]
    scaled: Vectors = np.divide(array, norms, out=np.zeros_like(array), where=norms > 0)
    return scaled


# -- selection -------------------------------------------------------------------------------------
# Picking the largest scores of each row without sorting or partitioning it whole.

_COLUMNS = 8  # maxima of a row of scores that are compared first, for each one wanted


def top(scores: Vectors, wanted: int) -> Rows:
    """Columns of the `wanted` largest of each row [n, m], in no order: [n, min(wanted, m)].

    A row is cut into interleaved parts. At least `wanted` of its scores reach the `wanted`-th
    largest of the maxima over the parts, and seldom many more: those are sorted out.
    """
    count, size = scores.shape
    columns = _COLUMNS * wanted
    parts = size // columns
    if parts < 2:
        if size <= wanted:
            return np.broadcast_to(np.arange(size), scores.shape)
        return np.argpartition(scores, size - wanted, axis=1)[:, size - wanted :]
    best = np.empty((count, wanted), dtype=np.int64)
    for row, values in enumerate(scores):
        maxima = values[: parts * columns].reshape(parts, columns).max(axis=0)
        maxima.partition(columns - wanted)
        reached = np.flatnonzero(values >= maxima[columns - wanted])
        if len(reached) > wanted:
            kept = np.argpartition(values[reached], len(reached) - wanted)
            reached = reached[kept[len(reached) - wanted :]]
        best[row] = reached
    return best


# -- quantize --------------------------------------------------------------------------------------
# Smaller vectors: fewer dimensions, int8, and one bit each.
#
# All three keep a direction, not a length, so they are for vectors compared by cosine:
#
# - truncation keeps the first `dims` and scales back to length 1 (Matryoshka, arXiv 2205.13147); -
# int8 is symmetric with one scale for each vector, 127 / max|x|. A cosine does not need the scale,
#   so none is stored, and nothing has to be calibrated on a sample of the catalog;
# - binary keeps the sign bits (x > 0), packed eight to a byte, the first dimension in the high bit.

Precision: TypeAlias = Literal["float32", "int8", "binary"]
Stored: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.int8] | npt.NDArray[np.uint8]


def truncate(vectors: Vectors, dims: int) -> Vectors:
    """The first `dims` of [N, D], scaled to length 1: float32 [N, dims]."""
    width = vectors.shape[1]
    if not 1 <= dims <= width:
        raise ConfigError(f"dims is {dims}, but must lie in 1..{width}, the width of the vectors.")
    return unit(vectors[:, :dims])


def to_int8(vectors: Vectors) -> npt.NDArray[np.int8]:
    """Round [N, D] to int8 with one symmetric scale for each vector; rows of zeros stay zero."""
    peak = np.max(np.abs(vectors), axis=1, keepdims=True, initial=0.0)
    scale = np.divide(127.0, peak, out=np.zeros_like(peak), where=peak > 0)
    codes: npt.NDArray[np.int8] = np.rint(vectors * scale).astype(np.int8)
    return codes


def from_int8(codes: npt.NDArray[np.int8]) -> Vectors:
    """Unit-length float32 [N, D] with the directions of `codes`."""
    return unit(codes)


def to_binary(vectors: Vectors) -> npt.NDArray[np.uint8]:
    """Pack the signs of [N, D] into uint8 [N, ceil(D / 8)]; padding bits are 0."""
    return np.packbits(vectors > 0, axis=1)


def from_binary(codes: npt.NDArray[np.uint8], dims: int) -> Vectors:
    """Unit-length float32 [N, dims] of ±1/√dims with the signs of `codes`."""
    bits = np.unpackbits(codes, axis=1, count=dims)
    return unit(bits.astype(np.float32) * 2 - 1)


def quantize(vectors: Vectors, precision: Precision, dims: int | None = None) -> Stored:
    """Truncate float32 [N, D] to `dims` (None: all) and store them at `precision`."""
    kept = vectors if dims is None else truncate(vectors, dims)
    if precision == "float32":
        return kept
    if precision == "int8":
        return to_int8(kept)
    if precision == "binary":
        return to_binary(kept)
    raise ConfigError(f"precision is {precision!r}, but must be one of {get_args(Precision)}.")


def dequantize(stored: Stored, precision: Precision, dims: int) -> Vectors:
    """Float32 [N, dims] of what `quantize` made, ready for `ExactIndex`."""
    if precision == "int8":
        return from_int8(stored.astype(np.int8, copy=False))
    if precision == "binary":
        return from_binary(stored.astype(np.uint8, copy=False), dims)
    return stored.astype(np.float32, copy=False)


def int8_similarity(queries: npt.NDArray[np.int8], codes: npt.NDArray[np.int8]) -> Vectors:
    """Cosines of int8 [M, D] and [N, D], float32 [M, N]; products are summed exactly."""
    # float64 holds sums of int8 products exactly and, unlike int32, has a fast matrix product.
    left, right = queries.astype(np.float64), codes.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)[None, :]
    dots = left @ right.T
    cosines = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    similarity: Vectors = cosines.astype(np.float32)
    return similarity


def binary_similarity(
    queries: npt.NDArray[np.uint8], codes: npt.NDArray[np.uint8], dims: int
) -> Vectors:
    """1 − 2·hamming/dims of packed signs [M, W] and [N, W]: float32 [M, N] in −1..1."""
    ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
    similarity = np.empty((len(queries), len(codes)), dtype=np.float32)
    for row, query in enumerate(queries):
        differing = ones[query[None, :] ^ codes].sum(axis=1, dtype=np.int64)
        similarity[row] = 1 - 2 * differing / dims
    return similarity

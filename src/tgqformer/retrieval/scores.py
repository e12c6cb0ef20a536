"""The one definition of a score, shared by search and by ranks.

Inner products are accumulated in float64 and rounded once to float32. Products of float32 numbers
are exact in float64, so the sum's own error lies some eight digits below the rounding: two equal
vectors get equal scores wherever they stand and however the work is cut into blocks, which a plain
float32 matrix product does not promise (its kernels add in another order at the edges).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tgqformer.cores import product_threads
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


def checked_queries(queries: npt.ArrayLike, k: int, dims: int, holder: str = "store") -> Vectors:
    """Queries as float32 [M, dims]; ConfigError or StorageError where they or `k` do not fit."""
    wanted = as_vectors(queries, "queries")
    if k < 1:
        raise ConfigError(f"k is {k}, but must be at least 1.")
    if wanted.shape[1] != dims:
        raise StorageError(
            f"queries have {wanted.shape[1]} dimensions and the {holder} {dims}, but both must "
            "come from one model; embed them again."
        )
    return wanted


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
    norms = lengths(array)[:, None]
    scaled: Vectors = np.divide(array, norms, out=np.zeros_like(array), where=norms > 0)
    return scaled


# -- selection -------------------------------------------------------------------------------------
# The one way to the best rows for queries: float32 products propose, the definition decides.

_COLUMNS = 8  # maxima of a row of scores that are compared first, for each one wanted
_COLUMNS_LEAST = 512  # so that processors take many in a step
_TILE = 2**18  # values in one product for a single query: no BLAS starts threads for so few
_TILE_ROWS = 4096  # of products for more queries
_PAIRS = 2048  # scored at once: they stay in the cache
_PAIRS_HELD = 2**20
_LEAST = float(np.finfo(np.float32).min)


def products(
    queries: Vectors,
    tile: Callable[[int, int], Vectors],
    out: Vectors,
    tile_rows: int | None = None,
) -> None:
    """Fill `out` [M, N] with float32 scores, tile by tile; `tile(start, stop)` gives the rows."""
    size = max(1, _TILE // queries.shape[1])
    if len(queries) > 1:
        size = tile_rows or _TILE_ROWS
    for start, stop in blocks(out.shape[1], size):
        np.matmul(queries, tile(start, stop).T, out=out[:, start:stop])


def rounding(queries: Vectors, longest: float) -> npt.NDArray[np.float64]:
    """What a float32 score of each query [M] with a vector so long is off by at most."""
    product = lengths(queries) * longest * 2.0**-24 + 2.0**-149
    lost: npt.NDArray[np.float64] = product * (queries.shape[1] + 8)
    return lost


def lengths(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The lengths of rows, [N]."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    long: npt.NDArray[np.float64] = np.sqrt(squares)
    return long


def ranked(
    queries: Vectors,
    rough: Vectors,
    k: int,
    lost: npt.NDArray[np.float64],
    gather: Callable[[Rows], Vectors],
) -> Iterator[tuple[Rows, Vectors]]:
    """For each query the columns of its best scores, and the scores, best first, ties by column.

    The `k` best are there, or all, and whatever ties with the last of them.

    Args:
        queries: [M, D].
        rough: [M, N] scores, off by at most `lost` [M]; -inf is left out.
        gather: the vectors [n, D] of some columns.
    """
    count = rough.shape[1]
    floor = _floor(rough, k) - 2 * lost  # of who has a k-th best score, for sure
    floor = np.where(np.isfinite(floor), floor, _LEAST).astype(np.float32)
    if not count:
        yield from [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(rough)
        return
    reached = rough >= floor[:, None]
    ends = np.cumsum([np.count_nonzero(row) for row in reached])
    first = 0
    while first < len(rough):
        most = _PAIRS_HELD + (ends[first - 1] if first else 0)
        last = max(first + 1, int(np.searchsorted(ends, most, side="right")))
        of, places = np.divmod(np.flatnonzero(reached[first:last]), count)
        yield from settled(queries[first:last], of, places, gather)
        first = last


def settled(
    queries: Vectors, of: Rows, places: Rows, gather: Callable[[Rows], Vectors]
) -> Iterator[tuple[Rows, Vectors]]:
    """For each query its places by the definition's score, best first, and the scores.

    Args:
        queries: [M, D].
        of: [P], the query of each pair, ascending.
        places: [P]; `gather` gives their vectors.
    """
    scores = pair_products(queries, of, places, gather)
    order = np.lexsort((places, -scores, of))
    places, scores = places[order], scores[order]
    ends = np.searchsorted(of, np.arange(len(queries) + 1))
    for start, stop in pairwise(ends.tolist()):
        yield places[start:stop], scores[start:stop]


def pair_products(
    queries: Vectors, of: Rows, places: Rows, gather: Callable[[Rows], Vectors]
) -> Vectors:
    """The scores of pairs by the definition: float32 [P]."""
    scores = np.empty(len(of), dtype=np.float32)

    def score(cut: tuple[int, int]) -> None:
        part = slice(*cut)
        near, asking = gather(places[part]), queries[of[part]]
        scores[part] = np.einsum("nd,nd->n", near, asking, dtype=np.float64)

    cuts = list(blocks(len(of), _PAIRS))
    if len(cuts) > 1:
        with ThreadPoolExecutor(product_threads()) as threads:
            list(threads.map(score, cuts))
    elif cuts:
        score(cuts[0])
    return scores


def _floor(rough: Vectors, k: int) -> npt.NDArray[np.float64]:
    """A score that `k` of each row [M, N] reach, and seldom many more; -inf where they are fewer.

    A row is cut into interleaved parts: at least `k` of its scores reach the `k`-th largest of the
    maxima over the parts.
    """
    count, size = rough.shape
    columns = max(_COLUMNS * k, _COLUMNS_LEAST)
    parts = size // columns
    if size <= k:
        return np.full(count, -np.inf)
    if parts >= 2:
        rough = rough[:, : parts * columns].reshape(count, parts, columns).max(axis=1)
    place = rough.shape[1] - k
    return np.partition(rough, place, axis=1)[:, place].astype(np.float64)


# -- quantize --------------------------------------------------------------------------------------
# Smaller vectors: fewer dimensions, int8, and one bit each.
#
# All three keep a direction, not a length, so they are for vectors compared by cosine:
#
# - truncation keeps the first `dims` and scales back to length 1 (Matryoshka, arXiv 2205.13147);
# - int8 is symmetric with one scale for each vector, 127 / max|x|. A cosine does not need it, so
#   none is stored, and nothing has to be calibrated on a sample of the catalog;
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

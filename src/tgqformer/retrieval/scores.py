"""The one definition of a score, shared by search and by ranks.

Inner products are accumulated in float64 and rounded once to float32. Products of float32 numbers
are exact in float64, so the sum's own error lies some eight digits below the rounding: two equal
vectors get equal scores wherever they stand and however the work is cut into blocks, which a plain
float32 matrix product does not promise (its kernels add in another order at the edges).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import StorageError

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

"""Exact top-k by inner product: the judge of every approximate index, and the server of small ones.

FAISS's flat search proposes a few more candidates than asked for; they are scored again by
`scores.py` and ordered by (score, row). Where a tie reaches past the candidates, all rows are
scored, so the answer is the true top-k with ties in row order, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.scores import (
    Rows,
    Vectors,
    as_vectors,
    blocks,
    inner_products,
    queries_at_once,
)

_SPARE_CANDIDATES = 16
_GATHER_BYTES = 64 * 2**20
# FAISS sums in float32: a bound on its error, relative to the product of the two lengths.
_FLOAT32_ERROR = 1e-5


class Neighbour(NamedTuple):
    """One answer of `ExactIndex.similar`."""

    item_id: str
    score: float


class ExactIndex:
    """Inner-product search over `vectors` [N, D], one row for each of `ids`.

    The vectors are kept by reference. For unit-length rows the score is the cosine.

    Raises:
        StorageError: ids and rows differ in number, an id comes twice, or a value is not finite.
    """

    def __init__(self, ids: Sequence[str], vectors: npt.ArrayLike) -> None:
        self.ids = list(ids)
        self.vectors: Vectors = as_vectors(vectors)
        if len(self.ids) != len(self.vectors):
            raise StorageError(
                f"{len(self.ids)} ids came with {len(self.vectors)} vectors, but each id needs "
                "exactly one; write the embeddings again."
            )
        self._row = {item_id: row for row, item_id in enumerate(self.ids)}
        if len(self._row) != len(self.ids):
            twice = next(i for row, i in enumerate(self.ids) if self._row[i] != row)
            raise StorageError(
                f"item {twice!r} has more than one vector, but ids must be unique; "
                "write the embeddings again from a catalog without duplicates."
            )
        self._longest = float(np.sqrt(np.max(_squared_lengths(self.vectors), initial=0.0)))

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> int:
        """The row of `item_id`; StorageError where it has none."""
        try:
            return self._row[item_id]
        except KeyError:
            raise StorageError(
                f"no vector for item {item_id!r} among {len(self)}; "
                "check the id or embed the catalog again."
            ) from None

    def similar(self, item_id: str, k: int = 10) -> list[Neighbour]:
        """The `k` items nearest to a stored one, itself excluded, best first."""
        row = self.row(item_id)
        scores, rows = self.search(self.vectors[row : row + 1], k, exclude=[row])
        found = zip(rows[0].tolist(), scores[0].tolist())
        return [Neighbour(self.ids[r], s) for r, s in found if r >= 0]

    def search(
        self, queries: npt.ArrayLike, k: int, exclude: npt.ArrayLike | None = None
    ) -> tuple[Vectors, Rows]:
        """The best `k` rows for each query, best first, equal scores in row order.

        Args:
            queries: [M, D].
            k: at least 1; at most N columns come back.
            exclude: [M], the row each query must not find, or -1 for none.

        Returns:
            scores float32 [M, min(k, N)] and rows int64 of the same shape. Where exclusion leaves
            too few rows, the last row is -1 and its score -inf.
        """
        wanted = as_vectors(queries, "queries")
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        if wanted.shape[1] != self.vectors.shape[1]:
            raise StorageError(
                f"queries have {wanted.shape[1]} dimensions and the index "
                f"{self.vectors.shape[1]}, but both must come from one model; embed them again."
            )
        skip = np.full(len(wanted), -1, dtype=np.int64)
        if exclude is not None:
            skip[:] = np.asarray(exclude, dtype=np.int64)
        width = min(k, len(self))
        scores = np.full((len(wanted), width), -np.inf, dtype=np.float32)
        rows = np.full((len(wanted), width), -1, dtype=np.int64)
        if width == 0:
            return scores, rows
        candidates = width + 1 + _SPARE_CANDIDATES
        if candidates < len(self) // 2:
            size = max(1, _GATHER_BYTES // (8 * candidates * wanted.shape[1]))
            for start, stop in blocks(len(wanted), size):
                part = slice(start, stop)
                found = self._by_candidates(wanted[part], skip[part], width, candidates)
                scores[part], rows[part], sure = found
                open_ = start + np.flatnonzero(~sure)
                scores[open_], rows[open_] = self._by_all(wanted[open_], skip[open_], width)
        else:
            scores[:], rows[:] = self._by_all(wanted, skip, width)
        return scores, rows

    def _by_candidates(
        self, queries: Vectors, skip: Rows, width: int, candidates: int
    ) -> tuple[Vectors, Rows, npt.NDArray[np.bool_]]:
        import faiss

        rough, rows = faiss.knn(
            queries, self.vectors, candidates, metric=faiss.METRIC_INNER_PRODUCT
        )
        gathered = self.vectors[rows].astype(np.float64)  # [m, C, D]
        scores = np.matmul(gathered, queries.astype(np.float64)[:, :, None])[:, :, 0]
        scores = scores.astype(np.float32)
        scores[rows == skip[:, None]] = -np.inf
        order = np.lexsort((rows, -scores), axis=1)[:, :width]
        best = np.take_along_axis(scores, order, axis=1)
        # A row that FAISS left out scores at most its last candidate, give or take float32 error.
        reach = rough[:, -1] + _FLOAT32_ERROR * self._longest * np.sqrt(_squared_lengths(queries))
        sure: npt.NDArray[np.bool_] = best[:, -1] > reach
        return best, np.take_along_axis(rows, order, axis=1), sure

    def _by_all(self, queries: Vectors, skip: Rows, width: int) -> tuple[Vectors, Rows]:
        best = np.empty((len(queries), width), dtype=np.float32)
        rows = np.empty((len(queries), width), dtype=np.int64)
        for start, stop in blocks(len(queries), queries_at_once(len(self))):
            scores = inner_products(queries[start:stop], self.vectors)
            left_out = np.flatnonzero(skip[start:stop] >= 0)
            scores[left_out, skip[start:stop][left_out]] = -np.inf
            order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
            best[start:stop] = np.take_along_axis(scores, order, axis=1)
            rows[start:stop] = order
        rows[np.isneginf(best)] = -1
        return best, rows


def _squared_lengths(vectors: Vectors) -> npt.NDArray[np.float64]:
    lengths: npt.NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return lengths


# -- diversity -------------------------------------------------------------------------------------
# Maximal marginal relevance: neighbours that are near the query and not all alike.
#
# Carbonell & Goldstein, "The use of MMR" (SIGIR 1998): the next choice is the candidate that
# maximises r · score(query, c) - (1 - r) · max over chosen s of score(c, s). At r = 1 it is the
# plain order.

_BYTES = 64 * 2**20


def diversify(
    scores: Vectors, rows: Rows, vectors: Vectors, k: int, relevance: float
) -> tuple[Vectors, Rows]:
    """Choose `k` of C candidates for each of n queries.

    Args:
        scores: [n, C] of the candidates, best first; -inf where there is none.
        rows: [n, C] their rows in `vectors`.
        vectors: [N, D].
        k: how many to choose; `relevance` is r above.

    Returns:
        The scores [n, min(k, C)] and rows of the chosen, in the order of choice; the scores are
        those of the candidates, without the penalty.
    """
    width = min(k, rows.shape[1])
    chosen = np.empty((len(rows), width), dtype=np.int64)
    memory = 4 * rows.shape[1] * (rows.shape[1] + vectors.shape[1])
    for start, stop in blocks(len(rows), max(1, _BYTES // max(1, memory))):
        gathered = vectors[rows[start:stop]]  # [n, C, D]; -1 reads any row, and is never chosen
        alike = gathered @ gathered.transpose(0, 2, 1)  # [n, C, C]
        chosen[start:stop] = _choose(scores[start:stop], alike, width, relevance)
    return np.take_along_axis(scores, chosen, axis=1), np.take_along_axis(rows, chosen, axis=1)


def _choose(scores: Vectors, alike: Vectors, width: int, relevance: float) -> Rows:
    index = np.arange(len(scores))
    chosen = np.empty((len(scores), width), dtype=np.int64)
    wanted = relevance * scores
    nearest = np.full(scores.shape, -np.inf, dtype=np.float32)
    gain = wanted
    for step in range(width):
        pick = np.argmax(gain, axis=1)
        # absent candidates stand at the end, and are taken where no others are left
        pick = np.where(np.isneginf(gain[index, pick]), scores.shape[1] - 1, pick)
        chosen[:, step] = pick
        wanted[index, pick] = -np.inf
        nearest = np.maximum(nearest, alike[index, pick])
        gain = wanted - (1 - relevance) * nearest
    return chosen

"""Exact top-k by inner product: the judge of every approximate index, and the server of small ones.

Float32 products propose, and all rows that their rounding could have cost a place are scored again
by the definition (`scores.py`): the answer is the true top-k with ties in row order, always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tgqformer.errors import StorageError
from tgqformer.retrieval.scores import (
    Rows,
    Vectors,
    as_vectors,
    blocks,
    checked_queries,
    lengths,
    products,
    ranked,
    rounding,
)

_SCORE_BYTES = 2**27


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
        self._longest = float(np.max(lengths(self.vectors), initial=0.0))

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
        wanted = checked_queries(queries, k, self.vectors.shape[1], "index")
        skip = np.full(len(wanted), -1, dtype=np.int64)
        if exclude is not None:
            skip[:] = np.asarray(exclude, dtype=np.int64)

        def leave_out(rough: Vectors, start: int) -> None:
            own = skip[start : start + len(rough)]
            known = np.flatnonzero(own >= 0)
            rough[known, own[known]] = -np.inf

        return exact_top(wanted, self.vectors, min(k, len(self)), self._longest, leave_out)


def exact_top(
    queries: Vectors,
    vectors: Vectors,
    k: int,
    longest: float,
    leave_out: Callable[[Vectors, int], None],
) -> tuple[Vectors, Rows]:
    """The best `k` of `vectors` [N, D] for each of `queries` [M, D]; see `ExactIndex.search`.

    Args:
        longest: length of the longest vector, at least.
        leave_out: sets to -inf what is left out, in scores [m, N] of the queries from one on.
    """
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    if not k:
        return best, rows
    at_once = max(1, _SCORE_BYTES // (4 * len(vectors)))
    memory = np.empty((min(at_once, len(queries)), len(vectors)), dtype=np.float32)
    lost = rounding(queries, longest)
    for start, stop in blocks(len(queries), at_once):
        part, rough = queries[start:stop], memory[: stop - start]
        products(part, lambda first, last: vectors[first:last], rough)
        leave_out(rough, start)
        found = ranked(part, rough, k, lost[start:stop], lambda near: vectors[near])
        for row, (near, scores) in enumerate(found, start):
            width = min(k, len(near))
            best[row, :width], rows[row, :width] = scores[:width], near[:width]
    return best, rows


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

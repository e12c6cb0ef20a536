"""Maximal marginal relevance: neighbours that are near the query and not all alike.

Carbonell & Goldstein, "The use of MMR" (SIGIR 1998): the next choice is the candidate that
maximises r · score(query, c) - (1 - r) · max over chosen s of score(c, s). At r = 1 it is the plain
order.
"""

from __future__ import annotations

import numpy as np

from tgqformer.retrieval.scores import Rows, Vectors, blocks

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

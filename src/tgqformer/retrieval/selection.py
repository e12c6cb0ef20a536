"""Picking the largest scores of each row without sorting or partitioning it whole."""

from __future__ import annotations

import numpy as np

from tgqformer.retrieval.scores import Rows, Vectors

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

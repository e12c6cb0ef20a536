"""Lists of the best seen so far, one for each of many rows, that are fed in any order.

Each row has a bound, and only scores above it are taken. A list that is full keeps its best and
raises the bound to the lowest of them. So a list holds, at any time, every score above its bound
that was ever offered: nothing is compared twice, and memory is that of the lists.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tgqformer.retrieval.scores import Rows, Vectors


class Candidates:
    """The best `wanted` of each of `count` rows, at least.

    Args:
        count: rows.
        wanted: scores that a full list keeps; it has room for half as many again.

    Attributes:
        bounds: float32 [count]; a score that is not above its row's bound is of no interest.
            A caller may raise them before the first `add`, and owes the check then: `take` may
            give fewer than are wanted.
    """

    def __init__(self, count: int, wanted: int) -> None:
        self.wanted, self.room = wanted, room(wanted)
        self.bounds: Vectors = np.full(count, -np.inf, dtype=np.float32)
        self._scores: Vectors = np.full((count, self.room), -np.inf, dtype=np.float32)
        self._places = np.full((count, self.room), -1, dtype=np.int32)
        self._filled = np.zeros(count, dtype=np.int32)

    def add(self, rows: Rows, places: Rows, scores: Vectors) -> None:
        """Put each score, of the thing at `places`, into the list of its row; [n] all three.

        Those that share a row stand together. Threads may add at once if their rows differ.
        """
        while len(rows):
            first = np.flatnonzero(np.diff(rows, prepend=-1))  # of each row's own
            counts = np.diff(first, append=len(rows))
            slots = np.arange(len(rows)) + np.repeat(self._filled[rows[first]] - first, counts)
            fits = slots < self.room
            at = rows[fits] * self.room + slots[fits]
            self._scores.reshape(-1)[at] = scores[fits]
            self._places.reshape(-1)[at] = places[fits]
            self._filled[rows[first]] = np.minimum(self._filled[rows[first]] + counts, self.room)
            if fits.all():
                return
            rows, places, scores = rows[~fits], places[~fits], scores[~fits]
            self._thin(np.unique(rows))
            above = scores > self.bounds[rows]
            rows, places, scores = rows[above], places[above], scores[above]

    def take(self, start: int, stop: int) -> tuple[Vectors, Rows, Vectors]:
        """The lists of a stretch of rows.

        Returns:
            scores [n, wanted] and places [n, wanted], in no order, -inf and -1 where a list is
            short; and [n] what a score that is not among them is at most.
        """
        rows = np.arange(start, stop, dtype=np.int64)
        self._thin(rows[self._filled[start:stop] > self.wanted])
        part = slice(start, stop)
        found = self._places[part, : self.wanted].astype(np.int64)
        return self._scores[part, : self.wanted].copy(), found, self.bounds[part].copy()

    def _thin(self, rows: Rows) -> None:
        """Keep the best of each list and raise its bound to the lowest of them."""
        scores = self._scores[rows]
        best = np.argpartition(scores, self.room - self.wanted, axis=1)[:, -self.wanted :]
        kept = np.take_along_axis(scores, best, axis=1)
        self._scores[rows, : self.wanted] = kept
        self._scores[rows, self.wanted :] = -np.inf
        self._places[rows, : self.wanted] = np.take_along_axis(self._places[rows], best, axis=1)
        self._filled[rows] = self.wanted
        self.bounds[rows] = kept.min(axis=1)


def room(wanted: int) -> int:
    """Places in a list that keeps `wanted`."""
    return wanted + max(32, wanted // 2)


def bytes_of_a_list(wanted: int) -> int:
    return room(wanted) * (np.dtype(np.float32).itemsize + np.dtype(np.int32).itemsize)


def likely_bounds(scores: Vectors, wanted: int, of: int) -> npt.NDArray[np.float32]:
    """Bounds that some `wanted` or more of a row's scores exceed, judged by a sample of them.

    Args:
        scores: [n, sampled] scores of things drawn at random from `of`.

    Returns:
        [n]: the `m`-th largest of each row. Of the `wanted` best, a Poisson number of mean
        `wanted * sampled / of` is in the sample; `m` lies four deviations and two above it, so
        that few bounds in a hundred thousand are too high. -inf where the sample is too small.
    """
    count, sampled = scores.shape
    expected = wanted * sampled / max(1, of)
    place = int(np.ceil(expected + 4 * np.sqrt(expected) + 2))
    if place > sampled:
        return np.full(count, -np.inf, dtype=np.float32)
    bounds: Vectors = np.partition(scores, sampled - place, axis=1)[:, sampled - place]
    return bounds

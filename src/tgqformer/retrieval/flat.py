"""The flat index: all of a store's vectors in memory, searched without approximation, the judge.

It takes changes in one by one: a new item fills the next row, a deleted one's row is filled by the
last. Answers do not tell the difference, since equal scores come in the order of ids. A float32
product scores every row; those that its rounding could have cost a place are scored again by the
definition (`scores.py`), all that tie among them. So an answer is that of a scan.

At precision int8 a row keeps its direction only (see quantize.py) in a quarter of the memory, and
the answers are exact for what is kept; queries stay float32.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.protocols import (
    SEPARATOR,
    Filter,
    MirrorPrecision,
)
from tgqformer.retrieval.scores import (
    Rows,
    Vectors,
    as_vectors,
    blocks,
    from_int8,
    inner_products,
    to_int8,
    top,
)
from tgqformer.retrieval.store import Columns

_TILE = 2**18  # values in one product for a single query: no BLAS starts threads for so few
_TILE_ROWS = 4096  # of products for more queries
_SCORE_BYTES = 2**26
_GATHER = 4  # a filter that admits less than one in so many rows has them copied out
_LEVEL_ENDS = re.compile(rf"(?={re.escape(SEPARATOR)}|\Z)")  # looks ahead: separators may overlap
_LISTS = 4  # sorted lists of ids that are kept
ANN_FROM = 50_000  # items; below, an exact search is as fast
_TAKEN_IN = 256  # rows written since, to add them to an ANN index
_REBUILT = 5  # or one in so many of its rows gone, to build another
_SAVED = 1.1  # growth of an ANN index at which its file is written again


class _Texts:
    """Texts of few different values, as numbers."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def codes(self, texts: Sequence[str]) -> list[int]:
        return [self._code.setdefault(text, len(self._code)) for text in texts]

    def among(self, codes: Rows, admits: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
        wanted = np.array([admits(text) for text in self._code], dtype=np.bool_)
        return wanted[codes] if len(codes) else np.zeros(0, dtype=np.bool_)


class FlatIndex:
    """Vectors [N, dims] in memory, empty at first. Threads may share it."""

    def __init__(self, dims: int, precision: MirrorPrecision = "float32") -> None:
        if precision not in ("float32", "int8"):
            raise ConfigError(f"precision is {precision!r}, but must be 'float32' or 'int8'.")
        self.dims = dims
        self.precision = precision
        self.lock = threading.RLock()
        self._ids: list[str] = []
        self._row: dict[str, int] = {}
        self._brands, self._categories = _Texts(), _Texts()
        self._longest = 0.0
        self._scores: Vectors = np.empty(0, dtype=np.float32)  # fresh pages would cost a fifth
        self._tile: Vectors = np.empty((0, dims), dtype=np.float32)
        kind = np.float32 if precision == "float32" else np.int8
        self._columns: dict[str, npt.NDArray[Any]] = {
            "vector": np.empty((0, dims), dtype=kind),
            "shrink": np.empty(0, dtype=np.float32),  # 1 / length of int8 codes
            "seq": np.empty(0, dtype=np.int64),
            "brand": np.empty(0, dtype=np.int32),
            "category": np.empty(0, dtype=np.int32),
            "price": np.empty(0, dtype=np.float64),  # NaN: unknown
            "stock": np.empty(0, dtype=np.int8),  # -1: unknown
        }

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row

    @property
    def bytes(self) -> int:
        """Memory of the vectors and their columns, room for growth included."""
        return sum(int(column.nbytes) for column in self._columns.values())

    def ids(self) -> list[str]:
        """The ids, sorted."""
        with self.lock:
            return sorted(self._ids)

    def seqs(self) -> Rows:
        """The rows' sequence numbers, ascending."""
        with self.lock:
            return np.sort(self._columns["seq"][: len(self)])

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of `ids` that are here, and their vectors as they are searched: [n, dims]."""
        with self.lock:
            here = [item_id for item_id in ids if item_id in self._row]
            return here, self._gather(np.array([self._row[i] for i in here], dtype=np.int64))

    def numbered(self, seqs: Rows) -> tuple[list[str], Rows, Vectors]:
        """Ids, numbers and vectors of the rows that still have one of ascending `seqs`."""
        with self.lock:
            own = self._columns["seq"][: len(self)]
            rows = np.flatnonzero(np.isin(own, seqs, assume_unique=True))
            rows = rows[np.argsort(own[rows])]
            return [self._ids[row] for row in rows.tolist()], own[rows], self._gather(rows)

    def current(self, ids: Sequence[str]) -> tuple[list[str], Rows, Vectors]:
        """Those of `ids` that are here, their numbers and vectors."""
        with self.lock:
            here, vectors = self.vectors(ids)
            rows = [self._row[item_id] for item_id in here]
            return here, self._columns["seq"][rows], vectors

    def newer(self, last: int) -> tuple[list[str], Rows]:
        """Ids and numbers of the rows above a number, ascending."""
        with self.lock:
            own = self._columns["seq"][: len(self)]
            rows = np.flatnonzero(own > last)
            rows = rows[np.argsort(own[rows])]
            return [self._ids[row] for row in rows.tolist()], own[rows]

    def put(self, rows: Columns, room: int = 0) -> None:
        """Insert or replace rows.

        Args:
            room: rows to expect in all, so that memory is taken once.
        """
        with self.lock:
            new = [item_id for item_id in rows.ids if item_id not in self._row]
            have, needed = len(self._columns["seq"]), len(self._ids) + len(new)
            if needed > have or room > have:
                self._reserve(max(needed, room, 0 if room else have * 5 // 4, 64))
            for item_id in new:
                self._row[item_id] = len(self._ids)
                self._ids.append(item_id)
            at = np.array([self._row[item_id] for item_id in rows.ids], dtype=np.int64)
            column = self._columns
            column["seq"][at] = rows.seqs
            column["brand"][at] = self._brands.codes(rows.brands)
            column["category"][at] = self._categories.codes(rows.categories)
            column["price"][at] = [np.nan if price is None else price for price in rows.prices]
            column["stock"][at] = [-1 if stock is None else stock for stock in rows.stock]
            stored: npt.NDArray[Any] = rows.vectors
            if self.precision == "int8":
                stored = to_int8(rows.vectors)
            lengths = np.linalg.norm(stored.astype(np.float32, copy=False), axis=1)
            column["vector"][at] = stored
            column["shrink"][at] = 1 / np.maximum(lengths, 1)
            own = 1.0 if self.precision == "int8" else float(np.max(lengths, initial=0.0))
            self._longest = max(self._longest, own)

    def drop(self, ids: Iterable[str]) -> None:
        """Remove rows; ids that are not here are no error."""
        with self.lock:
            for item_id in ids:
                row = self._row.pop(item_id, None)
                if row is None:
                    continue
                last = len(self._ids) - 1
                if row != last:
                    for column in self._columns.values():
                        column[row] = column[last]
                    self._ids[row] = self._ids[last]
                    self._row[self._ids[row]] = row
                self._ids.pop()

    def admitted(self, where: Filter) -> Rows:
        """The rows that pass a filter, ascending."""
        with self.lock:
            column = {name: values[: len(self)] for name, values in self._columns.items()}
            mask = np.ones(len(self), dtype=np.bool_)
            if where.categories:
                categories = frozenset(where.categories)
                mask &= self._categories.among(
                    column["category"], lambda text: not categories.isdisjoint(_with_above(text))
                )
            if where.brands:
                brands = frozenset(where.brands)
                mask &= self._brands.among(column["brand"], lambda text: text in brands)
            if where.in_stock is not None:
                mask &= column["stock"] == where.in_stock
            # NaN, an unknown price, compares as false.
            if where.min_price is not None:
                mask &= column["price"] >= where.min_price
            if where.max_price is not None:
                mask &= column["price"] <= where.max_price
            return np.flatnonzero(mask)

    def passing(self, where: Filter) -> list[str]:
        """Ids of the rows that pass a filter, sorted."""
        with self.lock:
            return sorted(self._ids[row] for row in self.admitted(where).tolist())

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        where: Filter | None = None,
        exclude: Sequence[str | None] | None = None,
    ) -> list[list[Neighbour]]:
        """For each query the `k` best, fewer where there are no more; equal scores in id order.

        Args:
            queries: [M, dims].
            where: which items may answer.
            exclude: [M], an id that each query must not find, or None.

        Raises:
            StorageError: queries do not fit.
            ConfigError: k is less than 1.
        """
        wanted = self.checked(queries, k)
        skipped = list(exclude) if exclude is not None else [None] * len(wanted)
        found: list[list[Neighbour]] = []
        with self.lock:
            rows = self.admitted(where) if where else None
            count = len(self) if rows is None else len(rows)
            at_once = max(1, _SCORE_BYTES // (4 * max(1, len(self))))
            for start, stop in blocks(len(wanted), at_once):
                part = wanted[start:stop]
                rough = self._rough(part, rows)
                if k + 1 < count:
                    best = top(rough, k + 1)
                    floor = np.take_along_axis(rough, best, axis=1).min(axis=1)
                    # k + 1 rows score `floor` but for rounding, so none below both can be wanted.
                    floor -= 2 * self._rounding(part)
                else:
                    floor = np.full(len(part), -np.inf, dtype=np.float32)
                for query, scores, least, skip in zip(part, rough, floor, skipped[start:stop]):
                    near = np.flatnonzero(scores >= least)
                    found.append(self._best(query, near if rows is None else rows[near], k, skip))
        return found

    def judge(
        self, query: Vectors, k: int, candidates: Iterable[str], exclude: str | None = None
    ) -> list[Neighbour]:
        """The `k` best of the candidates that somebody proposes for a query [D], by exact score."""
        with self.lock:
            rows = [self._row[item_id] for item_id in candidates if item_id in self._row]
            return self._best(query, np.array(rows, dtype=np.int64), k, exclude)

    def checked(self, queries: npt.ArrayLike, k: int) -> Vectors:
        """Queries as float32 [M, dims]; ConfigError or StorageError where they do not fit."""
        wanted = as_vectors(queries, "queries")
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        if wanted.shape[1] != self.dims:
            raise StorageError(
                f"queries have {wanted.shape[1]} dimensions and the store {self.dims}, but both "
                "must come from one model; embed them again."
            )
        return wanted

    def _rough(self, queries: Vectors, rows: Rows | None) -> Vectors:
        """Scores [M, n] of all rows, or of those given, as float32 adds them up."""
        every = rows is None or _GATHER * len(rows) > len(self)
        count = len(self) if rows is None or every else len(rows)
        if self._scores.size < len(queries) * count:
            self._scores = np.empty(len(queries) * count, dtype=np.float32)
        scores = self._scores[: len(queries) * count].reshape(len(queries), count)
        size = _TILE_ROWS if len(queries) > 1 else max(1, _TILE // self.dims)
        stored, shrink = self._columns["vector"], self._columns["shrink"]
        for start, stop in blocks(count, size):
            part = slice(start, stop) if rows is None or every else rows[start:stop]
            tile = stored[part]
            if self.precision == "int8":
                if len(self._tile) < len(tile):
                    self._tile = np.empty((size, self.dims), dtype=np.float32)
                codes, tile = tile, self._tile[: len(tile)]
                np.copyto(tile, codes)
            np.matmul(queries, tile.T, out=scores[:, start:stop])
            if self.precision == "int8":
                scores[:, start:stop] *= shrink[part]
        if rows is None or not every:
            return scores
        admitted: Vectors = scores[:, rows]
        return admitted

    def _rounding(self, queries: Vectors) -> Vectors:
        """What a float32 sum of `dims` products is off by at most, [M]."""
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        lost: Vectors = (lengths * self._longest * (self.dims + 8) * 2.0**-24).astype(np.float32)
        return lost + np.float32(1e-30)

    def _best(self, query: Vectors, rows: Rows, k: int, skip: str | None) -> list[Neighbour]:
        """The `k` best of some rows, equal scores in id order."""
        scores = np.empty(len(rows), dtype=np.float32)
        for start, stop in blocks(len(rows), _TILE_ROWS):
            part = rows[start:stop]
            scores[start:stop] = inner_products(query[None], self._gather(part))[0]
        own = -1 if skip is None else self._row.get(skip, -1)
        if own >= 0:
            others = rows != own
            scores, rows = scores[others], rows[others]
        if len(scores) > k:
            # All that tie with the k-th must stay for their ids to be compared.
            last = np.partition(scores, len(scores) - k)[len(scores) - k]
            scores, rows = scores[scores >= last], rows[scores >= last]
        named = [Neighbour(self._ids[r], s) for r, s in zip(rows.tolist(), scores.tolist())]
        return sorted(named, key=lambda n: (-n.score, n.item_id))[:k]

    def _gather(self, rows: Rows) -> Vectors:
        stored = self._columns["vector"][rows]
        return from_int8(stored) if self.precision == "int8" else stored

    def _reserve(self, capacity: int) -> None:
        for name, column in self._columns.items():
            larger = np.empty((capacity, *column.shape[1:]), dtype=column.dtype)
            larger[: len(self)] = column[: len(self)]
            self._columns[name] = larger


def _with_above(category: str) -> list[str]:
    """All that `is_below` finds a category below: itself, and what stands before a separator."""
    return [category[: end.start()] for end in _LEVEL_ENDS.finditer(category)]

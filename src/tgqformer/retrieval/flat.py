"""The flat index: all of a store's vectors in memory, searched without approximation, the judge.

It takes changes in one by one: a new item fills the next row, a deleted one's row is filled by the
last. Answers do not tell the difference, since equal scores come in the order of ids. Rough scores
propose, and the definition decides (`scores.py`), so an answer is that of a scan.

At precision int8 a row keeps its direction only (`to_int8`) in a quarter of the memory, and the
answers are exact for what is kept; queries stay float32. A single query is scored by SimSIMD, in a
third of the time of float32: it is rounded to two digits of eight bits, whose products with int8
codes are exact, and what the rounding may have cost is made good like that of float32. Several
queries share the work of turning the codes to float32.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.protocols import SEPARATOR, Filter, MirrorPrecision
from tgqformer.retrieval.scores import (
    Rows,
    Vectors,
    blocks,
    checked_queries,
    from_int8,
    lengths,
    products,
    ranked,
    rounding,
    settled,
    to_int8,
)
from tgqformer.retrieval.store import Columns

_SCORE_BYTES = 2**26
_GATHER = 4  # a filter that admits less than one in so many rows has them copied out
_LEVEL_ENDS = re.compile(rf"(?={re.escape(SEPARATOR)}|\Z)")  # looks ahead: separators may overlap
_INT8_ROWS = 1024  # scored at once: they stay in the cache
_DIGIT = 254  # of a rounded query's first digit, in units of its second


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
        self._floats: Vectors = np.empty((0, dims), dtype=np.float32)
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

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of `ids` that are here, and their vectors as they are searched: [n, dims]."""
        with self.lock:
            here = [item_id for item_id in ids if item_id in self._row]
            return here, self._gather(np.array([self._row[i] for i in here], dtype=np.int64))

    def numbered(self, seqs: Rows) -> tuple[list[str], Rows, Vectors]:
        """Ids, numbers and vectors of the rows that still have one of ascending `seqs`."""
        with self.lock:
            own = self._columns["seq"][: len(self)]
            ids, rows = self._in_order(np.isin(own, seqs, assume_unique=True))
            return ids, own[rows], self._gather(rows)

    def newer(self, last: int) -> tuple[list[str], Rows]:
        """Ids and numbers of the rows above a number, ascending."""
        with self.lock:
            own = self._columns["seq"][: len(self)]
            ids, rows = self._in_order(own > last)
            return ids, own[rows]

    def _in_order(self, chosen: npt.NDArray[np.bool_]) -> tuple[list[str], Rows]:
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(self._columns["seq"][rows])]
        return [self._ids[row] for row in rows.tolist()], rows

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
            long = lengths(stored)
            column["vector"][at] = stored
            column["shrink"][at] = 1 / np.maximum(long, 1)
            own = 1.0 if self.precision == "int8" else float(np.max(long, initial=0.0))
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
        wanted = checked_queries(queries, k, self.dims)
        skipped = list(exclude) if exclude is not None else [None] * len(wanted)
        found: list[list[Neighbour]] = []
        with self.lock:
            rows = self.admitted(where) if where else None
            at_once = max(1, _SCORE_BYTES // (4 * max(1, len(self))))
            for start, stop in blocks(len(wanted), at_once):
                part = wanted[start:stop]
                rough, lost = self._rough(part, rows)
                lines = ranked(part, rough, k + 1, lost, lambda near: self._gather(near, rows))
                for skip, (near, scores) in zip(skipped[start:stop], lines):
                    found.append(self._best(near if rows is None else rows[near], scores, k, skip))
        return found

    def judge(
        self, query: Vectors, k: int, candidates: Iterable[str], exclude: str | None = None
    ) -> list[Neighbour]:
        """The `k` best of the candidates that somebody proposes for a query [D], by exact score."""
        with self.lock:
            rows = np.array([self._row[i] for i in candidates if i in self._row], dtype=np.int64)
            (line,) = settled(query[None], np.zeros(len(rows), np.int64), rows, self._gather)
            return self._best(*line, k, exclude)

    def _rough(
        self, queries: Vectors, rows: Rows | None
    ) -> tuple[Vectors, npt.NDArray[np.float64]]:
        """Scores [M, n] of all rows, or of those given, and what they are off by at most [M]."""
        copied = rows is not None and _GATHER * len(rows) <= len(self)
        count = len(rows) if rows is not None and copied else len(self)
        if self._scores.size < len(queries) * count:
            self._scores = np.empty(len(queries) * count, dtype=np.float32)
        scores = self._scores[: len(queries) * count].reshape(len(queries), count)
        stored, lost = self._columns["vector"], rounding(queries, self._longest)

        def part(start: int, stop: int) -> Any:
            return rows[start:stop] if rows is not None and copied else slice(start, stop)

        if self.precision == "float32":
            products(queries, lambda a, b: stored[part(a, b)], scores)
        else:
            if len(queries) == 1:
                lost += _int8_products(queries[0], lambda a, b: stored[part(a, b)], scores[0])
            else:
                products(queries, lambda a, b: self._tile(stored[part(a, b)]), scores, _INT8_ROWS)
            scores *= self._columns["shrink"][part(0, count)]
        if rows is None or copied:
            return scores, lost
        admitted: Vectors = scores[:, rows]
        return admitted, lost

    def _tile(self, codes: npt.NDArray[Any]) -> Vectors:
        """Codes as float32, in the same memory each time."""
        if len(self._floats) < len(codes):
            self._floats = np.empty(codes.shape, dtype=np.float32)
        tile = self._floats[: len(codes)]
        np.copyto(tile, codes)
        return tile

    def _best(self, rows: Rows, scores: Vectors, k: int, skip: str | None) -> list[Neighbour]:
        """The `k` best of rows that come best first, equal scores in id order."""
        own = -1 if skip is None else self._row.get(skip, -1)
        others = rows != own
        rows, scores = rows[others], scores[others]
        # All that tie with the k-th stay for their ids to be compared.
        reach = len(rows) if len(rows) <= k else np.searchsorted(-scores, -scores[k - 1], "right")
        named = [Neighbour(self._ids[r], s) for r, s in zip(rows.tolist(), scores[:reach].tolist())]
        return sorted(named, key=lambda n: (-n.score, n.item_id))[:k]

    def _gather(self, rows: Rows, among: Rows | None = None) -> Vectors:
        stored = self._columns["vector"][rows if among is None else among[rows]]
        return from_int8(stored) if self.precision == "int8" else stored

    def _reserve(self, capacity: int) -> None:
        for name, column in self._columns.items():
            larger = np.empty((capacity, *column.shape[1:]), dtype=column.dtype)
            larger[: len(self)] = column[: len(self)]
            self._columns[name] = larger


def _with_above(category: str) -> list[str]:
    """All that `is_below` finds a category below: itself, and what stands before a separator."""
    return [category[: end.start()] for end in _LEVEL_ENDS.finditer(category)]


def _int8_products(query: Vectors, tile: Callable[[int, int], Any], out: Vectors) -> float:
    """Fill `out` [N] with the products of a query [D] and codes [N, D].

    Returns:
        What a product is off by at most, for each unit of the code's length.
    """
    from simsimd import cdist

    whole = query.astype(np.float64)
    step = float(np.abs(whole).max()) / 127 or 1.0
    first = np.rint(whole / step)
    second = np.rint((whole / step - first) * _DIGIT)
    digits = np.stack([first, second]).astype(np.int8)
    for start, stop in blocks(len(out), _INT8_ROWS):
        high, low = np.asarray(cdist(digits, tile(start, stop), "dot"))
        out[start:stop] = step * (high + low / _DIGIT)
    return float(np.linalg.norm(whole - step * (first + second / _DIGIT)))

"""The exact mirror: all of a store's vectors in memory, searched without approximation.

It takes changes in one by one and never has to be rebuilt: a new item fills the next row, a deleted
one's row is filled by the last. Its answers do not tell the difference, since equal scores come in
the order of ids, not of rows. Candidates come from FAISS's flat search, block by block; they are
scored again by `scores.py`, and where a tie or float32's error could have cost one, every row is.

At precision int8 a row keeps its direction only (see quantize.py) in a quarter of the memory, and
the answers are exact for what is kept; queries stay float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.columns import MetadataColumns, grown
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.filters import Filter
from tgqformer.retrieval.locks import SharedLock
from tgqformer.retrieval.quantize import from_int8, to_int8
from tgqformer.retrieval.rows import StoredRows
from tgqformer.retrieval.scores import Rows, Vectors, as_vectors, blocks, inner_products

MirrorPrecision = Literal["float32", "int8"]

_SPARE_CANDIDATES = 16
_QUERIES_AT_ONCE = 256
_ROWS_AT_ONCE = 32_768
_GATHER_BYTES = 64 * 2**20
# FAISS sums in float32: a bound on its error, relative to the product of the two lengths.
_FLOAT32_ERROR = 1e-5


class ExactMirror:
    """Vectors [N, dims] in memory, empty at first. Threads may search while one changes it."""

    def __init__(self, dims: int, precision: MirrorPrecision = "float32") -> None:
        if precision not in ("float32", "int8"):
            raise ConfigError(f"precision is {precision!r}, but must be 'float32' or 'int8'.")
        self.dims = dims
        self.precision = precision
        self._lock = SharedLock()
        self._ids: list[str] = []
        self._row: dict[str, int] = {}
        kind = np.float32 if precision == "float32" else np.int8
        self._stored: npt.NDArray[Any] = np.empty((0, dims), dtype=kind)
        self._shrink = np.empty(0, dtype=np.float32)  # 1 / length of each row of codes
        self._columns = MetadataColumns()
        self._longest = 0.0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row

    @property
    def bytes(self) -> int:
        """Memory of the vectors, room for growth included."""
        return int(self._stored.nbytes)

    def ids(self) -> list[str]:
        """The ids, sorted."""
        with self._lock.reading():
            return sorted(self._ids)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Vectors of `ids` as they are searched: float32 [n, dims]; StorageError for no such id."""
        with self._lock.reading():
            return self._gather(np.array([self._known(i) for i in ids], dtype=np.int64))

    def present(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of `ids` that are here, and their vectors as they are searched."""
        with self._lock.reading():
            here = [item_id for item_id in ids if item_id in self._row]
            rows = [self._row[item_id] for item_id in here]
            return here, self._gather(np.array(rows, dtype=np.int64))

    def update(
        self, put: Iterable[StoredRows] = (), drop: Iterable[str] = (), room: int = 0
    ) -> None:
        """Take changes in, all at once for those who search: first `put`, then `drop`.

        Args:
            room: rows to expect in all, so that memory is taken once.
        """
        with self._lock.writing():
            self._reserve(room)
            for rows in put:
                self._put(rows)
            for item_id in drop:
                self._drop(item_id)

    def keep(self, ids: Iterable[str]) -> None:
        """Drop everything but `ids`."""
        wanted = set(ids)
        self.update(drop=[item_id for item_id in self._ids if item_id not in wanted])

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
        wanted = self._queries(queries, k)
        with self._lock.reading():
            admitted = self._columns.admitted(where, len(self)) if where else None
            skip = np.full(len(wanted), -1, dtype=np.int64)
            for position, item_id in enumerate(exclude or ()):
                skip[position] = self._row.get(item_id, -1) if item_id is not None else -1
            found: list[list[Neighbour]] = []
            size = len(self) if admitted is None else len(admitted)
            candidates = k + 1 + _SPARE_CANDIDATES
            at_once = max(1, min(_QUERIES_AT_ONCE, _GATHER_BYTES // (8 * candidates * self.dims)))
            for start, stop in blocks(len(wanted), at_once):
                part = slice(start, stop)
                if candidates < size // 2:
                    rough, rows = self._candidates(wanted[part], admitted, candidates)
                    found += self._judge(wanted[part], k, skip[part], rows, rough, admitted)
                else:
                    found += [
                        self._by_all(query, k, int(own), admitted)
                        for query, own in zip(wanted[part], skip[part])
                    ]
            return found

    def judge(
        self, queries: npt.ArrayLike, k: int, candidates: Sequence[Iterable[str]]
    ) -> list[list[Neighbour]]:
        """The `k` best of the candidates that somebody proposes for each query, exactly scored."""
        wanted = self._queries(queries, k)
        with self._lock.reading():
            found = []
            for query, ids in zip(wanted, candidates):
                rows = np.array([self._row[i] for i in ids if i in self._row], dtype=np.int64)
                found.append(self._best(self._scores(query, rows), rows, k))
            return found

    def _queries(self, queries: npt.ArrayLike, k: int) -> Vectors:
        wanted = as_vectors(queries, "queries")
        if k < 1:
            raise ConfigError(f"k is {k}, but must be at least 1.")
        if wanted.shape[1] != self.dims:
            raise StorageError(
                f"queries have {wanted.shape[1]} dimensions and the store {self.dims}, but both "
                "must come from one model; embed them again."
            )
        return wanted

    def _candidates(
        self, queries: Vectors, admitted: Rows | None, count: int
    ) -> tuple[Vectors, Rows]:
        """FAISS's best `count` rows [M, count] and their rough scores, best first."""
        import faiss

        best = np.full((len(queries), count), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), count), -1, dtype=np.int64)
        for numbers, block in self._blocks(admitted, rough=True):
            width = min(count, len(block))
            rough, found = faiss.knn(queries, block, width, metric=faiss.METRIC_INNER_PRODUCT)
            if width == count and len(block) == (len(self) if admitted is None else len(admitted)):
                return rough, numbers[found]
            joined = np.concatenate([best, rough], axis=1)
            order = np.argsort(-joined, axis=1, kind="stable")[:, :count]
            best = np.take_along_axis(joined, order, axis=1)
            rows = np.take_along_axis(np.concatenate([rows, numbers[found]], axis=1), order, axis=1)
        return best, rows

    def _judge(
        self,
        queries: Vectors,
        k: int,
        skip: Rows,
        rows: Rows,
        rough: Vectors,
        admitted: Rows | None,
    ) -> list[list[Neighbour]]:
        gathered = self._gather(rows.reshape(-1)).reshape(*rows.shape, self.dims)
        wide = queries.astype(np.float64)
        exact = np.matmul(gathered.astype(np.float64), wide[:, :, None])[:, :, 0]
        scores = exact.astype(np.float32)
        lengths = np.linalg.norm(wide, axis=1)
        # A row that FAISS left out scores at most its last candidate, give or take float32 error.
        reach = rough[:, -1] + _FLOAT32_ERROR * self._longest * lengths
        found = []
        for position, query in enumerate(queries):
            others = rows[position] != skip[position]
            best = self._best(scores[position][others], rows[position][others], k)
            if best[-1].score <= reach[position]:
                best = self._by_all(query, k, int(skip[position]), admitted)
            found.append(best)
        return found

    def _by_all(self, query: Vectors, k: int, skip: int, admitted: Rows | None) -> list[Neighbour]:
        rows, parts = [], []
        for numbers, block in self._blocks(admitted):
            rows.append(numbers)
            parts.append(inner_products(query[None], block)[0])
        if not rows:
            return []
        numbers, scores = np.concatenate(rows), np.concatenate(parts)
        others = numbers != skip
        return self._best(scores[others], numbers[others], k)

    def _best(self, scores: Vectors, rows: Rows, k: int) -> list[Neighbour]:
        """The `k` best, equal scores in id order."""
        if len(scores) > k:
            # All that tie with the k-th must stay for their ids to be compared.
            last = np.partition(scores, len(scores) - k)[len(scores) - k]
            scores, rows = scores[scores >= last], rows[scores >= last]
        named = [Neighbour(self._ids[r], s) for r, s in zip(rows.tolist(), scores.tolist())]
        return sorted(named, key=lambda n: (-n.score, n.item_id))[:k]

    def _scores(self, query: Vectors, rows: Rows) -> Vectors:
        scores: Vectors = inner_products(query[None], self._gather(rows))[0]
        return scores

    def _blocks(
        self, admitted: Rows | None, *, rough: bool = False
    ) -> Iterator[tuple[Rows, Vectors]]:
        """Row numbers and float32 vectors, all at once where no copy is needed.

        Args:
            rough: int8 rows may be off by float32's rounding, which is faster.
        """
        count = len(self) if admitted is None else len(admitted)
        if admitted is None and self.precision == "float32":
            if count:
                yield np.arange(count, dtype=np.int64), self._stored[:count]
            return
        for start, stop in blocks(count, _ROWS_AT_ONCE):
            if admitted is None:
                numbers = np.arange(start, stop, dtype=np.int64)
            else:
                numbers = admitted[start:stop]
            if rough and self.precision == "int8":
                yield numbers, self._stored[numbers] * self._shrink[numbers, None]
            else:
                yield numbers, self._gather(numbers)

    def _gather(self, rows: Rows) -> Vectors:
        stored = self._stored[rows]
        if self.precision == "int8":
            return from_int8(stored)
        vectors: Vectors = stored
        return vectors

    def _known(self, item_id: str) -> int:
        try:
            return self._row[item_id]
        except KeyError:
            raise StorageError(
                f"no vector for item {item_id!r} among {len(self)}; check the id or upsert the "
                "item."
            ) from None

    def _reserve(self, capacity: int) -> None:
        self._stored = grown(self._stored, capacity)
        self._columns.reserve(capacity)
        if self.precision == "int8":
            self._shrink = grown(self._shrink, capacity)

    def _put(self, rows: StoredRows) -> None:
        new = [item_id for item_id in rows.ids if item_id not in self._row]
        needed = len(self._ids) + len(new)
        if needed > len(self._stored):
            self._reserve(max(needed, len(self._stored) * 5 // 4, 64))
        for item_id in new:
            self._row[item_id] = len(self._ids)
            self._ids.append(item_id)
        places = np.array([self._row[item_id] for item_id in rows.ids], dtype=np.int64)
        self._columns.put(places, rows.metadata)
        if self.precision == "int8":
            self._stored[places] = codes = to_int8(rows.vectors)
            lengths = np.linalg.norm(codes.astype(np.float32), axis=1)
            self._shrink[places] = 1 / np.maximum(lengths, 1)
            self._longest = 1.0
        else:
            self._stored[places] = rows.vectors
            lengths = np.linalg.norm(rows.vectors, axis=1)
            self._longest = max(self._longest, float(np.max(lengths, initial=0.0)))

    def _drop(self, item_id: str) -> None:
        row = self._row.pop(item_id, None)
        if row is None:
            return
        last = len(self._ids) - 1
        if row != last:
            self._stored[row] = self._stored[last]
            self._columns.move(last, row)
            if self.precision == "int8":
                self._shrink[row] = self._shrink[last]
            self._ids[row] = self._ids[last]
            self._row[self._ids[row]] = row
        self._ids.pop()

"""Search over a store: its folder, the flat index and, where there is one, the ANN index."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy.typing as npt

from tgqformer.cores import product_threads
from tgqformer.errors import StorageError
from tgqformer.retrieval.ann import AnnIndex, AnnKind, build_ann, open_ann, outdated, read_manifest
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.flat import FlatIndex
from tgqformer.retrieval.protocols import Filter, MirrorPrecision, VectorStore
from tgqformer.retrieval.scores import Vectors, checked_queries
from tgqformer.retrieval.sqlite import State
from tgqformer.retrieval.store import Columns, Store

_LISTS = 4  # sorted lists of ids that are kept
ANN_FROM = 50_000  # items; below, an exact search is as fast
_TAKEN_IN = 256  # rows written since, to add them to an ANN index
_REBUILT = 5  # or one in so many of its rows gone, to build another
_SAVED = 1.1  # growth of an ANN index at which its file is written again


class LocalIndex(Store, VectorStore):
    """A `VectorStore` over a folder made by `Store.build`.

    Every search first takes in what any process has written since the last: changed rows alone are
    read, nothing is rebuilt. Threads may share it.

    Args:
        path: the store's folder.
        precision: of the vectors in memory; "int8" takes a quarter and keeps directions only.
        sidecar: search through the store's ANN index where there is one; the flat index judges its
            candidates and what was written since, and answers alone where a filter is given.
        tend: build the ANN index in the background from 50,000 items on, and take changes into it.

    Attributes:
        ann_refused: why there is no ANN index, in a sentence.

    Raises:
        StorageError: there is no store, or it cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: MirrorPrecision = "float32",
        sidecar: bool = True,
        tend: bool = False,
    ) -> None:
        self._tending: threading.Thread | None = None
        self._closed = False
        super().__init__(path)
        self.flat = FlatIndex(self.dims, precision)
        self.ann: AnnIndex | None = None
        self.ann_refused = ""
        self._wants_ann, self._tends = sidecar, tend and sidecar
        self._lock = threading.RLock()
        self._state: State | None = None
        self._lists: dict[Filter, list[str]] = {}
        self._held: AnnIndex | None = None  # whether it serves or not
        self._ann_seen: str | None = None
        self.refresh()

    @property
    def kind(self) -> str:
        """How it searches now: "exact", or the kind of its ANN index."""
        ann = self.ann
        return "exact" if ann is None else ann.manifest.kind

    def __len__(self) -> int:
        return len(self.flat)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.flat

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the writes of the block one (see `Store.writing`), and take them in."""
        with super().writing():
            yield
        self.refresh()

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        where: Filter | None = None,
        *,
        exclude: Sequence[str | None] | None = None,
        exact: bool = False,
    ) -> list[list[Neighbour]]:
        """See `VectorStore`.

        Args:
            exclude: [M], an id that each query must not find, or None.
            exact: leave the ANN index aside.
        """
        self.refresh()
        flat, ann = self.flat, self.ann
        if ann is None or where or exact:
            return flat.search(queries, k, where, exclude)
        wanted = checked_queries(queries, k, self.dims)
        with ann.lock:
            fresh = set(ann.fresh)
        near = ann.candidates(wanted, 2 * k + 1, len(flat))
        own = list(exclude) if exclude is not None else [None] * len(wanted)
        found = [
            flat.judge(query, k, fresh.union(candidates), skip)
            for query, candidates, skip in zip(wanted, near, own)
        ]
        # Where deleted items took the candidates' places, or there are no more than k.
        short = [row for row, line in enumerate(found) if len(line) < k]
        if short:
            whole = flat.search(wanted[short], k, exclude=[own[row] for row in short])
            for row, line in zip(short, whole):
                found[row] = line
        return found

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        self.refresh()
        return self.flat.vectors(ids)

    def listed(self, where: Filter, offset: int, limit: int) -> tuple[list[str], int]:
        self.refresh()
        with self._lock:
            ids = self._lists.get(where)
            if ids is None:
                ids = self.flat.passing(where)
                while len(self._lists) >= _LISTS:
                    self._lists.pop(next(iter(self._lists)))
                self._lists[where] = ids
        return ids[offset : offset + limit], len(ids)

    def sample(self, count: int) -> tuple[list[str], Vectors]:
        """At most `count` items, drawn by their ids, sorted, and their vectors."""
        drawn = sorted(self.flat.ids(), key=lambda name: zlib.crc32(name.encode()))[:count]
        return self.flat.vectors(sorted(drawn))

    def refresh(self) -> None:
        """Take in what was written to the store, and the ANN index that was built for it."""
        if self.state() == self._state:
            return
        with self._lock:
            while self.state() != self._state:
                self._follow()
                self._follow_ann()

    def build_sidecar(
        self,
        kind: AnnKind = "hnsw",
        *,
        effort: int | None = None,
        queries: int = 200,
        threads: int | None = None,
        busy: str | None = None,
    ) -> AnnIndex:
        """Build, measure and swap in an ANN index of what the store holds now: see `build_ann`.

        Searches and writes go on meanwhile.
        """
        self.refresh()
        with self._lock:
            flat, state = self.flat, self._state
        assert state is not None
        built = build_ann(
            self,
            flat,
            state,
            kind=kind,
            effort=effort,
            queries=queries,
            threads=threads,
            busy=busy,
            stop=lambda: self._closed,
        )
        with self._lock:
            if self._wants_ann and self.flat is flat:
                newer, seqs = flat.newer(state.last)
                built.fresh = dict(zip(newer, seqs.tolist()))
                self._held, self._ann_seen = built, built.manifest.text()
                self._judge_ann()
        return built

    def close(self) -> None:
        """Let go of the store's files."""
        self._closed = True
        if self._tending is not None:
            self._tending.join(60.0)
        super().close()

    def _follow(self) -> None:
        """Bring the flat index to the store's state now."""
        before, flat = self._state, self.flat
        fresh: dict[str, int] = {}
        parts: list[Columns] = []

        def take(rows: Columns, room: int) -> None:
            nonlocal flat
            if room and flat is self.flat:  # built anew, perhaps with vectors of another width
                flat = FlatIndex(rows.vectors.shape[1], self.flat.precision)
            if room:
                flat.put(rows, room)
            else:
                parts.append(rows)

        state, dropped, anew = self.changes(before, take)
        if anew:
            if flat is self.flat:
                flat = FlatIndex(state.dims, flat.precision)
            self.flat, self.ann, self._held, self._ann_seen = flat, None, None, None
        else:
            with flat.lock:
                flat.drop(dropped)
                for rows in parts:
                    flat.put(rows)
                    fresh |= zip(rows.ids, rows.seqs)
        if self._held is not None:
            with self._held.lock:
                for item_id in (*dropped, *fresh):
                    self._held.fresh.pop(item_id, None)
                self._held.fresh |= fresh
        if anew or dropped or fresh:
            self._lists.clear()
        self._state = state

    def _follow_ann(self) -> None:
        """Take up the ANN index that the store names, unless what is held is newer."""
        state, held = self._state, self._held
        if state is None or not self._wants_ann:
            return
        if state.ann != self._ann_seen:
            manifest = read_manifest(state)
            if held is None or (manifest is not None and manifest.last > held.manifest.last):
                try:
                    self._held = open_ann(self, self.flat, state)
                except StorageError as error:
                    self._held, self.ann, self.ann_refused = None, None, str(error)
            self._ann_seen = state.ann
        self._judge_ann()

        if self._tends and self._work() and not (self._tending and self._tending.is_alive()):
            self._tending = threading.Thread(target=self._tend, name="ann", daemon=True)
            self._tending.start()

    def _judge_ann(self) -> None:
        """Search through the ANN index that is held while it serves well."""
        held = self._held
        if held is not None:
            self.ann_refused = outdated(held.manifest, len(held.fresh), len(held), len(self.flat))
            self.ann = None if self.ann_refused else held

    def _work(self) -> str:
        """What is to be done for the ANN index: "build", "take in" or nothing."""
        held, items = self._held, len(self.flat)
        if held is None:
            return "build" if items >= ANN_FROM else ""
        if held.gone(items) > max(_TAKEN_IN, len(held) // _REBUILT):
            return "build"
        return "take in" if len(held.fresh) >= _TAKEN_IN else ""

    def _tend(self) -> None:
        try:
            while (work := self._work()) and not self._closed:
                held = self._held
                if work == "build" or held is None:
                    busy = "another process builds the sidecar."
                    self.build_sidecar(threads=max(1, product_threads() // 2), busy=busy)
                else:
                    held.take_in(self.flat, lambda: self._closed)
                    if len(held) > _SAVED * held.manifest.items and not self._closed:
                        held.save(self)
                with self._lock:
                    self._judge_ann()
        except StorageError as error:  # the folder may be read-only, or another builds one
            self._tends, self.ann_refused = False, str(error)

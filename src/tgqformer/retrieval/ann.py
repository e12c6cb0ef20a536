"""The ANN index beside a store: FAISS HNSW or IVF over int8 codes, where exact search is slow.

It is built from the flat index and judged by it: its recall is measured and kept in its manifest,
which stands in the store. Labels are the rows' sequence numbers, so that it means the same rows
after a restart. Rows written since are added to it or judged beside it; labels of rows that are
gone are asked for beyond what is wanted, and passed over.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tgqformer.cores import product_threads
from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import atomic_path, only_writer
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.scores import Rows, Vectors, blocks
from tgqformer.retrieval.sqlite import State
from tgqformer.retrieval.store import Store

if TYPE_CHECKING:
    from tgqformer.retrieval.flat import FlatIndex

AnnKind = Literal["hnsw", "ivf"]

_LOCK = ".ann.lock"
_FORMAT = 3
_LINKS, _CONSTRUCTION = 16, 100  # of HNSW: recall 0.99 at a third of the work of 32 and 200
_FRESH = 1000  # rows, or 1/200 of all, that may be judged beside it; or be gone, then 1/4
_ADDED_AT_ONCE = 16_384
_ADDED_ASIDE = 16  # while searches wait
_TRAINED_ON = 64  # vectors for each IVF list
_CODES_FROM = 65_536  # vectors, for the range of int8 codes
_SPARE = 16
_RECALLS_AT = (10, 100)
_WANTED = 0.99  # of the exact neighbours, for an effort to be enough
_TIMED = 50  # queries, one alone at a time


@dataclass(frozen=True)
class AnnManifest:
    """What is known of a built ANN index.

    Attributes:
        kind: "hnsw" or "ivf".
        token: of the store it was built from.
        last: the last sequence number in it; `version` in what is printed.
        items: how many rows it holds.
        effort: HNSW's efSearch, or IVF's nprobe, with which recall was measured.
        recall: "10" and "100" to the mean share of the exact neighbours that it finds.
        queries: stored items asked, each excluded from its own answer.
        milliseconds: a query at K = 10 alone, beside `exact_milliseconds` of the flat index.
        build_seconds: without the measuring.
        bytes: of the file, and about what it takes in memory.
        sha256: of the file.
        file: its name in the store's folder.
    """

    kind: AnnKind
    token: str
    last: int
    items: int
    effort: int
    recall: dict[str, float]
    queries: int = 0
    milliseconds: float = 0.0
    exact_milliseconds: float = 0.0
    build_seconds: float = 0.0
    bytes: int = 0
    sha256: str = ""
    file: str = ""
    format: int = _FORMAT

    def text(self) -> str:
        """As it stands in the store."""
        return json.dumps(asdict(self))


class AnnIndex:
    """An ANN index in memory; `build_ann` and `open_ann` make it.

    Attributes:
        fresh: ids and numbers of rows that are not in it, to be judged beside its candidates.
    """

    def __init__(self, index: Any, labels: Rows, ids: list[str], manifest: AnnManifest) -> None:
        self.manifest = manifest
        self.fresh: dict[str, int] = {}
        self.lock = threading.Lock()
        self._index = index
        self._labels, self._ids = labels, ids  # of the rows that were there when it was opened
        self._added: dict[int, str] = {}  # label to id, since

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(self, queries: Vectors, count: int, items: int) -> list[list[str]]:
        """Up to about `count` ids near each of queries [M, D], for a flat index to judge.

        Args:
            items: that the store holds; with those of labels that are gone as many more are asked.
        """
        with self.lock:
            total = len(self)
            if total == 0:
                return [[] for _ in queries]
            there = min(total, max(1, items - len(self.fresh)))
            count = min(total, -(-count * total // there) + _SPARE)
            faiss, effort = _faiss(), self.manifest.effort
            if self.manifest.kind == "hnsw":
                options = faiss.SearchParametersHNSW(efSearch=max(effort, count))
            else:
                options = faiss.SearchParametersIVF(nprobe=effort)
            # For few queries threads take ten times the processor's time, and longer.
            faiss.omp_set_num_threads(1 if len(queries) < _ADDED_ASIDE else product_threads())
            _, found = self._index.search(queries, count, params=options)
            places = np.minimum(np.searchsorted(self._labels, found), len(self._labels) - 1)
            known = self._labels[places] == found
            near = [[self._ids[p] for p in line[k].tolist()] for line, k in zip(places, known)]
            for row, column in zip(*np.nonzero(~known)) if self._added else ():
                item_id = self._added.get(int(found[row, column]))
                if item_id is not None:
                    near[row].append(item_id)
            return near

    def gone(self, items: int) -> int:
        """Labels of rows that are no more, where the store holds so many items."""
        return max(0, len(self) - (items - len(self.fresh)))

    def take_in(self, flat: FlatIndex, stop: Callable[[], bool]) -> None:
        """Add the fresh rows, a few at a time, so that searches go on between."""
        while self.fresh and not stop():
            with self.lock:
                some = dict(list(self.fresh.items())[:_ADDED_ASIDE])
            here, seqs, vectors = flat.numbered(np.sort(list(some.values())))
            with self.lock:
                new = [row for row, seq in enumerate(seqs.tolist()) if seq not in self._added]
                _faiss().omp_set_num_threads(1)
                self._index.add_with_ids(vectors[new], seqs[new])
                self._added.update((int(seqs[row]), here[row]) for row in new)
                for name, seq in some.items():
                    if self.fresh.get(name) == seq:
                        del self.fresh[name]

    def save(self, store: Store) -> None:
        """Write the file, and then name it in the store, which is the swap."""
        path = store.path / f"ann-{self.manifest.kind}-{os.urandom(4).hex()}.faiss"
        with self.lock:
            labels = [*self._labels[-1:].tolist(), *self._added, self.manifest.last]
            last = min(self.fresh.values()) - 1 if self.fresh else max(labels)
            with atomic_path(path, refusals=(RuntimeError,)) as temporary:
                _faiss().write_index(self._index, str(temporary))
            self.manifest = replace(
                self.manifest,
                last=last,
                items=len(self),
                file=path.name,
                bytes=path.stat().st_size,
                sha256=_sha256(path),
            )
        try:
            if not store.set_ann(self.manifest.text(), self.manifest.token):
                raise StorageError(
                    f"{store.path} was built anew meanwhile; build its sidecar again."
                )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        for old in (*store.path.glob("ann-*"), *store.path.glob(".ann-*")):
            if old.name != path.name:  # a temporary one of a build that was killed, too
                with suppress(OSError):
                    old.unlink()


def outdated(manifest: AnnManifest, fresh: int, labels: int, items: int) -> str:
    """Why an ANN index should be built again, in a sentence; "" while it serves well.

    Args:
        fresh: rows that are not in it.
        labels: rows that it holds, `items` being those of the store.
    """
    gone = max(0, labels - (items - fresh))
    if fresh <= max(_FRESH, labels // 200) and gone <= max(_FRESH, labels // 4):
        return ""
    return (
        f"{fresh:,} items were written and {gone:,} are gone since the {manifest.kind} index of "
        f"{labels:,} was built; build it again with `tgqformer index sidecar`."
    )


def build_ann(
    store: Store,
    flat: FlatIndex,
    state: State,
    *,
    kind: AnnKind = "hnsw",
    effort: int | None = None,
    queries: int = 200,
    seed: int = 0,
    threads: int | None = None,
    busy: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> AnnIndex:
    """Build, measure and swap in the ANN index of `flat`, which holds `state` of `store`.

    Args:
        effort: efSearch (HNSW) or nprobe (IVF); by default the least power of two that finds 99 %
            of the exact 10 and 100 neighbours, at most 512 or all lists.
        queries: stored items to measure recall with, drawn with `seed`.
        threads: that add to it; all cores where None.
        busy: what to say where another process builds one, instead of waiting.
        stop: asked now and then whether to give up.

    Raises:
        ConfigError: the kind is unknown, or effort or queries is less than 1.
        StorageError: the store is empty, or the file cannot be written.
    """
    if kind not in ("hnsw", "ivf"):
        raise ConfigError(f"sidecar kind is {kind!r}, but must be 'hnsw' or 'ivf'.")
    if queries < 1 or (effort is not None and effort < 1):
        raise ConfigError("effort and queries of a sidecar must be at least 1.")
    with only_writer(store.path / _LOCK, busy=busy):
        _, wanted = flat.newer(-1)
        if not len(wanted):
            raise StorageError(f"{store.path} holds no items; upsert some, then build a sidecar.")
        start = time.perf_counter()
        index, efforts = _trained(kind, flat, wanted, seed)
        labels, ids = [], []
        for first, last in blocks(len(wanted), _ADDED_AT_ONCE):
            if stop():
                raise StorageError("the index was stopped before its sidecar was built.")
            names, seqs, vectors = flat.numbered(wanted[first:last])
            _faiss().omp_set_num_threads(threads or product_threads())
            index.add_with_ids(vectors, seqs)
            labels.append(seqs)
            ids += names
        manifest = AnnManifest(
            kind=kind,
            token=state.token,
            last=state.last,
            items=len(ids),
            effort=effort or efforts[0],
            recall={},
            build_seconds=time.perf_counter() - start,
        )
        built = AnnIndex(index, np.concatenate(labels), ids, manifest)
        _measure(built, flat, efforts if effort is None else [effort], queries, seed)
        built.save(store)
        return built


def open_ann(store: Store, flat: FlatIndex, state: State) -> AnnIndex:
    """Load the ANN index of a store, of whatever version of it.

    Raises:
        StorageError: there is none, or its file is damaged.
    """
    manifest = read_manifest(state)
    if manifest is None:
        raise StorageError(
            f"{store.path} has no sidecar; build one with `tgqformer index sidecar`."
        )
    path = store.path / manifest.file
    try:
        if _sha256(path) != manifest.sha256:
            raise OSError
        index = _faiss().read_index(str(path))
        labels = np.sort(_faiss().vector_to_array(index.id_map))
    except (OSError, RuntimeError):  # RuntimeError is faiss's, of a file that is gone by now
        raise StorageError(f"{path} is absent or damaged; build the sidecar again.") from None
    names, seqs, _ = flat.numbered(labels)
    ann = AnnIndex(index, seqs, names, manifest)
    newer, numbers = flat.newer(manifest.last)
    inside = np.isin(numbers, labels)
    fresh = zip(newer, numbers.tolist(), inside.tolist())
    ann.fresh = {item_id: seq for item_id, seq, known in fresh if not known}
    return ann


def read_manifest(state: State) -> AnnManifest | None:
    """What a store's state says of its ANN index; None where there is none."""
    if not state.ann:
        return None
    try:
        manifest = AnnManifest(**json.loads(state.ann))
    except (ValueError, TypeError):
        return None
    # The name is joined to a path: it must not lead out of the folder.
    return manifest if manifest.format == _FORMAT and Path(manifest.file).name else None


def _trained(kind: AnnKind, flat: FlatIndex, seqs: Rows, seed: int) -> tuple[Any, list[int]]:
    """An empty index, and the efforts to try, the least first."""
    faiss = _faiss()
    lists = max(1, min(int(4 * np.sqrt(len(seqs))), len(seqs) // 39))
    what = f"HNSW{_LINKS}_SQ8" if kind == "hnsw" else f"IVF{lists},SQ8"
    index = faiss.index_factory(flat.dims, f"IDMap,{what}", faiss.METRIC_INNER_PRODUCT)
    inner = faiss.downcast_index(index.index)
    sample = _CODES_FROM if kind == "hnsw" else _TRAINED_ON * lists
    if kind == "hnsw":
        inner.hnsw.efConstruction = _CONSTRUCTION
    else:
        inner.cp.min_points_per_centroid = 1  # a store of a few items is no cause for a warning
    drawn = np.random.default_rng(seed).permutation(len(seqs))[:sample]
    faiss.omp_set_num_threads(product_threads())
    index.train(flat.numbered(seqs[np.sort(drawn)])[2])
    most = 10 if kind == "hnsw" else lists.bit_length()
    return index, [2**n for n in range(4 if kind == "hnsw" else 0, most)]


def _measure(
    ann: AnnIndex, flat: FlatIndex, efforts: Sequence[int], queries: int, seed: int
) -> None:
    """Tell recall and time against the flat index; the first effort that is enough stays."""
    ids = flat.ids()
    drawn = np.random.default_rng(seed).choice(len(ids), min(queries, len(ids)), replace=False)
    asked, vectors = flat.vectors([ids[row] for row in np.sort(drawn)])
    exact = flat.search(vectors, max(_RECALLS_AT), exclude=asked)
    recall: dict[str, float] = {}
    for effort in efforts:
        ann.manifest = replace(ann.manifest, effort=effort)
        for k in _RECALLS_AT:
            near = ann.candidates(vectors, 2 * k + 1, len(flat))
            shares = [
                _share(flat.judge(vector, k, candidates, own), true[:k])
                for vector, candidates, own, true in zip(vectors, near, asked, exact)
            ]
            recall[str(k)] = float(np.mean(shares))
        if min(recall.values()) >= _WANTED:
            break
    alone, k = vectors[:_TIMED], min(_RECALLS_AT)

    def approximate(query: Vectors) -> None:
        flat.judge(query[0], k, ann.candidates(query, 2 * k + 1, len(flat))[0])

    ann.manifest = replace(
        ann.manifest,
        recall=recall,
        queries=len(asked),
        milliseconds=_milliseconds(approximate, alone),
        exact_milliseconds=_milliseconds(lambda query: flat.search(query, k), alone),
    )


def _share(found: Iterable[Neighbour], wanted: Sequence[Neighbour]) -> float:
    """Of the exact neighbours the share that was found; who scores as high is as right."""
    if not wanted:
        return 1.0
    right = sum(near.score >= wanted[-1].score for near in found)
    return min(right, len(wanted)) / len(wanted)


def _milliseconds(search: Callable[[Vectors], object], queries: Vectors) -> float:
    start = time.perf_counter()
    for query in queries:
        search(query[None])
    return 1000 * (time.perf_counter() - start) / len(queries)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _faiss() -> Any:
    # Its own type stubs leave out half of what is used here.
    return importlib.import_module("faiss")

"""The approximate index beside a store: FAISS HNSW or IVF, for pools where exact search is slow.

It is built from the exact mirror and judged by it: its recall is measured and kept in its manifest
with the table and version it was built from. Another table's is refused. Of later versions of its
own table it knows nothing, so whoever asks it judges what was written since beside its candidates,
until that is too much. The index file and its ids are written first; the manifest that names them
takes the old one's place by a rename, which is the swap.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import atomic_path, only_writer, write_text
from tgqformer.retrieval.mirror import ExactMirror
from tgqformer.retrieval.scores import Vectors, blocks
from tgqformer.retrieval.sidecar_recall import measured

SidecarKind = Literal["hnsw", "ivf"]

FOLDER, MANIFEST = "sidecar", "manifest.json"
_LOCK = ".sidecar.lock"
_FORMAT = 2
_CHANGED, _CHANGED_SHARE = 1000, 200  # items, or 1/200 of all, that may be new beside it
_ADDED_AT_ONCE = 65_536
_TRAINED_ON = 64  # vectors for each IVF list


@dataclass(frozen=True)
class SidecarManifest:
    """What is known of a built sidecar.

    Attributes:
        kind: "hnsw" or "ivf".
        table: name of the table it was built from.
        version: of that table.
        items: how many it holds.
        effort: HNSW's efSearch, or IVF's nprobe, with which recall was measured.
        recall: "10" and "100" to the mean share of the exact neighbours that it finds.
        queries: stored items asked, each excluded from its own answer.
        milliseconds: a query at K = 10 alone, beside `exact_milliseconds` of the mirror.
        build_seconds: without the measuring.
        bytes: of the index file.
        sha256: of the index file and the one of its ids.
        file: name of the index file; the ids lie beside it.
    """

    kind: SidecarKind
    table: str
    version: int
    items: int
    effort: int
    recall: Mapping[str, float] = field(default_factory=dict)
    queries: int = 0
    milliseconds: float = 0.0
    exact_milliseconds: float = 0.0
    build_seconds: float = 0.0
    bytes: int = 0
    sha256: str = ""
    file: str = ""
    format: int = _FORMAT


class Sidecar:
    """A sidecar in memory; `build_sidecar` and `open_sidecar` make it.

    Attributes:
        changed: what was written since it was built; to be judged beside its candidates.
    """

    def __init__(self, index: Any, ids: list[str], manifest: SidecarManifest) -> None:
        self.index = index
        self.ids = ids
        self.manifest = manifest
        self.changed: frozenset[str] = frozenset()

    def candidates(self, queries: Vectors, count: int) -> list[list[str]]:
        """Up to `count` ids near each of queries [M, D], for a mirror to judge.

        Items deleted since may be among them.
        """
        count = min(count, len(self.ids))
        if count == 0:
            return [[] for _ in queries]
        effort = self.manifest.effort
        if self.manifest.kind == "hnsw":
            options = _faiss().SearchParametersHNSW(efSearch=max(effort, count))
        else:
            options = _faiss().SearchParametersIVF(nprobe=effort)
        _, rows = self.index.search(queries, count, params=options)
        return [[self.ids[row] for row in line if row >= 0] for line in rows.tolist()]


def build_sidecar(
    root: Path,
    mirror: ExactMirror,
    table: str,
    version: int,
    *,
    kind: SidecarKind = "hnsw",
    effort: int | None = None,
    queries: int = 200,
    seed: int = 0,
) -> Sidecar:
    """Build, measure and swap in the sidecar of `mirror`, which holds `version` of `table`.

    Args:
        root: the store's folder.
        effort: efSearch (HNSW) or nprobe (IVF); by default the least power of two that finds 99 %
            of the exact 10 and 100 neighbours, at most 512 or all lists.
        queries: stored items to measure recall with, drawn with `seed`.

    Raises:
        ConfigError: the kind is unknown, or effort or queries is less than 1.
        StorageError: the store is empty, or the files cannot be written.
    """
    if kind not in ("hnsw", "ivf"):
        raise ConfigError(f"sidecar kind is {kind!r}, but must be 'hnsw' or 'ivf'.")
    if queries < 1 or (effort is not None and effort < 1):
        raise ConfigError("effort and queries of a sidecar must be at least 1.")
    with only_writer(root / _LOCK):
        wanted = mirror.ids()
        if not wanted:
            raise StorageError(f"{root} holds no items; upsert some before building a sidecar.")
        start = time.perf_counter()
        index, efforts = _trained(kind, mirror, wanted, seed)
        ids: list[str] = []
        for first, last in blocks(len(wanted), _ADDED_AT_ONCE):
            present, vectors = mirror.present(wanted[first:last])
            index.add(vectors)
            ids += present
        built = SidecarManifest(
            kind=kind,
            table=table,
            version=version,
            items=len(ids),
            effort=effort or efforts[0],
            build_seconds=time.perf_counter() - start,
        )
        tried = efforts if effort is None else [effort]
        told = measured(Sidecar(index, ids, built), mirror, tried, queries, seed)
        return _swap_in(root, index, ids, told)


def open_sidecar(root: Path, table: str) -> Sidecar:
    """Load the sidecar of a store, of whatever version of `table`.

    Raises:
        StorageError: there is none, it belongs to another table, or its files are damaged.
    """
    manifest = _manifest_of(root, table)
    try:
        return _read(root, manifest)
    except StorageError:
        newer = _manifest_of(root, table)
        if newer == manifest:
            raise
        return _read(root, newer)  # another was swapped in just now


def _manifest_of(root: Path, table: str) -> SidecarManifest:
    manifest = read_manifest(root)
    if manifest is None:
        raise StorageError(f"{root} has no sidecar; build one with `tgqformer index sidecar`.")
    if manifest.table != table:
        raise StorageError(
            f"the sidecar of {root} was built from {manifest.table}, but the store is {table} now; "
            "build it again with `tgqformer index sidecar`."
        )
    return manifest


def _read(root: Path, manifest: SidecarManifest) -> Sidecar:
    import faiss
    import pyarrow.parquet as pq

    path = root / FOLDER / manifest.file
    files = (path, _ids_file(path))
    try:
        if _sha256(*files) == manifest.sha256:
            index = faiss.read_index(str(path))
            return Sidecar(index, pq.read_table(files[1])["item_id"].to_pylist(), manifest)
    except (OSError, RuntimeError):  # RuntimeError is faiss's, of a file that is gone by now
        pass
    raise StorageError(f"{path} is absent or damaged; build the sidecar again.")


def outdated(manifest: SidecarManifest, changed: int, items: int) -> str:
    """Why a sidecar should be built again, in a sentence; "" while it serves well.

    Args:
        changed: items that were written since it was built, and are there.
        items: that the store holds now.
    """
    moved = changed + max(0, manifest.items - items)
    if moved <= max(_CHANGED, manifest.items // _CHANGED_SHARE):
        return ""
    return (
        f"{moved:,} of the {manifest.items:,} items of the sidecar have changed since it was "
        "built; build it again with `tgqformer index sidecar`."
    )


def read_manifest(root: Path) -> SidecarManifest | None:
    """What is told of a store's sidecar, of whatever version; None where there is none."""
    path = root / FOLDER / MANIFEST
    try:
        said = SidecarManifest(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{path} cannot be read ({error}); build the sidecar again.") from error
    # The name is joined to a path: it must not lead out of the folder.
    if said.format != _FORMAT or Path(said.file).name != said.file:
        raise StorageError(f"{path} has an unknown format; build the sidecar again.")
    return said


def _trained(
    kind: SidecarKind, mirror: ExactMirror, ids: list[str], seed: int
) -> tuple[Any, list[int]]:
    """An empty index, and the efforts to try, the least first."""
    faiss = _faiss()
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(mirror.dims, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        return index, [2**n for n in range(4, 10)]
    lists = max(1, min(int(4 * np.sqrt(len(ids))), len(ids) // 39))
    quantizer = faiss.IndexFlatIP(mirror.dims)
    index = faiss.IndexIVFFlat(quantizer, mirror.dims, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # a store of a few items is no cause for a warning
    drawn = np.random.default_rng(seed).permutation(len(ids))[: _TRAINED_ON * lists]
    index.train(mirror.present([ids[row] for row in np.sort(drawn)])[1])
    return index, [2**n for n in range(lists.bit_length())]


def _faiss() -> Any:
    # Its own type stubs leave out half of what is used here.
    return importlib.import_module("faiss")


def _swap_in(root: Path, index: Any, ids: list[str], manifest: SidecarManifest) -> Sidecar:
    import faiss
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / FOLDER
    path = folder / f"{manifest.kind}-{os.urandom(4).hex()}.faiss"
    with atomic_path(path, refusals=(RuntimeError,)) as temporary:
        faiss.write_index(index, str(temporary))
    with atomic_path(_ids_file(path), refusals=(pa.ArrowException,)) as temporary:
        pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), temporary)
    whole = replace(
        manifest,
        file=path.name,
        bytes=path.stat().st_size,
        sha256=_sha256(path, _ids_file(path)),
    )
    write_text(folder / MANIFEST, json.dumps(asdict(whole), indent=2) + "\n")
    for old in folder.iterdir():
        if old.name not in (path.name, _ids_file(path).name, MANIFEST):
            with suppress(OSError):
                old.unlink()
    return Sidecar(index, ids, whole)


def _ids_file(index: Path) -> Path:
    return index.with_suffix(".ids.parquet")


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

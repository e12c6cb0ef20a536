"""The table of all neighbours, on disk: block by block, so that a killed search goes on.

While the search runs, rows and scores lie in two plain arrays in a hidden folder beside the table,
and a block counts as done once its name stands in `done`. The table itself appears whole, by
rename, and the folder goes.

The table is Parquet: `item_id`, `neighbours` (a list of ids, best first) and `scores` (a list of
float32, of the same length), one row for each item, in the order of the embeddings. That of a blend
has `weight` beside them, what co-engagement counts against content, and the codes of its rules.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import atomic_path, only_writer, write_text
from tgqformer.retrieval.blend import Blend
from tgqformer.retrieval.embeddings import Embeddings
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.neighbours import NeighbourSearch, Rules
from tgqformer.retrieval.scores import Rows, Vectors, blocks

_GROUP = 4096  # items in a row group of the table
_LOCK = "lock"
_COLUMNS = ("item_id", "neighbours", "scores")
_RULES = ("apart", "other", "within")


@dataclass(frozen=True)
class NeighbourTable:
    """A table that was read: `neighbours[i]` and `scores[i]` are those of `ids[i]`, best first."""

    ids: list[str]
    neighbours: list[list[str]]
    scores: list[npt.NDArray[np.float32]]


def write_neighbours(
    embeddings: Embeddings,
    out: str | os.PathLike[str],
    k: int,
    *,
    rules: Rules | None = None,
    relevance: float = 1.0,
    blend: Blend | None = None,
    block: int = 4096,
) -> Iterator[tuple[int, int]]:
    """Search block by block and write the table; run the iterator to its end.

    A second start with the same embeddings and options goes on where the first was stopped; with
    others it begins anew.

    Args:
        out: the Parquet file.
        k, rules, relevance, block: see `NeighbourSearch`.
        blend: of these embeddings, whose scores decide and are written; without diversity.

    Yields:
        (blocks done, blocks in all), first for what an earlier start left, then block by block.

    Raises:
        ConfigError: an option is out of its range.
        StorageError: codes do not fit the vectors, the disk refuses, or another search writes this
            table.
    """
    final = Path(out)
    vectors = embeddings.as_float32() if blend is None else blend.vectors
    if blend is not None and (relevance < 1 or len(vectors) != len(embeddings.ids)):
        raise ConfigError(
            f"a blend of {len(vectors)} items came with {len(embeddings.ids)} embeddings and "
            f"relevance {relevance}, but both must be of the same items and relevance 1."
        )
    search = NeighbourSearch(vectors, k, rules=rules, relevance=relevance, block=block)
    plan = _plan(embeddings, search, blend)
    folder = final.with_name(f".{final.name}.work")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_writer(folder / _LOCK, busy=f"{final} is being written by another search."):
            work = _Work(folder, plan, (len(vectors), k))
            parts = search.blocks()
            todo = [number for number in range(len(parts)) if number not in work.done]
            yield len(parts) - len(todo), len(parts)
            for number, scores, found in search.search(todo):
                if blend is not None:
                    scores, found = blend.rerank(parts[number], scores, found, search.rules)
                work.put(number, parts[number], scores, found)
                yield len(work.done), len(parts)
            _write(final, embeddings.ids, work, plan, _of_blend(blend, search.rules))
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder."
        ) from error


def read_neighbours(path: str | os.PathLike[str]) -> NeighbourTable:
    """Read a table; StorageError where it is none."""
    table = _columns_of(Path(path), _COLUMNS, "neighbors")
    ids, neighbours, scores = (table[name].to_pylist() for name in _COLUMNS)
    return NeighbourTable(ids, neighbours, [np.asarray(row, dtype=np.float32) for row in scores])


class BlendedTable:
    """The table that a blend wrote, to be asked item by item.

    Args:
        path: what `tgqformer blend` or `neighbors --blend` wrote.

    Attributes:
        path: where it was.
        row: id to row of its N items.
        model: digest of the model whose vectors were blended, "" where unknown.
        weights: float32 [N], what co-engagement counts against content, from 0 (never seen) to 1.
        rules: what it leaves out.

    Raises:
        StorageError: the file is no such table.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.path = Path(path)
        table = _columns_of(self.path, (*_COLUMNS, "weight"), "blend", _RULES)
        wrong = StorageError(
            f"{path} is no table that a blend wrote whole; run `tgqformer blend` again."
        )
        try:
            names = table["item_id"].combine_chunks().cast(pa.string())
            near, scores = (table[name].combine_chunks() for name in ("neighbours", "scores"))
            sizes, same = (pc.list_value_length(part).to_numpy(False) for part in (near, scores))
            found = pc.index_in(near.flatten(), value_set=names)
            self._scores: Vectors = scores.flatten().to_numpy(False).astype(np.float32)
            self.weights: Vectors = table["weight"].to_numpy().astype(np.float32)
            kept = [name for name in _RULES if name in table.column_names]
            codes = {name: table[name].to_numpy().astype(np.int64) for name in kept}
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise wrong from error
        ids: list[str] = names.to_pylist()
        self.row = {name: row for row, name in enumerate(ids)}
        sound = found.null_count == 0 and names.null_count == 0 and np.array_equal(sizes, same)
        finite = np.isfinite(self._scores).all() and np.isfinite(self.weights).all()
        if not (sound and finite and len(self.row) == len(ids)):
            raise wrong
        self._ids = ids
        self._near: npt.NDArray[np.int32] = found.to_numpy(False)
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.rules = Rules(**codes)
        about = table.schema.metadata or {}
        self.model = about.get(b"tgqformer.model", b"").decode()

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.row

    def neighbours(self, item_id: str) -> list[Neighbour]:
        """The neighbours of an item of the table, best first, with their blended scores."""
        row = self.row[item_id]
        part = slice(self._starts[row], self._starts[row + 1])
        found = zip(self._near[part].tolist(), self._scores[part].tolist())
        return [Neighbour(self._ids[place], score) for place, score in found]

    def allows(self, item_id: str, others: Sequence[str]) -> list[bool]:
        """Whether the table's rules let each of `others` be a neighbour of an item of the table.

        Of one that the table does not hold only its photo may be taken for new: where categories
        or brands decide, it is left out.
        """
        places: Rows = np.array([self.row.get(name, -1) for name in others], dtype=np.int64)
        new = places < 0
        allowed = self.rules.allow(self.row[item_id], places)
        kept: list[bool] = np.where(
            new, self.rules.other is None and self.rules.within is None, allowed
        ).tolist()
        return kept


def _columns_of(path: Path, names: Sequence[str], command: str, more: Sequence[str] = ()) -> Any:
    """An Arrow table of the columns `names`, and of those of `more` that are there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            absent = [name for name in names if name not in parquet.schema_arrow.names]
            if not absent:
                return parquet.read(columns=[*names, *more])
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{path} cannot be read ({str(error).splitlines()[0].rstrip('.')}); run `tgqformer "
            f"{command}` again."
        ) from error
    raise StorageError(
        f"{path} has no column {absent[0]!r}, which the table of `tgqformer {command}` has; run it "
        "first."
    )


class _Work:
    """The state of an unfinished search in its hidden folder."""

    def __init__(self, folder: Path, plan: Mapping[str, Any], shape: tuple[int, int]) -> None:
        self.folder = folder
        text = json.dumps(plan, sort_keys=True)
        known = folder / "plan.json"
        if not known.is_file() or known.read_text(encoding="utf-8") != text:
            for name in ("plan.json", "done"):  # the plan first, or others' work would count
                (folder / name).unlink(missing_ok=True)
            try:
                for name, width in (("rows", 8), ("scores", 4)):
                    _reserve(folder / name, max(1, shape[0] * shape[1] * width))
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)  # it may have filled the disk
                raise
            write_text(known, text)
        self.rows = np.memmap(folder / "rows", dtype=np.int64, mode="r+", shape=shape)
        self.scores = np.memmap(folder / "scores", dtype=np.float32, mode="r+", shape=shape)
        names = (folder / "done").read_text().split() if (folder / "done").exists() else []
        # a name may have been cut short by a kill or a full disk, and would then be another number
        self.done = {int(name[:-1]) for name in names if name.endswith(";")}

    def put(self, number: int, rows: Any, scores: Any, found: Any) -> None:
        self.rows[rows], self.scores[rows] = found, scores
        self.rows.flush()
        self.scores.flush()
        with (self.folder / "done").open("a") as file:
            file.write(f"\n{number};\n")  # on a line of its own, also after one that was cut
            file.flush()
            os.fsync(file.fileno())
        self.done.add(number)


def _reserve(path: Path, size: int) -> None:
    """Make a file of zeros with its space: to write to the map of a sparse one may be death."""
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            for start, stop in blocks(size, 1 << 20):
                file.write(bytes(stop - start))


def _plan(embeddings: Embeddings, search: NeighbourSearch, blend: Blend | None) -> dict[str, Any]:
    """All that decides the table; equal plans give equal tables."""
    digest = hashlib.blake2b(digest_size=16)
    for name in embeddings.ids:
        digest.update(name.encode() + b"\0")
    digest.update(np.ascontiguousarray(embeddings.vectors).data)
    rules = search.rules
    for codes in (rules.apart, rules.other, rules.within):
        digest.update(b"-" if codes is None else np.ascontiguousarray(codes).data)
    of_blend = {} if blend is None else {"prior": blend.prior, "engagement": blend.digest()}
    return {
        **of_blend,
        "model": embeddings.metadata.get("model", ""),
        "items": len(embeddings.ids),
        "k": search.k,
        "relevance": search.relevance,
        "block": search.block,
        "digest": digest.hexdigest(),
    }


def _of_blend(blend: Blend | None, rules: Rules) -> dict[str, npt.NDArray[Any]]:
    """The columns that a blend's table has beside the others: [N] each."""
    if blend is None:
        return {}
    codes = {name: getattr(rules, name) for name in _RULES}
    kept = {name: np.asarray(code, np.int64) for name, code in codes.items() if code is not None}
    return {"weight": np.asarray(blend.weights, np.float32), **kept}


def _write(
    final: Path,
    ids: list[str],
    work: _Work,
    plan: Mapping[str, Any],
    more: Mapping[str, npt.NDArray[Any]],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = pa.array(ids, pa.string())
    fields = [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("neighbours", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float32())),
        *(pa.field(name, pa.from_numpy_dtype(column.dtype)) for name, column in more.items()),
    ]
    kept = [key for key in ("model", "k", "relevance", "prior") if key in plan]
    about = {f"tgqformer.{key}": str(plan[key]) for key in kept}
    schema = pa.schema(fields, metadata=about)
    with (
        atomic_path(final, refusals=(pa.ArrowException,)) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for start, stop in blocks(len(ids), _GROUP):
            rows, scores = np.asarray(work.rows[start:stop]), np.asarray(work.scores[start:stop])
            there = rows >= 0
            offsets = pa.array(np.concatenate([[0], there.sum(axis=1).cumsum()]), pa.int32())
            found = pa.ListArray.from_arrays(offsets, names.take(pa.array(rows[there])))
            values = pa.ListArray.from_arrays(offsets, pa.array(scores[there]))
            further = (pa.array(column[start:stop]) for column in more.values())
            columns = [names.slice(start, stop - start), found, values, *further]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

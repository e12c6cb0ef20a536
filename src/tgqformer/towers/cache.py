"""The token cache: what frozen towers said, on disk, so that no photo is encoded twice.

One folder for each tower key. In it lie append-only shards, each ONE safetensors file that is
written under a temporary name, synced and renamed: a reader sees a whole shard or none, two writers
never touch the same file, and a killed writer leaves only a temporary file behind. Shards are
memory-mapped, so that many processes share one copy in memory. A row carries a CRC-32 that is
checked the first time a process reads it: a damaged row counts as missing.

A row is keyed by the SHA-256 of what was encoded: a photo's bytes, or a text. A shard holds

    keys     U8   [n, 32]    SHA-256 of the input
    lengths  I32  [n]        tokens of each input
    crc      U32  [n, 2]     CRC-32 of the tokens, of the pooled vector
    pooled   F32  [n, Dg]
    tokens   F16  [sum of lengths, D]

and is believed only if its header is whole, its shapes agree with one another and with the tower,
and its size is exactly what the header says.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import time
import uuid
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import CacheError
from tgqformer.files import sync_folder
from tgqformer.progress import track

if TYPE_CHECKING:
    from tgqformer.towers.encoding import BrokenPhoto, Encoded

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]

HALF_MAX = 65504.0  # the largest finite float16
STALE_SECONDS = 3600.0  # no writer takes this long over one shard
RESERVE = 64 << 20  # bytes that filling leaves free on the disk
SHARD_BYTES = 64 << 20  # a shard is written when it has this many bytes,
SHARD_SECONDS = 60.0  # or when this long has passed: what a kill can cost

DTYPES: dict[str, Any] = {
    "U8": np.uint8,
    "I32": np.int32,
    "U32": np.uint32,
    "F32": np.float32,
    "F16": np.float16,
}
NAMES = {"keys": "U8", "lengths": "I32", "crc": "U32", "pooled": "F32", "tokens": "F16"}
MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class Row:
    """One cached input: tokens [P, D] float16 and pooled [Dg] float32, views of mapped memory."""

    tokens: Half
    pooled: Single


class TokenCache:
    """The cached output of one tower.

    Args:
        root: the folder that holds all caches.
        key: the tower's key; names the folder below `root`.
        dim: width of a token. global_dim: width of the pooled vector.
        about: what to write in the folder's `tower.json`, for people.

    Raises:
        CacheError: the folder cannot be made or read.
    """

    def __init__(
        self,
        root: Path,
        key: str,
        dim: int,
        global_dim: int,
        *,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.folder = Path(root) / key
        self.key, self.dim, self.global_dim = key, dim, global_dim
        self._shards: list[Shard] = []
        self._seen: set[str] = set()
        self._index: dict[bytes, tuple[int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _describe(
                self.folder, {"key": key, "dim": dim, "global_dim": global_dim, **(about or {})}
            )
            remove_stale(self.folder)
        except OSError as error:
            raise CacheError(
                f"The token cache {str(self.folder)!r} cannot be used ({error.strerror}); "
                "choose another folder with TGQFORMER_CACHE."
            ) from error
        self.refresh()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: bytes) -> bool:
        return key in self._index

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those of `keys` that are not cached, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._index]

    def refresh(self) -> None:
        """Take in the shards that other processes have written meanwhile."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._open(path)

    def _open(self, path: Path) -> None:
        try:
            shard = Shard(path, self.dim, self.global_dim)
        except FileNotFoundError:
            return
        except ShardDamaged as damage:
            warnings.warn(f"Token cache file ignored: {damage}", RuntimeWarning, stacklevel=3)
            return
        number = len(self._shards)
        self._shards.append(shard)
        for row, key in enumerate(shard.keys()):
            self._index.setdefault(key, (number, row))

    def get(self, key: bytes, *, pooled_only: bool = False) -> Row | None:
        """The row of `key`, or None where it is missing or damaged.

        With `pooled_only` the tokens are not checked, and must not be used.
        """
        place = self._index.get(key)
        if place is None:
            return None
        number, row = place
        shard = self._shards[number]
        if not shard.intact(row, pooled_only=pooled_only):
            warnings.warn(
                f"Token cache row {row} of {shard.path.name} is damaged; it is encoded again.",
                RuntimeWarning,
                stacklevel=2,
            )
            del self._index[key]
            return None
        return Row(shard.tokens(row), shard.pooled[row])

    def put(self, keys: Sequence[bytes], tokens: Sequence[Half], pooled: Single) -> None:
        """Write one shard and take it into the index.

        Args:
            keys: n digests of 32 bytes.
            tokens: n arrays [P_i, D] float16. pooled: [n, Dg] float32.

        Raises:
            CacheError: a shape or dtype is wrong, or the disk is full.
        """
        if not keys:
            return
        check_rows(keys, tokens, pooled, self.dim, self.global_dim)
        path = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.safetensors"
        try:
            write_shard(path, keys, tokens, pooled)
        except OSError as error:
            raise CacheError(
                f"The token cache in {str(self.folder)!r} cannot be written ({error.strerror}); "
                "free room, or choose another folder with TGQFORMER_CACHE."
            ) from error
        self._seen.add(path.name)
        self._open(path)

    def estimate(self, n: int, tokens: int) -> int:
        """Bytes that `n` more inputs of `tokens` tokens each would take."""
        return n * (tokens * self.dim * 2 + self.global_dim * 4 + 32 + 4 + 8)

    def check_room(self, needed: int) -> None:
        """Raise CacheError unless the disk has room for `needed` bytes more."""
        free = shutil.disk_usage(self.folder).free
        if needed + RESERVE > free:
            raise CacheError(
                f"The token cache needs {needed / 1e9:.2f} GB more in {str(self.folder)!r}, where "
                f"{free / 1e9:.2f} GB are free; free room, choose another folder with "
                "TGQFORMER_CACHE, or encode without a cache."
            )


@dataclass(frozen=True)
class FillReport:
    """What `ItemFeatures.fill` did.

    Attributes:
        photos: photos handed to the image tower.
        texts: texts handed to the text tower.
        size: upper bound in bytes of what was added to the cache.
        broken: photos that could not be read; their items count as without them.
    """

    photos: int
    texts: int
    size: int
    broken: list[BrokenPhoto] = field(default_factory=list)


def write_encoded(
    cache: TokenCache, batches: Iterable[Encoded], total: int, noun: str, *, progress: bool
) -> dict[bytes, str]:
    """Write batches as they come; a stop, by Ctrl-C say, keeps what was encoded so far.

    Args:
        total: inputs in all, for the progress bar. noun: what they are, in the plural.

    Returns:
        Key to reason, for every input that could not be read.
    """
    broken: dict[bytes, str] = {}
    keys: list[bytes] = []
    rows: list[Row] = []
    held, since = 0, time.monotonic()

    def one_by_one() -> Iterator[tuple[bytes, Row | None]]:
        for batch in batches:
            broken.update(batch.broken)
            yield from ((key, None) for key, _ in batch.broken)
            yield from zip(batch.keys, batch.rows, strict=True)

    def flush() -> None:
        nonlocal held, since
        if keys:
            cache.put(keys, [row.tokens for row in rows], np.stack([row.pooled for row in rows]))
        keys.clear()
        rows.clear()
        held, since = 0, time.monotonic()

    try:
        for key, row in track(one_by_one(), total=total, text=f"encoding {noun}", show=progress):
            if row is not None:
                keys.append(key)
                rows.append(row)
                held += row.tokens.nbytes + row.pooled.nbytes
                if held >= SHARD_BYTES or time.monotonic() - since >= SHARD_SECONDS:
                    flush()
    except CacheError:
        raise
    except BaseException:
        flush()
        raise
    flush()
    return broken


def to_half(values: Single, owner: str) -> Half:
    """Round to float16, or raise CacheError where a value does not fit."""
    peak = float(np.abs(values).max(initial=0.0))
    if not peak <= HALF_MAX:  # also catches NaN
        raise CacheError(
            f"{owner} gave a token value of {peak:g}, and the cache holds float16 up to "
            f"{HALF_MAX:g}; choose another layer."
        )
    return values.astype(np.float16)


def check_rows(
    keys: Sequence[bytes], tokens: Sequence[Half], pooled: Single, dim: int, global_dim: int
) -> None:
    """Raise CacheError unless shapes and dtypes are those of a shard."""
    if not len(keys) == len(tokens) == len(pooled):
        raise CacheError(
            f"{len(keys)} keys, {len(tokens)} token arrays and {len(pooled)} pooled vectors "
            "were put in the token cache; the three must be as many."
        )
    if any(len(key) != 32 for key in keys):
        raise CacheError("A token cache key must be 32 bytes; use the SHA-256 of the input.")
    if pooled.dtype != np.float32 or pooled.shape[1:] != (global_dim,):
        raise CacheError(
            f"Pooled vectors are {pooled.dtype} {pooled.shape}; "
            f"the token cache holds float32 [n, {global_dim}]."
        )
    for array in tokens:
        if array.dtype != np.float16 or array.ndim != 2 or array.shape[1] != dim:
            raise CacheError(
                f"Tokens are {array.dtype} {array.shape}; the token cache holds float16 [P, {dim}]."
            )


def remove_stale(folder: Path) -> None:
    """Delete temporary files that a killed writer left behind."""
    for path in folder.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue


def _describe(folder: Path, about: dict[str, Any]) -> None:
    path = folder / "tower.json"
    if path.exists():
        return
    temporary = folder / f"tower.{uuid.uuid4().hex}.tmp"
    temporary.write_text(json.dumps(about, indent=2, default=str))
    temporary.replace(path)


class ShardDamaged(Exception):  # noqa: N818
    """The file is not a whole shard of this tower."""


class Shard:
    """A mapped shard. Token and pooled arrays are read-only views of the file."""

    def __init__(self, path: Path, dim: int, global_dim: int) -> None:
        self.path = path
        arrays = _map(path)
        self._keys, self._crc = arrays["keys"], arrays["crc"]
        self.lengths, self.pooled, self._tokens = (
            arrays["lengths"],
            arrays["pooled"],
            arrays["tokens"],
        )
        n = len(self._keys)
        ends = np.cumsum(self.lengths, dtype=np.int64)
        total = int(ends[-1]) if n else 0
        shapes_agree = (
            self._keys.shape == (n, 32)
            and self.lengths.shape == (n,)
            and self._crc.shape == (n, 2)
            and self.pooled.shape == (n, global_dim)
            and self._tokens.shape == (total, dim)
            and bool((self.lengths >= 0).all())
        )
        if not shapes_agree:
            raise ShardDamaged(f"{path.name} has shapes that do not fit together.")
        self._starts = (ends - self.lengths).tolist()
        self._ends = ends.tolist()
        self._verified = np.zeros((n, 2), dtype=bool)

    def keys(self) -> list[bytes]:
        """The digests of all rows, in order."""
        raw = self._keys.tobytes()
        return [raw[i : i + 32] for i in range(0, len(raw), 32)]

    def tokens(self, row: int) -> npt.NDArray[np.float16]:
        """Tokens [P, D] of one row."""
        return self._tokens[self._starts[row] : self._ends[row]]

    def intact(self, row: int, *, pooled_only: bool = False) -> bool:
        """Whether the row's bits are those that were written; read only once per process."""
        parts = (1,) if pooled_only else (0, 1)
        for part in parts:
            if not self._verified[row, part]:
                array = self.pooled[row] if part else self.tokens(row)
                if _crc(array) != self._crc[row, part]:
                    return False
                self._verified[row, part] = True
        return True


def write_shard(
    path: Path,
    keys: Sequence[bytes],
    tokens: Sequence[npt.NDArray[np.float16]],
    pooled: npt.NDArray[np.float32],
) -> None:
    """Write a whole shard, or nothing. OSError is the caller's to translate."""
    from safetensors.numpy import save

    rows = [np.ascontiguousarray(array) for array in tokens]
    pooled = np.ascontiguousarray(pooled)
    crc = [(_crc(array), _crc(vector)) for array, vector in zip(rows, pooled, strict=True)]
    payload = save(
        {
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32),
            "lengths": np.array([len(array) for array in rows], dtype=np.int32),
            "crc": np.array(crc, dtype=np.uint32),
            "pooled": pooled,
            "tokens": np.concatenate(rows),
        }
    )
    temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _crc(array: npt.NDArray[Any]) -> int:
    return zlib.crc32(array.data)


def _map(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Map the file and return its tensors, each checked against the header and the size."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise ShardDamaged(f"{path.name} has only {size} bytes.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[:8], "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ShardDamaged(f"{path.name} has a header length of {length}.")
    try:
        header = json.loads(mapped[8 : 8 + length])
        header.pop("__metadata__", None)
        if set(header) != set(NAMES):
            raise ShardDamaged(f"{path.name} holds other tensors than a shard.")
        base, end = 8 + length, 0
        arrays = {}
        for name, entry in header.items():
            dtype = np.dtype(DTYPES[entry["dtype"]])
            shape = tuple(int(side) for side in entry["shape"])
            start, stop = (int(offset) for offset in entry["data_offsets"])
            count = int(np.prod(shape, dtype=np.int64))
            if entry["dtype"] != NAMES[name] or min((*shape, start)) < 0:
                raise ShardDamaged(f"{path.name} gives {name} a wrong type or shape.")
            if stop - start != count * dtype.itemsize or base + stop > size:
                raise ShardDamaged(f"{path.name} is cut short at {name}.")
            end = max(end, stop)
            arrays[name] = np.frombuffer(mapped, dtype, count, base + start).reshape(shape)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ShardDamaged(f"{path.name} has an unreadable header.") from error
    if base + end != size:
        raise ShardDamaged(f"{path.name} has {size} bytes where its header says {base + end}.")
    return arrays

"""One file of the token cache: ragged tokens in a safetensors file, written whole, read by mapping.

    keys     U8   [n, 32]    SHA-256 of the input
    lengths  I32  [n]        tokens of each input
    crc      U32  [n, 2]     CRC-32 of the tokens, of the pooled vector
    pooled   F32  [n, Dg]
    tokens   F16  [sum of lengths, D]

A file is believed only if its header is whole, its shapes agree with one another and with the
tower, and its size is exactly what the header says.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.files import sync_folder

DTYPES: dict[str, Any] = {
    "U8": np.uint8,
    "I32": np.int32,
    "U32": np.uint32,
    "F32": np.float32,
    "F16": np.float16,
}
NAMES = {"keys": "U8", "lengths": "I32", "crc": "U32", "pooled": "F32", "tokens": "F16"}
MAX_HEADER = 1 << 16


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

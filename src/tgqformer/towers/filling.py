"""Writing what towers say into the cache, many rows to a shard."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tgqformer.catalog.progress import track
from tgqformer.errors import CacheError
from tgqformer.towers.cache import Row, TokenCache
from tgqformer.towers.encoding import BrokenImage, Encoded

SHARD_BYTES = 64 << 20  # a shard is written when it has this many bytes,
SHARD_SECONDS = 60.0  # or when this long has passed: what a kill can cost


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
    broken: list[BrokenImage] = field(default_factory=list)


def store(
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

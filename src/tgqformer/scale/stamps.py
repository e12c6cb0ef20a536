"""What tells that an item has changed, without opening its photos.

A stamp covers the text that the model reads and, of each photo, the file's name, size and time of
modification (as rsync and make judge), or a digest of its bytes where it is held in memory. A
catalog that moves to another folder with its times kept has the same stamps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tgqformer.catalog.items import DrawnPhoto, RemotePhoto
from tgqformer.retrieval.embeddings import STAMP_BYTES

if TYPE_CHECKING:
    from tgqformer.catalog.items import ImageRef, Item


def stamp(item: Item, text: str) -> bytes:
    """16 bytes, equal as long as `text` and the item's photos are."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=STAMP_BYTES)
    for ref in item.images:
        digest.update(b"\0\0" + _state(ref).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _state(ref: ImageRef) -> str:
    if isinstance(ref, DrawnPhoto):
        return f"{_state(ref.source)}\0{ref.recipe}"
    if isinstance(ref, bytes):
        return hashlib.sha256(ref).hexdigest()
    if isinstance(ref, RemotePhoto):
        return ref.address
    try:
        status = ref.stat()
        return f"{ref.name}\0{status.st_size}\0{status.st_mtime_ns}"
    except (OSError, ValueError):
        return f"{ref.name}\0absent"


def catalog_digest(ids: Iterable[str], stamps: Iterable[bytes]) -> str:
    """32 hex digits that name items, their order and their state."""
    digest = hashlib.blake2b(digest_size=16)
    for item_id, own in zip(ids, stamps, strict=True):
        digest.update(item_id.encode("utf-8", "surrogatepass") + b"\0" + own)
    return digest.hexdigest()

"""Which photos of an item count: known by their bytes, the broken ones left out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tgqformer.catalog.images import drawn_key, image_key
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item, RemotePhoto
from tgqformer.errors import ImageError


class BrokenImage(NamedTuple):
    """A photo that was skipped: whose, which of its photos (from 0), and why."""

    item_id: str
    position: int
    reason: str


class PhotoBook:
    """Remembers the keys of files and which photos could not be decoded.

    Attributes:
        broken: key of a photo that cannot be decoded, to the reason.
    """

    def __init__(self, max_images: int) -> None:
        self.max_images = max_images
        self.broken: dict[bytes, str] = {}
        self._keys: dict[tuple[Path | RemotePhoto, int, int], bytes] = {}

    def photos(
        self, item: Item, problems: list[BrokenImage] | None = None
    ) -> dict[bytes, ImageRef]:
        """The item's first `max_images` photos that are not known to be broken, by key.

        They come in the order of their keys, so that the shop's order changes no bit of what is
        made of them; it only decides which are read where there are more.

        Args:
            problems: broken photos that were passed over are appended here.
        """
        found: dict[bytes, ImageRef] = {}
        for position, ref in enumerate(item.images):
            if len(found) == self.max_images:
                break
            try:
                key = self.key(ref)
            except ImageError as error:  # unreadable now, perhaps not the next time
                reason: str | None = str(error)
            else:
                reason = self.broken.get(key)
                if reason is None:
                    found.setdefault(key, ref)
            if reason is not None and problems is not None:
                problems.append(BrokenImage(item.item_id, position, reason))
        return found if len(found) < 2 else dict(sorted(found.items()))

    def key(self, ref: ImageRef) -> bytes:
        """SHA-256 of the photo's bytes; a file that has not changed is not read again.

        Raises:
            ImageError: the file cannot be read.
        """
        if isinstance(ref, DrawnPhoto):
            return bytes.fromhex(drawn_key(self.key(ref.source).hex(), ref.recipe))
        if isinstance(ref, bytes):
            return bytes.fromhex(image_key(ref))
        if isinstance(ref, RemotePhoto):
            known: tuple[Path | RemotePhoto, int, int] = (ref, 0, 0)
        else:
            try:
                status = ref.stat()
            except (OSError, ValueError):
                return bytes.fromhex(image_key(ref))  # says in a sentence what is wrong
            known = (ref, status.st_mtime_ns, status.st_size)
        key = self._keys.get(known)
        if key is None:
            key = self._keys[known] = bytes.fromhex(image_key(ref))
        return key

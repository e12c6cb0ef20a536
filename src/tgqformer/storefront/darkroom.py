"""Drawing many photos, on several processes, so that a kill loses no more than a chunk.

A chunk of photos ends with a small JSON file of what is known of them; chunks that have one are
not drawn again. Which process draws a chunk makes no difference to its bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tgqformer.errors import ConfigError
from tgqformer.files import write_bytes
from tgqformer.storefront.photo import take_photo
from tgqformer.storefront.regimes import DRAWINGS
from tgqformer.storefront.streams import stream
from tgqformer.storefront.style import Look

CHUNK = 50
_QUALITY = 90
_SUBSAMPLING = 0  # 4:4:4; thin stripes would lose their colours otherwise


@dataclass(frozen=True, slots=True)
class Job:
    """One photo to draw: `kind` is one of PHOTOS, `version` a key of DRAWINGS.

    `place` is its place among the item's photos, from 0.
    """

    number: int
    item_id: str
    look: Look
    kind: str
    brand: str
    version: int
    place: int = 0


def photo_name(item_id: str, place: int = 0) -> str:
    """The file of an item's photo: ``p000001.jpg``, and ``p000001-2.jpg`` for its second."""
    return f"{item_id}-{place + 1}.jpg" if place else f"{item_id}.jpg"


def draw_photos(
    jobs: Sequence[Job], folder: Path, *, size: int, seed: int, workers: int
) -> Iterator[list[dict[str, Any]]]:
    """Draw the photos below ``images/`` in the folder; yield the records of each chunk when done.

    A record has item_id, file (its name), what a Photo tells beside the image, and sha256 (of the
    file).

    Raises:
        ConfigError: the worker processes cannot start.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "chunks").mkdir(exist_ok=True)
    chunks = [
        (list(jobs[i : i + CHUNK]), folder, f"{i // CHUNK:06d}.json", size, seed)
        for i in range(0, len(jobs), CHUNK)
    ]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield _draw_chunk(*chunk)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        for future in as_completed([pool.submit(_draw_chunk, *chunk) for chunk in chunks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ConfigError(
            f"{workers} workers could not start or were killed; pass workers=1, or call from "
            'below `if __name__ == "__main__":` in a script.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _draw_chunk(
    jobs: list[Job], folder: Path, name: str, size: int, seed: int
) -> list[dict[str, Any]]:
    done = folder / "chunks" / name
    if done.is_file():
        records: list[dict[str, Any]] = json.loads(done.read_text())
        return records
    records = [_draw(job, folder, size, seed) for job in jobs]
    write_bytes(done, json.dumps(records).encode(), sync=False)
    return records


def _draw(job: Job, folder: Path, size: int, seed: int) -> dict[str, Any]:
    photo = take_photo(
        job.look,
        job.kind,
        size,
        stream(seed, "photo", job.number, *([job.place] if job.place else [])),
        brand=job.brand,
        drawing=DRAWINGS[job.version],
    )
    buffer = io.BytesIO()
    photo.image.save(buffer, "JPEG", quality=_QUALITY, subsampling=_SUBSAMPLING)
    data = buffer.getvalue()
    # thousands of waits for the disk would take minutes
    name = photo_name(job.item_id, job.place)
    write_bytes(folder / "images" / name, data, sync=False)
    return {
        "item_id": job.item_id,
        "file": name,
        "product_box": list(photo.product_box),
        "distractor_boxes": [list(box) for box in photo.distractor_boxes],
        "distractors": photo.distractors,
        "overlays": photo.overlays,
        "slogan": photo.slogan,
        "sha256": hashlib.sha256(data).hexdigest(),
    }

"""Photos that a catalog knows by URL only: fetched with care, kept by URL, put into the catalog.

`download_images` takes any URLs, `download_catalog_images` those in a catalog's labels. Both fetch
in threads, with further tries, and go on where they were stopped. The photos lie in a folder, which
several catalogs may share, by the sha256 of their URLs::

    3f/3f9c...e1.jpg     a photo, there whole or not at all
    failures.jsonl       what failed, one object a line, the latest of a URL holding
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.fetch import (
    MAX_WAIT,
    NO_ANSWER,
    UNANSWERED,
    DownloadConfig,
    Fetcher,
    FetchError,
    Pace,
)
from tgqformer.catalog.images import decode_image, image_suffix
from tgqformer.catalog.importers.table import ITEM_FIELDS
from tgqformer.catalog.items import Item
from tgqformer.catalog.quarantine import CLEARED, DROPPED
from tgqformer.catalog.tables import find_table, read_table
from tgqformer.catalog.values import links
from tgqformer.errors import CatalogError, ConfigError, ImageError, StorageError
from tgqformer.files import link_or_copy, write_bytes
from tgqformer.progress import track

FOLDER = "images/fetched"
"""Where fetched photos lie in a catalog's folder."""

FAILURES = "failures.jsonl"

_MAX_BACKOFF = 60.0
# So many in a row without an answer, from whatever host: it is our own line that is down.
_LINE_IS_DOWN = 200
_QUALITY = 90


def download_catalog_images(
    folder: Path,
    config: DownloadConfig | None = None,
    *,
    column: str = "image_urls",
    per_item: int = 1,
    paired: bool = False,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> tuple[Catalog, Downloads]:
    """Fetch the photos of an imported catalog and write its items table anew with them.

    An item whose photo cannot be fetched stays without it, and the catalog's quarantine tells why.
    Photos that an item has from elsewhere stay before the fetched ones.

    Args:
        folder: the catalog's folder, as `tgqformer import` writes it.
        config: the download's options.
        column: of the labels, with a list of URLs for each item, or a text of one or several, which
            values.split_links parts.
        per_item: of each item's URLs the first so many.
        paired: only for items that some pair names.
        limit: only for the first so many items, of the paired ones where `paired`.
        cache: where the photos are kept by URL, to be shared by catalogs; the catalog's own
            images/fetched where None.
        progress: show a bar on stderr.

    Raises:
        CatalogError: the catalog is not as an importer writes it, or has no such column.
        ConfigError: an option breaks its rule.
        StorageError: a photo or table cannot be written.
    """
    for name, value in (("per_item", per_item), ("limit", limit)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} ({value}) must be 1 or more.")
    catalog = _imported(folder)
    chosen = _chosen(catalog, paired, limit)
    urls = {i: told[:per_item] for i, told in zip(chosen, _urls(catalog, column, chosen))}
    place = folder / FOLDER
    every = (url for told in urls.values() for url in told)
    found = download_images(every, cache or place, config, progress=progress)
    if cache is not None:
        for url, path in found.paths.items():
            link_or_copy(path, place / path.parent.name / path.name)
            found.paths[url] = place / path.parent.name / path.name
    for position, told in urls.items():
        item = catalog.items[position]
        catalog.items[position] = _with_photos(item, told, found, place.resolve())
        for failure in (found.failures[url] for url in told if url in found.failures):
            catalog.quarantine.add(
                "items", position + 1, item.item_id, "images", "photo not fetched",
                f"{failure.url}: {failure.reason}", CLEARED,
            )  # fmt: skip
    catalog.save(folder)
    return catalog, found


def _imported(folder: Path) -> Catalog:
    """Load a catalog that may be written anew without a loss."""
    catalog = Catalog.load(folder)
    source = find_table(folder, "items")
    assert source is not None
    known = source.suffix == ".parquet" and source.is_file()
    columns = set(read_table(source, "items", catalog.quarantine).columns) if known else set()
    if not known or not columns <= set(ITEM_FIELDS):
        raise CatalogError(
            f"{source} is no items table as `tgqformer import` writes it, and would lose what is "
            "more in it; import it first (`tgqformer import table`)."
        )
    lost = sum(entry.action == DROPPED for entry in catalog.quarantine)
    if lost:
        raise CatalogError(
            f"{source} holds {lost:,} rows that break a rule and would be lost; see `tgqformer "
            f"validate {folder} --no-images` and mend them, or import the catalog anew."
        )
    return catalog


def _chosen(catalog: Catalog, paired: bool, limit: int | None) -> list[int]:
    positions = np.arange(len(catalog))
    if paired:
        table = catalog.pair_table
        positions = np.union1d(table["query"].to_numpy(), table["target"].to_numpy())
    return [int(position) for position in positions[:limit]]


def _urls(catalog: Catalog, column: str, positions: list[int]) -> Iterator[list[str]]:
    labels = catalog.labels
    if labels is None or column not in labels.columns:
        found = "none" if labels is None else ", ".join(labels.columns)
        raise CatalogError(
            f"The labels of {catalog.root} have no column {column!r} (found: {found}); name the "
            "one with the URLs, or import the catalog with it as a label."
        )
    told = labels[column].to_list()
    return (links(told[position]) for position in positions)


def _with_photos(item: Item, urls: list[str], found: Downloads, place: Path) -> Item:
    own = [ref for ref in item.images if not (isinstance(ref, Path) and ref.is_relative_to(place))]
    fetched = [found.paths[url].resolve() for url in urls if url in found.paths]
    return replace(item, images=(*own, *fetched))


@dataclass
class Downloads:
    """What came of a download.

    Attributes:
        paths: the photo of each URL that has one, fetched now or before.
        failures: why the others have none.
        fetched: photos that came in this run.
        kept: photos that were there already.
        given_up: failures of earlier runs, which were not tried again.
        bytes: of the photos that came in this run, as kept.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    fetched: int = 0
    kept: int = 0
    given_up: int = 0
    bytes: int = 0

    def counts(self) -> dict[str, int]:
        """Return how many photos failed by which rule, the most first."""
        return dict(Counter(failure.rule for failure in self.failures.values()).most_common())

    def summary(self) -> str:
        """Return what came of it in one line."""
        told = f"{self.fetched:,} photos fetched ({self.bytes / 1e6:,.1f} MB)"
        if self.kept:
            told += f", {self.kept:,} there already"
        if self.failures:
            rules = ", ".join(f"{rule} {count:,}" for rule, count in self.counts().items())
            told += f", {len(self.failures):,} failed ({rules})"
        if self.given_up:
            told += (
                f"; {self.given_up:,} failed before and were not tried again (--retry-failed tries "
                "them)"
            )
        return told


def download_images(
    urls: Iterable[str],
    out: Path,
    config: DownloadConfig | None = None,
    *,
    progress: bool = False,
) -> Downloads:
    """Fetch photos into a folder, each once.

    What is there already is not fetched again, and what failed before is tried again only with
    ``config.retry_failed``, or where the option that refused it is another now. A run that is
    stopped or killed goes on by the same call.

    Args:
        urls: each may come several times.
        out: the folder; see `PhotoStore` for what is in it.
        config: the defaults where None.
        progress: show a bar on stderr.

    Raises:
        StorageError: the folder cannot be written.
        CatalogError: nothing answers any more; the network is down, in all likelihood.
    """
    config = config or DownloadConfig()
    result = Downloads()
    store = PhotoStore(out)
    try:
        wanted = []
        for url in dict.fromkeys(urls):
            if (path := store.find(url)) is not None:
                result.paths[url] = path
            elif _given_up(store.failures.get(url), config):
                result.failures[url] = store.failures[url]
            else:
                wanted.append(url)
        result.kept, result.given_up = len(result.paths), len(result.failures)
        done = _run(wanted, store, config)
        for url, found in track(done, total=len(wanted), text="photos", show=progress):
            if isinstance(found, Path):
                result.paths[url] = found
                result.fetched += 1
                result.bytes += found.stat().st_size
            else:
                result.failures[url] = Failure(
                    url, found.rule, found.reason, _options_of(found.rule, config)
                )
                store.fail(result.failures[url])
    finally:
        store.close(result.paths)
    return result


def _given_up(failure: Failure | None, config: DownloadConfig) -> bool:
    return failure is not None and not config.retry_failed and failure.holds(config)


def _run(
    urls: list[str], store: PhotoStore, config: DownloadConfig
) -> Iterator[tuple[str, Path | FetchError]]:
    """Yield each URL with its photo or its fault, as they come in."""
    pace = Pace(config.rate)
    fetcher = Fetcher(config, pace)
    held: list[tuple[str, FetchError]] = []
    with ThreadPoolExecutor(config.workers, thread_name_prefix="photos") as pool:
        try:
            for url, found in _completed(pool, urls, fetcher, pace, store, config):
                if isinstance(found, FetchError) and found.rule in UNANSWERED:
                    # Where the line is down, these photos have not failed: they were not tried.
                    held.append((url, found))
                    if len(held) >= _LINE_IS_DOWN:
                        raise CatalogError(
                            f"The last {len(held)} photos had no answer ({found.reason}); see that "
                            "the network is up, and the same command goes on from here."
                        )
                else:
                    yield from held
                    held.clear()
                    yield url, found
            yield from held
        finally:
            pace.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            fetcher.close()


def _completed(
    pool: ThreadPoolExecutor,
    urls: list[str],
    fetcher: Fetcher,
    pace: Pace,
    store: PhotoStore,
    config: DownloadConfig,
) -> Iterator[tuple[str, Path | FetchError]]:
    running: dict[Future[Path | FetchError], str] = {}
    rest = iter(urls)
    while True:
        # A few more than there are threads: millions at once would take the memory.
        while len(running) < 2 * config.workers and (url := next(rest, None)) is not None:
            running[pool.submit(_one, url, fetcher, pace, store, config)] = url
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _one(
    url: str, fetcher: Fetcher, pace: Pace, store: PhotoStore, config: DownloadConfig
) -> Path | FetchError:
    for attempt in range(config.retries + 1):
        try:
            return store.put(url, _checked_photo(url, fetcher.fetch(url), config))
        except FetchError as error:
            last = attempt == config.retries
            too_long = error.wait is not None and error.wait > MAX_WAIT
            if last or too_long or not error.passing or pace.stopped:
                return error
            pause = min(_MAX_BACKOFF, config.backoff * 2**attempt)
            # Threads that failed together are not to come back together.
            pace.sleep((error.wait or 0.0) + pause * random.uniform(0.5, 1.0))
    raise AssertionError("the last attempt returns")


def _checked_photo(url: str, data: bytes, config: DownloadConfig) -> bytes:
    """Return the bytes to keep of a photo that decodes, scaled down where `config` asks for it.

    Raises:
        FetchError: the bytes are no picture, damaged, or of too many pixels.
    """
    try:
        image = decode_image(data, max_pixels=config.max_pixels, size_hint=config.max_side)
    except ImageError as error:
        reason = str(error).rstrip(".")
        raise FetchError(url, "no readable photo", reason) from error
    if config.max_side is None:
        return data
    return _scaled(data, image, config.max_side)


def _scaled(data: bytes, image: Image.Image, side: int) -> bytes:
    with Image.open(BytesIO(data)) as header:
        if max(header.size) <= side:
            return data
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


# -- store -----------------------------------------------------------------------------------------
# What was fetched, and what could not be: files by the sha256 of their URLs.


@dataclass(frozen=True)
class Failure:
    """A photo that could not be had.

    Attributes:
        url: its URL.
        rule: the kind of fault in a few words.
        reason: the fault.
        under: the options that the rule goes by, as they were: another try makes sense as soon as
            one of them is another.
    """

    url: str
    rule: str
    reason: str
    under: dict[str, float | bool] = field(default_factory=dict)

    def holds(self, config: DownloadConfig) -> bool:
        """Tell whether the options that it failed under are those of `config`."""
        # Lines of earlier versions tell no options, and had the defaults in all likelihood.
        return (self.under or _options_of(self.rule, DownloadConfig())) == _options_of(
            self.rule, config
        )


_OPTIONS = {
    "private address": ("allow_private",),
    "too many bytes": ("max_bytes",),
    "no readable photo": ("max_pixels",),
    "too slow": ("timeout",),
    NO_ANSWER: ("timeout",),
}


def _options_of(rule: str, config: DownloadConfig) -> dict[str, float | bool]:
    """Return the options by which a rule refuses a photo."""
    return {name: getattr(config, name) for name in _OPTIONS.get(rule, ())}


def url_key(url: str) -> str:
    """Return the sha256 of a URL, in hexadecimal."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class PhotoStore:
    """The photos and failures of a folder.

    Args:
        folder: made where it is not there.

    Raises:
        StorageError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.failures = _read(folder / FAILURES)
            self._log: TextIO = (folder / FAILURES).open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be used ({error.strerror}); choose another folder."
            ) from error
        if self._log.tell() and not _ends_a_line(folder / FAILURES):
            self._log.write("\n")  # a kill may have cut the last one

    def find(self, url: str) -> Path | None:
        """Return the photo of a URL, None where it was not fetched."""
        key = url_key(url)
        head = key[:2]
        if head not in self._listed:
            # Each folder is listed once: one system call for many files.
            try:
                names = os.listdir(self.folder / head)
            except FileNotFoundError:
                names = []
            self._listed[head] = {
                name.partition(".")[0]: name for name in names if not name.startswith(".")
            }
        name = self._listed[head].get(key)
        return None if name is None else self.folder / head / name

    def put(self, url: str, data: bytes) -> Path:
        """Keep a photo.

        Raises:
            StorageError: it cannot be written.
        """
        key = url_key(url)
        path = self.folder / key[:2] / f"{key}{image_suffix(data)}"
        write_bytes(path, data, sync=False)
        return path

    def fail(self, failure: Failure) -> None:
        """Record a failure."""
        self.failures[failure.url] = failure
        self._log.write(json.dumps(asdict(failure)) + "\n")
        self._log.flush()

    def close(self, fetched: Container[str]) -> None:
        """Write the failures anew, without the URLs that have been fetched since."""
        self._log.close()
        kept = [failure for url, failure in self.failures.items() if url not in fetched]
        lines = "".join(json.dumps(asdict(failure)) + "\n" for failure in kept)
        write_bytes(self.folder / FAILURES, lines.encode(), sync=False)


def _read(path: Path) -> dict[str, Failure]:
    failures: dict[str, Failure] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                failure = Failure(**json.loads(line))
            except (ValueError, TypeError):
                continue
            failures[failure.url] = failure
    return failures


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

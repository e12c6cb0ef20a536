"""Many photos by URL: in threads, with further tries, and gone on with where it was stopped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.faults import UNANSWERED, FetchError
from tgqformer.catalog.downloads.fetch import MAX_WAIT, Fetcher, checked_photo
from tgqformer.catalog.downloads.pace import Pace
from tgqformer.catalog.downloads.store import Failure, PhotoStore, options_of
from tgqformer.catalog.progress import track
from tgqformer.errors import CatalogError

_MAX_BACKOFF = 60.0
# So many in a row without an answer, from whatever host: it is our own line that is down.
_LINE_IS_DOWN = 200


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
        out: the folder; see store.PhotoStore for what is in it.
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
                    url, found.rule, found.reason, options_of(found.rule, config)
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
            return store.put(url, checked_photo(url, fetcher.fetch(url), config))
        except FetchError as error:
            last = attempt == config.retries
            too_long = error.wait is not None and error.wait > MAX_WAIT
            if last or too_long or not error.passing or pace.stopped:
                return error
            pause = min(_MAX_BACKOFF, config.backoff * 2**attempt)
            # Threads that failed together are not to come back together.
            pace.sleep((error.wait or 0.0) + pause * random.uniform(0.5, 1.0))
    raise AssertionError("the last attempt returns")

"""Laws of the download: each photo is fetched once, or its failure says why and is remembered."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog import downloads as module
from tgqformer.catalog.downloads import FAILURES, Downloads, url_key
from tgqformer.catalog.fetch import DownloadConfig
from tgqformer.catalog.images import decode_image
from tgqformer.errors import CatalogError, ConfigError, StorageError

Server = Any  # that of conftest.py
Photo = Callable[..., bytes]
Fetch = Callable[..., Downloads]
Fault = Callable[..., tuple[str, str]]


def test_each_photo_is_fetched_once_and_kept_by_its_url(
    server: Server, tmp_path: Path, photo: Photo, fetch: Fetch
) -> None:
    names = [f"ok/{number}" for number in range(30)]
    found = fetch(server, tmp_path, *names, *names)
    assert (found.fetched, found.kept, found.failures) == (30, 0, {})
    assert set(server.asked.values()) == {1}
    for url, path in found.paths.items():
        key = url_key(url)
        assert path == tmp_path / key[:2] / f"{key}.png"
        assert path.read_bytes() == photo(shade=sum(url.rpartition("/")[2].encode()))
    assert found.bytes == sum(path.stat().st_size for path in found.paths.values())
    again = fetch(server, tmp_path, *names)
    assert (again.fetched, again.kept, again.paths) == (0, 30, found.paths)
    assert set(server.asked.values()) == {1}


def test_a_run_goes_on_where_it_was_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    """Whenever the stop comes, what was finished is whole and is not fetched again."""
    put, calls = module.PhotoStore.put, []

    def failing(self: Any, url: str, data: bytes) -> Path:
        calls.append(url)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return put(self, url, data)

    names = [f"ok/{number}" for number in range(40)]
    monkeypatch.setattr(module.PhotoStore, "put", failing)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, *names, workers=1)
    monkeypatch.setattr(module.PhotoStore, "put", put)
    kept = len(list(tmp_path.rglob("*.png")))
    assert 6 <= kept < 40
    found = fetch(server, tmp_path, *names)
    assert (found.kept, found.fetched) == (kept, 40 - kept)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_tried_again(
    server: Server, tmp_path: Path, status: int, fetch: Fetch
) -> None:
    found = fetch(server, tmp_path, f"flaky/{status}")
    assert found.fetched == 1
    assert server.asked[f"/flaky/{status}"] == 3
    assert fetch(server, tmp_path, f"status/{status}", retries=2).failures
    assert server.asked[f"/status/{status}"] == 3


def test_a_body_cut_short_is_tried_again(server: Server, tmp_path: Path, fetch: Fetch) -> None:
    assert fetch(server, tmp_path, "cut/once").fetched == 1
    assert server.asked["/cut/once"] == 2


def test_redirects_are_followed(server: Server, tmp_path: Path, fetch: Fetch) -> None:
    found = fetch(server, tmp_path, "to/to/ok/a", f"to/{server.url}/ok/b")
    assert found.fetched == 2
    assert [path.suffix for path in found.paths.values()] == [".png", ".png"]


def test_large_photos_are_scaled_down_where_asked(
    server: Server, tmp_path: Path, fetch: Fetch
) -> None:
    found = fetch(server, tmp_path, "big/900", "big/60", max_side=100)
    kept = [found.paths[f"{server.url}/big/{side}"].read_bytes() for side in (900, 60)]
    sizes = [decode_image(data).size for data in kept]
    assert sizes == [(100, 100), (60, 60)]


@pytest.mark.parametrize(
    ("path", "rule", "words"),
    [
        ("status/404", "HTTP 404", "answers 404 Not Found"),
        ("status/503", "HTTP 503", "answers 503"),
        ("page", "no readable photo", "no picture in a known format .it begins with b'<html>"),
        ("empty", "no readable photo", "is empty"),
        ("half", "no readable photo", "damaged or cut short"),
        ("packed", "no readable photo", "no picture in a known format"),
        ("cut", "cut short", "IncompleteRead"),
        ("heavy", "too many bytes", "999,999,999,999 bytes or more, over the limit of 100,000"),
        ("endless", "too many bytes", "over the limit of 100,000"),
        ("drip", "too slow", "did not come in 0.3 s"),
        ("slowly", "too slow", "did not come in 0.3 s"),
        ("slowly/chunked", "too slow", "did not come in 0.3 s"),
        ("slowhead", "no answer", "[Tt]imed out"),
        ("slowhead/fields", "no answer", "[Tt]imed out"),
        ("silent", "no answer", "[Tt]imed out"),
        ("drop", "no answer", "closed connection without response"),
        ("loop", "too many redirects", "more than 5 times"),
        ("big/400", "no readable photo", "400 x 400 pixels, more than the limit of 100,000"),
        ("to/ftp://example.org/a.jpg", "no http URL", "only http"),
        ("ftp://example.org/a.jpg", "no http URL", "only http"),
        ("file:///etc/passwd", "no http URL", "only http"),
        ("http://", "no http URL", "only http"),
        ("http://[::1", "no URL", "cannot be read"),
    ],
)
def test_a_photo_that_cannot_be_had_says_why(
    server: Server, tmp_path: Path, path: str, rule: str, words: str, fault: Fault
) -> None:
    bounds = {"max_bytes": 100_000, "max_pixels": 100_000, "timeout": 0.3, "retries": 1}
    start = time.monotonic()
    told = fault(server, tmp_path, path, **bounds)
    assert time.monotonic() - start < 3  # two tries of 0.3 s, where the drips last 2 s
    assert told[0] == rule
    assert re.search(words, told[1]), told[1]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != FAILURES]


def test_failures_are_remembered_and_tried_again_only_when_asked(
    server: Server, tmp_path: Path, fetch: Fetch
) -> None:
    first = fetch(server, tmp_path, "flaky/500", "status/404", "ok/a", retries=0)
    assert first.counts() == {"HTTP 500": 1, "HTTP 404": 1}
    second = fetch(server, tmp_path, "flaky/500", "status/404", "ok/a")
    assert (second.kept, second.given_up, second.failures) == (1, 2, first.failures)
    assert server.asked["/status/404"] == 1
    third = fetch(server, tmp_path, "flaky/500", "status/404", "ok/a", retry_failed=True)
    assert (third.kept, third.fetched, third.counts()) == (1, 1, {"HTTP 404": 1})
    lines = (tmp_path / FAILURES).read_text().splitlines()
    assert [json.loads(line)["rule"] for line in lines] == ["HTTP 404"]


def test_a_log_of_failures_that_was_cut_is_no_hindrance(
    server: Server, tmp_path: Path, fetch: Fetch
) -> None:
    fetch(server, tmp_path, "status/404", "status/410")
    log = tmp_path / FAILURES
    log.write_bytes(log.read_bytes()[:-9])
    found = fetch(server, tmp_path, "status/404", "status/410", "status/400")
    assert (found.given_up, len(found.failures)) == (1, 3)
    assert fetch(server, tmp_path, "status/404", "status/410", "status/400").given_up == 3


def test_a_dead_line_ends_the_run_and_fails_no_photo(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    monkeypatch.setattr(module, "_LINE_IS_DOWN", 10)
    names = [f"drop/{number}" for number in range(30)]
    fetch(server, tmp_path, "ok/a")
    with pytest.raises(CatalogError, match=r"10 photos had no answer .*the same command goes on"):
        fetch(server, tmp_path, "ok/a", *names, retries=0)
    found = fetch(server, tmp_path, "ok/a", *names[:9], retries=0)
    assert (found.kept, found.given_up, len(found.failures)) == (1, 0, 9)


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"rate": 0.0}, {"timeout": float("inf")}, {"retries": -1}, {"max_side": 3}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name):
        DownloadConfig(**options)


def test_a_folder_that_cannot_be_used(server: Server, tmp_path: Path, fetch: Fetch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file cannot be used .*choose another folder"):
        fetch(server, tmp_path / "file", "ok/a")

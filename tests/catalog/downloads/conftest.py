"""A server that behaves as badly as servers do, and downloads that wait for little."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tgqformer.catalog.downloads import Downloads, download_images
from tgqformer.catalog.fetch import DownloadConfig


def draw_photo(side: int = 8, shade: int = 0, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").point(
        lambda value: (value + shade) % 256
    ).save(buffer, kind)
    return buffer.getvalue()


PHOTO = draw_photo(64)


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; what was asked is counted."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        with self.server.lock:
            self.server.asked[name] += 1
            count = self.server.asked[name]
            self.server.hosts.append(self.headers["Host"])
            self.server.times.append(time.monotonic())
        kind, _, rest = name.strip("/").partition("/")
        getattr(self, f"do_{kind}")(rest, count)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_ok(self, rest: str, count: int) -> None:
        self.answer(200, draw_photo(shade=sum(rest.encode())), Content_Type="image/png")

    def do_big(self, rest: str, count: int) -> None:
        self.answer(200, draw_photo(int(rest), kind="JPEG"))

    def do_status(self, rest: str, count: int) -> None:
        self.answer(int(rest))

    def do_flaky(self, rest: str, count: int) -> None:
        """Two answers of the status, then the photo."""
        self.answer(int(rest)) if count <= 2 else self.answer(200, PHOTO)

    def do_busy(self, rest: str, count: int) -> None:
        self.answer(429, Retry_After=rest) if count == 1 else self.answer(200, PHOTO)

    def do_date(self, rest: str, count: int) -> None:
        later = datetime.now(timezone.utc) + timedelta(seconds=2)
        told = format_datetime(later, usegmt=True)
        self.answer(503, Retry_After=told) if count == 1 else self.answer(200, PHOTO)

    def do_page(self, rest: str, count: int) -> None:
        self.answer(200, b"<html>not found, politely</html>", Content_Type="image/jpeg")

    def do_empty(self, rest: str, count: int) -> None:
        self.answer(200)

    def do_cut(self, rest: str, count: int) -> None:
        """A body that ends before its length; whole from the second time if so asked."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PHOTO)))
        self.end_headers()
        self.wfile.write(PHOTO if rest == "once" and count > 1 else PHOTO[: len(PHOTO) // 2])
        self.close_connection = True

    def do_half(self, rest: str, count: int) -> None:
        """Half a photo and no length told."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PHOTO[: len(PHOTO) // 2])
        self.close_connection = True

    def do_endless(self, rest: str, count: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(65_536))
        except OSError:
            pass

    def do_heavy(self, rest: str, count: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "999999999999")
        self.end_headers()
        self.close_connection = True

    def do_drip(self, rest: str, count: int, *, head: bool = True, piece: bytes = b"x") -> None:
        """A byte now and then: each read is in time, the whole never is."""
        if head:
            self.send_response(200)
            self.end_headers()
        self.close_connection = True
        try:
            for _ in range(40):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def do_slowhead(self, rest: str, count: int) -> None:
        """A head that comes byte by byte, in its first line or, by `rest`, in its fields."""
        if rest:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.do_drip(rest, count, head=False)

    def do_slowly(self, rest: str, count: int) -> None:
        """A body in pieces, each of which is in time, with a length or, by `rest`, in chunks."""
        self.send_response(200)
        self.send_header(*(("Transfer-Encoding", rest) if rest else ("Content-Length", "40")))
        self.end_headers()
        self.do_drip(rest, count, head=False, piece=b"1\r\nx\r\n" if rest else b"x")

    def do_silent(self, rest: str, count: int) -> None:
        time.sleep(0.6)
        self.close_connection = True

    def do_drop(self, rest: str, count: int) -> None:
        self.close_connection = True

    def do_to(self, rest: str, count: int) -> None:
        """A redirect to a path of this server, or to a URL."""
        self.answer(302, Location=rest if "://" in rest else f"/{rest}")

    def do_loop(self, rest: str, count: int) -> None:
        self.answer(302, Location=f"/loop/{int(rest or 0) + 1}")

    def do_packed(self, rest: str, count: int) -> None:
        self.answer(200, gzip.compress(PHOTO), Content_Encoding="gzip")

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.hosts: list[str] = []
        self.times: list[float] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # A disk that many share may take seconds to sync; what is judged here is not the disk.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    return draw_photo


@pytest.fixture(scope="session")
def config() -> Callable[..., DownloadConfig]:
    """Options for a server that is near, private and in no need of care."""

    def make(**options: Any) -> DownloadConfig:
        near = {"backoff": 0.001, "timeout": 2.0, "rate": 10_000.0, "allow_private": True}
        return DownloadConfig(**{**near, **options})

    return make


@pytest.fixture(scope="session")
def fetch(config: Callable[..., DownloadConfig]) -> Callable[..., Downloads]:
    """Download paths of the server, or whole URLs, into a folder."""

    def run(server: Server, out: Path, *paths: str, **options: Any) -> Downloads:
        urls = [path if re.match(r"\w+://", path) else f"{server.url}/{path}" for path in paths]
        return download_images(urls, out, config(**options))

    return run


@pytest.fixture(scope="session")
def fault(fetch: Callable[..., Downloads]) -> Callable[..., tuple[str, str]]:
    """The rule and the reason by which one photo cannot be had."""

    def run(server: Server, out: Path, path: str, **options: Any) -> tuple[str, str]:
        found = fetch(server, out, path, **options)
        assert not found.paths
        (failure,) = found.failures.values()
        assert failure.url in found.failures
        return failure.rule, failure.reason

    return run

"""Laws of the download, against a server that behaves as badly as servers do."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.downloads import download as module
from tgqformer.catalog.downloads.addresses import is_public
from tgqformer.catalog.downloads.catalog_photos import download_catalog_images
from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.download import Downloads, download_images
from tgqformer.catalog.downloads.pace import Pace
from tgqformer.catalog.downloads.store import FAILURES, url_key
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.importers.amazon2018 import import_amazon2018
from tgqformer.cli import main as cli
from tgqformer.errors import CatalogError, ConfigError, StorageError


def photo(side: int = 8, shade: int = 0, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").point(
        lambda value: (value + shade) % 256
    ).save(buffer, kind)
    return buffer.getvalue()


PHOTO = photo(64)


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
        self.answer(200, photo(shade=sum(rest.encode())), Content_Type="image/png")

    def do_big(self, rest: str, count: int) -> None:
        self.answer(200, photo(int(rest), kind="JPEG"))

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
        import gzip

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


def config(**options: Any) -> DownloadConfig:
    near = {"backoff": 0.001, "timeout": 2.0, "rate": 10_000.0, "allow_private": True}
    return DownloadConfig(**{**near, **options})


def fetch(server: Server, out: Path, *paths: str, **options: Any) -> Downloads:
    urls = [path if re.match(r"\w+://", path) else f"{server.url}/{path}" for path in paths]
    return download_images(urls, out, config(**options))


def fault(server: Server, out: Path, path: str, **options: Any) -> tuple[str, str]:
    found = fetch(server, out, path, **options)
    assert not found.paths
    (failure,) = found.failures.values()
    assert failure.url in found.failures
    return failure.rule, failure.reason


# -- what works ----------------------------------------------------------------------------------


def test_each_photo_is_fetched_once_and_kept_by_its_url(server: Server, tmp_path: Path) -> None:
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
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
def test_a_fault_that_passes_is_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    found = fetch(server, tmp_path, f"flaky/{status}")
    assert found.fetched == 1
    assert server.asked[f"/flaky/{status}"] == 3
    assert fetch(server, tmp_path, f"status/{status}", retries=2).failures
    assert server.asked[f"/status/{status}"] == 3


def test_a_body_cut_short_is_tried_again(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path, "cut/once").fetched == 1
    assert server.asked["/cut/once"] == 2


@pytest.mark.parametrize(("path", "seconds"), [("busy/1", 1.0), ("date", 0.9)])
def test_retry_after_is_obeyed(server: Server, tmp_path: Path, path: str, seconds: float) -> None:
    """As a number and as a date; the whole host is left alone meanwhile."""
    assert fetch(server, tmp_path, path, timeout=30.0).fetched == 1
    first, second = server.times
    assert second - first >= seconds


def test_a_wait_of_hours_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    assert fault(server, tmp_path, "busy/86400")[0] == "HTTP 429"
    assert server.asked["/busy/86400"] == 1


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    found = fetch(server, tmp_path, "to/to/ok/a", f"to/{server.url}/ok/b")
    assert found.fetched == 2
    assert [path.suffix for path in found.paths.values()] == [".png", ".png"]


def test_large_photos_are_scaled_down_where_asked(server: Server, tmp_path: Path) -> None:
    found = fetch(server, tmp_path, "big/900", "big/60", max_side=100)
    kept = [found.paths[f"{server.url}/big/{side}"].read_bytes() for side in (900, 60)]
    sizes = [decode_image(data).size for data in kept]
    assert sizes == [(100, 100), (60, 60)]


# -- what does not -------------------------------------------------------------------------------


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
    server: Server, tmp_path: Path, path: str, rule: str, words: str
) -> None:
    bounds = {"max_bytes": 100_000, "max_pixels": 100_000, "timeout": 0.3, "retries": 1}
    start = time.monotonic()
    told = fault(server, tmp_path, path, **bounds)
    assert time.monotonic() - start < 3  # two tries of 0.3 s, where the drips last 2 s
    assert told[0] == rule
    assert re.search(words, told[1]), told[1]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != FAILURES]


def test_failures_are_remembered_and_tried_again_only_when_asked(
    server: Server, tmp_path: Path
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


def test_a_log_of_failures_that_was_cut_is_no_hindrance(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, "status/404", "status/410")
    log = tmp_path / FAILURES
    log.write_bytes(log.read_bytes()[:-9])
    found = fetch(server, tmp_path, "status/404", "status/410", "status/400")
    assert (found.given_up, len(found.failures)) == (1, 3)
    assert fetch(server, tmp_path, "status/404", "status/410", "status/400").given_up == 3


def test_a_dead_line_ends_the_run_and_fails_no_photo(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINE_IS_DOWN", 10)
    names = [f"drop/{number}" for number in range(30)]
    fetch(server, tmp_path, "ok/a")
    with pytest.raises(CatalogError, match=r"10 photos had no answer .*the same command goes on"):
        fetch(server, tmp_path, "ok/a", *names, retries=0)
    found = fetch(server, tmp_path, "ok/a", *names[:9], retries=0)
    assert (found.kept, found.given_up, len(found.failures)) == (1, 0, 9)


# -- whom it asks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1",
     "fe80::1", "fc00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "224.0.0.1", "100.64.0.1", "x",
     "fec0::1", "::127.0.0.1", "::", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
     "64:ff9b:1::5db8:d822"],
)  # fmt: skip
def test_addresses_of_inner_networks_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")
    assert is_public("64:ff9b::5db8:d822")  # as a network without IPv4 reaches 93.184.216.34


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/ok/a", "http://localhost:{port}/ok/a", "http://2130706433:{port}/",
     "http://[::1]:{port}/ok/a", "http://169.254.169.254/latest/meta-data/", "http://0x7f.1/a"],
)  # fmt: skip
def test_private_addresses_are_not_asked(server: Server, tmp_path: Path, url: str) -> None:
    where = url.format(port=server.server_address[1])
    rule, reason = fault(server, tmp_path, where, allow_private=False)
    assert rule == "private address"
    assert "--allow-private" in reason
    assert not server.asked


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Let names lead to addresses, one after another with each question; return the questions."""
    real, asked = socket.getaddrinfo, []

    def answer(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in names:
            return real(host, port, *rest, **options)
        asked.append(host)
        address = names[host][min(asked.count(host), len(names[host])) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_no_redirect_leads_inside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that counts as public sends us to a private one, by address and by name."""
    monkeypatch.setattr(
        "tgqformer.catalog.downloads.addresses.is_public", lambda address: address == "127.0.0.1"
    )
    resolving(monkeypatch, {"shop.test": ["127.0.0.1"], "inner.test": ["10.0.0.7"]})
    port = server.server_address[1]
    for target in ("http://10.0.0.7/ok", "http://inner.test/ok"):
        told = fault(server, tmp_path, f"http://shop.test:{port}/to/{target}", allow_private=False)
        assert told[0] == "private address"
    assert server.hosts == [f"shop.test:{port}"] * 2


def test_a_name_cannot_move_between_check_and_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is asked for once, and the connection goes to the address that was checked."""
    asked = resolving(monkeypatch, {"shop.test": ["127.0.0.1", "10.0.0.7"]})
    port = server.server_address[1]
    assert fetch(server, tmp_path, f"http://shop.test:{port}/ok/a").fetched == 1
    assert asked == ["shop.test"]
    assert server.hosts == [f"shop.test:{port}"]


def test_a_host_that_nobody_knows(tmp_path: Path, server: Server) -> None:
    assert fault(server, tmp_path, "http://no-such-host.invalid/a.jpg", retries=0)[0] == (
        "host not known"
    )


def test_a_host_is_asked_no_more_often_than_allowed(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, *[f"ok/{number}" for number in range(11)], rate=50.0, workers=8)
    assert max(server.times) - min(server.times) >= 10 / 50 - 0.03


def test_hosts_do_not_wait_for_each_other() -> None:
    pace = Pace(rate=0.001)
    start = time.monotonic()
    pace.wait("one.test")
    pace.wait("two.test")
    assert time.monotonic() - start < 1
    threading.Timer(0.05, pace.stop).start()
    pace.wait("one.test")  # for 1,000 s, were it not stopped
    assert time.monotonic() - start < 10


def test_a_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    found = fetch(server, tmp_path, "http://photos.test/ok/a", allow_private=False, retries=0)
    assert found.failures, "the server takes the whole URL for a path, which it has not"
    assert server.hosts == ["photos.test"]
    assert fault(server, tmp_path, "http://10.0.0.1/a", allow_private=False)[0] == (
        "private address"
    )


def test_https_is_checked_against_the_name_not_the_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"]
    try:
        subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the command openssl")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    resolving(monkeypatch, {"shop.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    port = server.server_address[1]
    url = f"https://shop.test:{port}/ok/a"
    assert fault(server, tmp_path / "a", url, retries=0)[0] == "bad certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(server, tmp_path / "b", url).fetched == 1
    slow = {"timeout": 0.3, "retries": 0}
    for path, rule in (("slowhead/x", "no answer"), ("slowly", "too slow")):
        start = time.monotonic()
        told = fault(server, tmp_path / path, f"https://shop.test:{port}/{path}", **slow)
        assert (told[0], time.monotonic() - start < 1.5) == (rule, True)
    other = url.replace("shop", "other")
    assert fault(server, tmp_path / "c", other, retries=0)[0] == "bad certificate"


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"rate": 0.0}, {"timeout": float("inf")}, {"retries": -1}, {"max_side": 3}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name):
        DownloadConfig(**options)


def test_a_folder_that_cannot_be_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file cannot be used .*choose another folder"):
        fetch(server, tmp_path / "file", "ok/a")


# -- a catalog -----------------------------------------------------------------------------------


@pytest.fixture
def metadata(server: Server, tmp_path: Path) -> Path:
    rows = [
        {"asin": "A1", "title": "Boot", "also_buy": ["A2"],
         "imageURLHighRes": [f"{server.url}/ok/1", f"{server.url}/ok/1b"]},
        {"asin": "A2", "title": "Sock", "imageURLHighRes": [f"{server.url}/status/404"]},
        {"asin": "A3", "title": "Hat", "imageURLHighRes": []},
        {"asin": "A4", "title": "Cap", "imageURLHighRes": [f"{server.url}/ok/1"]},
    ]  # fmt: skip
    path = tmp_path / "meta.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_unreachable_photo_costs_the_photo_and_not_the_item(
    server: Server, metadata: Path, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    before = import_amazon2018(metadata, shop, split="none")
    catalog, found = download_catalog_images(shop, config())
    assert (found.fetched, found.counts()) == (1, {"HTTP 404": 1})
    assert [len(item.images) for item in catalog.items] == [1, 0, 0, 1]
    (entry,) = catalog.quarantine
    assert (entry.row, entry.item_id, entry.rule) == (2, "A2", "photo not fetched")
    assert f"{server.url}/status/404: the server answers 404" in entry.reason
    loaded = Catalog.load(shop, strict=True, check_images=True)
    assert loaded.items == catalog.items
    assert (loaded.pairs, loaded.labels.equals(before.labels)) == (before.pairs, True)


def test_fetching_again_changes_nothing(server: Server, metadata: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    import_amazon2018(metadata, shop, split="none")
    download_catalog_images(shop, config(), per_item=2)
    items = (shop / "items.parquet").read_bytes()
    asked = dict(server.asked)
    catalog, found = download_catalog_images(shop, config(), per_item=2)
    assert (shop / "items.parquet").read_bytes() == items
    assert [len(item.images) for item in catalog.items] == [2, 0, 0, 1]
    assert (found.kept, found.given_up, dict(server.asked)) == (2, 1, asked)
    import_amazon2018(metadata, shop, split="none")  # which knows of no photos
    assert download_catalog_images(shop, config())[1].kept == 1
    assert dict(server.asked) == asked


def test_only_paired_items_and_only_some(server: Server, metadata: Path, tmp_path: Path) -> None:
    import_amazon2018(metadata, tmp_path / "shop", split="none")
    found = download_catalog_images(tmp_path / "shop", config(), paired=True)[1]
    assert len(found.paths) + len(found.failures) == 2
    import_amazon2018(metadata, tmp_path / "other", split="none")
    assert not download_catalog_images(tmp_path / "other", config(), limit=1)[1].failures


def test_catalogs_may_share_a_cache(server: Server, metadata: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        import_amazon2018(metadata, tmp_path / name, split="none")
        catalog, _ = download_catalog_images(tmp_path / name, config(), cache=tmp_path / "cache")
        (ref, *_) = catalog.items[0].images
        assert ref.is_relative_to(tmp_path / name)
    assert server.asked["/ok/1"] == 1


def test_photos_from_elsewhere_stay_first(server: Server, metadata: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/A1.png").write_bytes(PHOTO)
    import_amazon2018(metadata, tmp_path / "shop", images=tmp_path / "photos", split="none")
    for _ in range(2):
        catalog, _ = download_catalog_images(tmp_path / "shop", config())
        assert [ref.read_bytes() == PHOTO for ref in catalog.items[0].images] == [True, False]


@pytest.mark.parametrize("told", ["{0}", " {0} ", '["{0}"]', ""])
def test_urls_may_be_text(server: Server, tmp_path: Path, told: str) -> None:
    cell = told.format(f"{server.url}/ok/1").replace('"', '""')
    (tmp_path / "goods.csv").write_text(f'sku,link\nA,"{cell}"\n')
    importing = ["import", "table", str(tmp_path / "goods.csv"), str(tmp_path / "shop")]
    assert run(*importing, "--column", "item_id=sku", "--set", "labels=link", "-q") == 0
    catalog, _ = download_catalog_images(tmp_path / "shop", config(), column="link")
    assert len(catalog.items[0].images) == (told != "")


def test_a_catalog_that_would_lose_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nA,Lamp\n")
    with pytest.raises(CatalogError, match="import it first"):
        download_catalog_images(tmp_path)
    (tmp_path / "items.csv").unlink()
    pl.DataFrame({"item_id": ["A"], "note": ["mine"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match="import it first"):
        download_catalog_images(tmp_path)
    pl.DataFrame({"item_id": ["A", "A"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match="1 rows that break a rule"):
        download_catalog_images(tmp_path)
    pl.DataFrame({"item_id": ["A"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match=r"no column 'image_urls' .found: none.; name the one"):
        download_catalog_images(tmp_path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command(
    server: Server, metadata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, table = str(tmp_path / "shop"), tmp_path / "failed.csv"
    assert run("import", "amazon2018", str(metadata), shop, "-q") == 0
    options = ["--allow-private", "--quarantine", str(table), "-q"]
    assert run("download-images", shop, *options) == 0
    assert "1 photos fetched" in capsys.readouterr().out
    assert "status/404: the server answers 404" in table.read_text()
    assert run("download-images", shop, "--allow-private", "-q", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["photos"]["kept"], told["photos"]["given_up"]) == (1, 1)
    assert run("download-images", shop, "--workers", "0", "-q") == 2


def test_import_may_fetch_at_once(
    server: Server, metadata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = str(tmp_path / "shop")
    options = ["--download-images", "-q", "--json"]
    assert run("import", "amazon2018", str(metadata), shop, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photos"]["faults"] == {"private address": 2}
    assert not server.asked

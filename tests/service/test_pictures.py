"""Laws of photos in requests: bounded before they are decoded, and fetched from nowhere unasked."""

from __future__ import annotations

import base64
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tgqformer.catalog import fetch
from tgqformer.service.config import ServiceConfig
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import Pictures


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge, in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_photos_come_through_byte_for_byte(helpers) -> None:
    data = helpers.photo()
    text = helpers.in_base64(data)
    pictures = Pictures(ServiceConfig())
    for told in (text, f"data:image/png;base64,{text}", "\n".join([text[:40], text[40:]])):
        assert pictures.read(told, "x") == data


@pytest.mark.parametrize(
    "told",
    [
        "",
        "no base64!",
        "QUJD",
        "data:image/png,abc",
        "data:;base64,",
        base64.b64encode(bomb(60_000, 60_000)).decode(),
        base64.b64encode(bomb(6_000, 5_000)).decode(),
        base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run").decode(),
        base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg"/>').decode(),
        "http://photos.example/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "\ud800",
    ],
)
def test_what_is_no_photo_is_422(told: str) -> None:
    with pytest.raises(ApiError) as caught:
        Pictures(ServiceConfig()).read(told, "images.0")
    assert (caught.value.status_code, caught.value.param) == (422, "images.0")


def test_a_photo_cut_short_is_422(helpers) -> None:
    data = helpers.photo(200)
    with pytest.raises(ApiError, match=r"damaged|cannot be decoded"):
        Pictures(ServiceConfig()).read(helpers.in_base64(data[: len(data) // 2]), "x")


class Shop(BaseHTTPRequestHandler):
    """Serves a photo at /photo, and elsewhere a redirect to it."""

    data = b""

    def do_GET(self) -> None:
        if self.path == "/photo":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.data)))
        else:
            self.send_response(302)
            self.send_header("Location", "/photo")
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/photo":
            self.wfile.write(self.data)

    def log_message(self, format: str, *arguments: object) -> None:
        return


def test_urls_are_fetched_from_listed_public_hosts_without_redirects(
    helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    Shop.data = helpers.photo()
    server = HTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.server_port
        host = f"localhost:{port}"
        pictures = Pictures(ServiceConfig(image_hosts=(host,)))

        def refused(url: str) -> str:
            with pytest.raises(ApiError) as caught:
                pictures.read(url, "x")
            assert caught.value.status_code == 422
            return caught.value.message

        assert "private or local" in refused(f"http://{host}/photo")
        assert "is not one that" in refused(f"http://127.0.0.1:{port}/photo")
        assert "is not one that" in refused(f"http://other.example:{port}/photo")
        assert "is not one that" in refused("http://localhost/photo")
        assert "is not one that" in refused(f"http://{host}@other.example/photo")
        # as if the host were a public one
        monkeypatch.setattr(fetch, "is_public", lambda address: True)
        assert pictures.read(f"http://{host}/photo", "x") == Shop.data
        assert "redirects" in refused(f"http://{host}/moved")
        small = Pictures(ServiceConfig(image_hosts=(host,), max_image_bytes=10))
        with pytest.raises(ApiError, match="over the limit of 10"):
            small.read(f"http://{host}/photo", "x")
        small.close()
        pictures.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""Laws of the running server: slow and endless heads are cut off, and stopping loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tgqformer.service.config import ServiceConfig
from tgqformer.service.server import MAX_HEAD, server


@contextmanager
def listening(app: FastAPI, **limits: Any) -> Iterator[tuple[int, Any]]:
    """Port and server, which runs in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        made = server(app, ServiceConfig(**limits), host="127.0.0.1", port=port)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
        thread.start()
        while not made.started:
            time.sleep(0.01)
        yield port, made
        made.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def everything(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    said = b""
    try:
        while part := connection.recv(4096):
            said += part
    except ConnectionError:
        pass
    return said


def post(path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def test_heads_are_bounded_in_time_and_length(make_app) -> None:
    with listening(make_app(), header_timeout=0.3) as (port, _):
        address = ("127.0.0.1", port)
        for start in (b"", b"POST /v1/similar HTTP/1.1\r\nHo"):
            with socket.create_connection(address) as connection:
                connection.sendall(start)
                assert everything(connection) == b""
        with socket.create_connection(address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            try:
                for _ in range(1000):
                    connection.sendall(b"X-Long: " + b"x" * 4000 + b"\r\n")
            except ConnectionError:
                pass
            said = everything(connection)
        assert b"400 Bad Request" in said or said == b""  # or the rest was refused by a reset
        if said:
            assert f"{MAX_HEAD:,}" in json.loads(said.split(b"\r\n\r\n")[1])["error"]["message"]
        with socket.create_connection(address) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            said = everything(connection)
        assert set(json.loads(said.split(b"\r\n\r\n")[1])) == {"error"}
        with socket.create_connection(address) as connection:
            connection.sendall(post("/v1/similar", {"id": "i1"}))
            assert b"200 OK" in everything(connection)


def test_what_is_under_way_when_the_service_stops_is_finished(make_app, embedder) -> None:
    began, go_on = threading.Event(), threading.Event()

    def hold(items: object) -> None:
        began.set()
        assert go_on.wait(30)

    embedder.before = hold
    with listening(make_app()) as (port, made):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(post("/v1/items", {"items": [{"id": "late", "title": "Late"}]}))
        assert began.wait(30)
        made.should_exit = True
        time.sleep(0.2)
        go_on.set()
        said = everything(connection)
        connection.close()
    assert b"200 OK" in said
    assert json.loads(said.split(b"\r\n\r\n")[1])["items"][0]["status"] == "created"
    embedder.before = lambda items: None
    again = make_app()
    assert "late" in again.state.service.models["fake"].index
    again.state.service.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_readme(make_app) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^curl (?:.*\\\n)*.*$", readme, re.MULTILINE)
    assert len(lines) >= 5
    with listening(make_app()) as (port, _):
        for line in lines:
            line = line.replace("localhost:8000", f"127.0.0.1:{port}").replace("p000000", "i0")
            done = subprocess.run(
                ["bash", "-c", f"{line} -w '\\n%{{http_code}}'"],
                capture_output=True,
                text=True,
                timeout=120,
                env=os.environ | {"no_proxy": "*"},
            )
            body, _, code = done.stdout.rpartition("\n")
            assert code in ("200", "201", "204"), f"{line}\n{body}"

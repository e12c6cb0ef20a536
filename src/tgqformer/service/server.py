"""Running the service: uvicorn, with a limit on how long a client may take to say what it wants."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tgqformer.service.config import ServiceConfig
from tgqformer.service.failures import encoded, failure

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers, at most."""


def run(app: FastAPI, config: ServiceConfig, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is then finished, within its time."""
    # A store's million ids stay for good: the collector need not look through them again and again.
    gc.collect()
    gc.freeze()
    server(app, config, host=host, port=port).run()


def server(app: FastAPI, config: ServiceConfig, *, host: str, port: int) -> uvicorn.Server:
    """A server that is ready to run."""

    class Protocol(BoundedHead):
        header_timeout = config.header_timeout

    options = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(config.header_timeout)),
        timeout_graceful_shutdown=max(1, round(config.shutdown_timeout)),
    )
    return _Server(options)


class _Server(uvicorn.Server):
    """Says that it is stopping as soon as it is told to."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.service.stopping = True
        super().handle_exit(sig, frame)


class BoundedHead(HttpToolsProtocol):
    """Closes a connection on which no whole request head came in time, or too long a one.

    uvicorn itself waits for ever for a first request that is sent byte by byte, and keeps headers
    of any length.
    """

    header_timeout = 10.0
    _late: asyncio.TimerHandle | None = None  # while a head is awaited
    _head = 0  # its bytes so far

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is None:
            return
        self._head += len(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response(f"the headers are longer than {MAX_HEAD:,} bytes; shorten them.")

    def on_message_begin(self) -> None:
        if self._late is None:
            self._watch()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._relax()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        content = encoded(failure("bad_request", msg))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + content)
        self.transport.close()

    def _watch(self) -> None:
        self._head = 0
        self._late = self.loop.call_later(self.header_timeout, self._close_late)

    def _relax(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.abort()

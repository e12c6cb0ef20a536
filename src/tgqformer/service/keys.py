"""What stands before every route: API keys, the number of requests, the size and pace of bodies.

A key may read, or read and write. A body is read here, whole and within its bounds, before any of
it is looked at; nobody without a key makes the service read one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tgqformer.errors import ConfigError
from tgqformer.service.failures import ApiError, OverloadedError
from tgqformer.service.observing import answer

if TYPE_CHECKING:
    from tgqformer.service.config import ServiceConfig

Right = Literal["read", "write"]
MIN_CHARS = 16

_FREE = ("/health", "/ready")  # never refused for load
_WRITES = ("PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Keys:
    """Known keys, as digests: a dump of this process's memory does not hold the keys themselves.

    Attributes:
        digests: sha256 of a key, and its right; none at all let everybody do everything.
    """

    digests: tuple[tuple[bytes, Right], ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[str], source: str) -> Keys:
        """Read lines ``read KEY`` and ``write KEY``; empty ones and those with # do not count.

        Raises:
            ConfigError: a line is neither, a key is shorter than MIN_CHARS, or there is none. The
                message names the line, never the key.
        """
        found: list[tuple[bytes, Right]] = []
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or words[0] not in ("read", "write"):
                raise ConfigError(
                    f"line {number} of {source} is no key; write `read KEY` or `write KEY`."
                )
            if len(words[1]) < MIN_CHARS:
                raise ConfigError(
                    f"the key in line {number} of {source} has {len(words[1])} characters, but "
                    f"needs {MIN_CHARS}; make one with `openssl rand -hex 24`."
                )
            found.append((_digest(words[1]), "write" if words[0] == "write" else "read"))
        if not found:
            raise ConfigError(f"{source} holds no key; write `read KEY` or `write KEY` in it.")
        return cls(tuple(found))

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file of keys; ConfigError where it cannot be."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise ConfigError(f"the keys {path} cannot be read ({reason}).") from None
        return cls.parse(text.splitlines(), str(path))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def right(self, authorization: str) -> Right | None:
        """The right that a header ``Bearer KEY`` gives; every key is compared, in constant time."""
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        right: Right | None = None
        for digest, its in self.digests:
            if hmac.compare_digest(given, digest):
                right = "write" if "write" in (its, right) else "read"
        return right if scheme.lower() == "bearer" else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Gate:
    """Middleware that asks for keys and keeps the limits, before anything is done."""

    def __init__(self, app: ASGIApp, config: ServiceConfig, keys: Keys) -> None:
        self._app, self._config, self._keys = app, config, keys
        self._requests = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        held = 0
        admitted = False
        try:
            self._check_key(scope)
            self._check_load()
            self._requests += 1
            admitted = True
            body = bytearray()
            declared = self._declared(scope)
            if declared is None or declared > 0:
                limit = self._config.body_timeout
                try:
                    held = await asyncio.wait_for(self._read(receive, body), limit)
                except asyncio.TimeoutError:
                    raise ApiError(
                        408,
                        f"the body did not end within {limit:g} s; send it faster, or less of it.",
                    ) from None
            await self._app(scope, _replayed(bytes(body), receive), send)
        except ApiError as error:
            headers = dict(error.headers or {})
            if error.status_code in (408, 413, 429):
                headers["Connection"] = "close"  # the rest of the body is not wanted
            await answer(send, error.status_code, error.body(), headers)
        except _GoneError:
            return
        finally:
            self._bytes -= held
            self._requests -= admitted

    def _check_key(self, scope: Scope) -> None:
        needed = right_needed(scope["method"], scope["path"])
        if not self._keys or needed is None:
            return
        told = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        right = self._keys.right(told)
        if right is None:
            raise ApiError(
                401,
                "the key is missing or unknown; send a header `Authorization: Bearer KEY`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if needed == "write" and right == "read":
            raise ApiError(403, "the key may only read; use one that may write.")

    def _check_load(self) -> None:
        if self._requests >= self._config.max_requests:
            raise OverloadedError(f"{self._requests} requests are under way; come again later.")

    def _declared(self, scope: Scope) -> int | None:
        """The body's length as the headers tell it, None where they do not."""
        headers = dict(scope["headers"])
        told = headers.get(b"content-length")
        if told is None:
            return None if b"transfer-encoding" in headers else 0
        length = int(told) if told.isdigit() and len(told) < 20 else self._config.max_body + 1
        self._check_size(length)
        return length

    def _check_size(self, size: int) -> None:
        if size > self._config.max_body:
            raise ApiError(
                413,
                f"the body has {size:,} bytes or more, over the limit of "
                f"{self._config.max_body:,}; send fewer items, or smaller photos.",
            )

    async def _read(self, receive: Receive, body: bytearray) -> int:
        held = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                part = message.get("body", b"")
                if self._bytes + len(part) > self._config.max_bodies:
                    raise OverloadedError(
                        "too many large requests are under way; come again later."
                    )
                held += len(part)
                self._bytes += len(part)
                self._check_size(held)
                body += part
                if not message.get("more_body"):
                    return held
        except BaseException:
            self._bytes -= held
            raise


def right_needed(method: str, path: str) -> Right | None:
    """What a key must allow: nothing for the page, its parts and the documentation."""
    if path == "/v1/items" and method == "POST":
        return "write"
    if path.startswith("/v1/") or path == "/metrics":
        return "write" if method in _WRITES else "read"
    return None


class _GoneError(Exception):
    """The client left before it had said what it wants."""


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay

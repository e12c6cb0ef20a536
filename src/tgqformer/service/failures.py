"""The one shape in which the service says no: ``{"error": {"code", "message", "param"?}}``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException

STATUSES: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be read."),
    401: ("unauthorized", "The key is missing or unknown."),
    403: ("forbidden", "The key may only read."),
    404: ("not_found", "There is no such thing."),
    405: ("method_not_allowed", "The path knows other methods."),
    408: ("too_slow", "The body came too slowly."),
    409: ("conflict", "What is stored does not allow it."),
    413: ("too_large", "The body is over the limit."),
    422: ("invalid", "A value breaks its rule."),
    429: ("overloaded", "Too much work waits; come again after Retry-After seconds."),
    500: ("internal", "A fault of the service."),
    503: ("not_ready", "The service is starting or stopping."),
    504: ("timeout", "The answer took too long."),
}
"""Status to code and meaning."""


class ApiError(HTTPException):
    """A refusal.

    Args:
        status: of HTTP, one of STATUSES.
        message: one sentence with value, rule and remedy.
        param: which part of the request it speaks of, as in ``images.0``.
        code: where it says more than the status does.
        headers: further ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code or STATUSES[status][0]
        self.message = message
        self.param = param

    def body(self) -> dict[str, dict[str, str]]:
        """The answer's content."""
        return failure(self.code, self.message, self.param)


class OverloadedError(ApiError):
    """429: a queue is full; `retry_after` seconds from now it should not be."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        seconds = max(1, min(60, round(retry_after + 0.5)))
        super().__init__(429, message, headers={"Retry-After": str(seconds)})


def failure(code: str, message: str, param: str | None = None) -> dict[str, dict[str, str]]:
    """The content of a refusal."""
    said = {"code": code, "message": " ".join(message.split())[:1000]}
    if param is not None:
        said["param"] = param[:200]
    return {"error": said}


def encoded(content: object) -> bytes:
    """JSON as the service writes it; half UTF-16 pairs become U+FFFD."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")

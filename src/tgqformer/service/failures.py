"""The one shape in which the service says no: ``{"error": {"code", "message", "param"?}}``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from tgqformer.service.schemas import ErrorDetail

_MUST = {
    "string_type": "must be a text",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object of fields",
    "model_attributes_type": "must be an object of fields",
    "finite_number": "must be a finite number",
}

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

    def told(self) -> ErrorDetail:
        """The same as part of an answer."""
        return ErrorDetail(**self.body()["error"])

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


def invalid(error: Mapping[str, Any], param: str, known: Sequence[str] = ()) -> str:
    """One sentence for a fault that pydantic found.

    Args:
        error: one of a ValidationError's `errors()`.
        param: the part of the request that it speaks of.
        known: names of the fields that may stand where an unknown one stands.
    """
    kind, value = error.get("type"), error.get("input")
    context = error.get("ctx") or {}
    where = param or "the body"
    if kind == "missing":
        return f"{where} is missing; give it."
    if kind == "extra_forbidden":
        name = str(param.rsplit(".", 1)[-1])
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        fields = f"; the fields are {', '.join(known)}." if known and not near else ""
        return f"{where} is no field that is known here{hint or fields or '; leave it out.'}"
    if kind in _MUST:
        return f"{where} is {_told(value)}, but {_MUST[kind]}."
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        side = "or more" if "ge" in context else "at most"
        return f"{where} is {_told(value)}, but must be {bound:g} {side}."
    message = str(error.get("msg", "a value breaks its rule")).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}".rstrip(".") + "."


def _told(value: object) -> str:
    """A value of JSON as a sentence may name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return "NaN" if value != value else f"the number {str(value)[:20]}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return "a list" if isinstance(value, list) else "an object"


def encoded(content: object) -> bytes:
    """JSON as the service writes it; half UTF-16 pairs become U+FFFD."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")

"""The one shape in which the service says no: ``{"error": {"code", "message", "param"?}}``."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from tgqformer.service.schemas import ErrorDetail

_MUST = {
    "string_type": "a text",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object of fields",
    "model_attributes_type": "an object of fields",
    "finite_number": "a finite number",
}
_NAMED = 60  # characters of a field's name that an answer repeats

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


def place_of(error: Mapping[str, Any], body: object, before: Sequence[str] = ()) -> list[str]:
    """Where in a request a fault is: names and numbers that lead there.

    Pydantic's `loc` holds the names of its types as well, where several are allowed.

    Args:
        error: one of a ValidationError's `errors()`.
        body: what was validated.
        before: the way to it.
    """
    place, loc = list(before), list(error.get("loc", ()))
    for number, part in enumerate(loc):
        last = number == len(loc) - 1
        if isinstance(body, Mapping) and (
            part in body or (last and error.get("type") in ("missing", "extra_forbidden"))
        ):
            body = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            body = body[part]
        else:
            continue
        name = str(part)
        place.append(name if len(name) <= _NAMED else f"{name[:_NAMED]}...")
    return place


def fault_of(
    errors: Sequence[Mapping[str, Any]], body: object, before: Sequence[str] = ()
) -> tuple[Mapping[str, Any], list[str], list[str]]:
    """The fault to tell of those that pydantic found: with its place, and what may stand there.

    Where several types are allowed each of them has a fault; that of the type that was sent tells
    most.
    """
    first = errors[0]
    place = place_of(first, body, before)
    here = [error for error in errors if place_of(error, body, before) == place]
    best = next((error for error in here if error.get("type") not in _MUST), first)
    return best, place, [_MUST[e["type"]] for e in here if e.get("type") in _MUST]


def invalid(
    error: Mapping[str, Any], param: str, known: Sequence[str] = (), may: Sequence[str] = ()
) -> str:
    """One sentence for a fault that pydantic found.

    Args:
        error: one of a ValidationError's `errors()`.
        param: the part of the request that it speaks of.
        known: names of the fields that may stand where an unknown one stands.
        may: what values may stand there, where there are several kinds.
    """
    kind, value = error.get("type"), error.get("input")
    context = error.get("ctx") or {}
    where = param or "the body"
    if error.get("loc", ())[-1:] == ("[key]",):
        where = f"a name in {param.rpartition('.')[0]}"
    if kind == "missing":
        return f"{where} is missing; give it."
    if kind == "extra_forbidden":
        name = str(param.rsplit(".", 1)[-1])
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        fields = f"; the fields are {', '.join(known)}." if known and not near else ""
        return f"{where} is no field that is known here{hint or fields or '; leave it out.'}"
    if kind == "float_type" and type(value) is int:
        kind, may = "finite_number", ()  # it is one, and more than a float holds
    if kind in _MUST:
        return f"{where} is {told(value)}, but must be {' or '.join(may) or _MUST[kind]}."
    if kind in ("string_too_long", "string_too_short", "too_long", "too_short"):
        return _wrong_length(where, value, context)
    if kind == "string_unicode":
        return f"{where} holds half of a UTF-16 pair, which is no character; leave it out."
    if kind == "literal_error":
        return f"{where} is {told(value)}, but must be {context.get('expected')}."
    if kind == "union_tag_invalid":
        return (
            f"{where} is of the type {str(context.get('tag'))[:40]!r}, but must be of "
            f"{str(context.get('expected_tags')).replace(', ', ' or ')}."
        )
    if kind == "union_tag_not_found":
        return f"{where} has no type; say what it is, a text or an image_url."
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        side = "or more" if "ge" in context else "at most"
        return f"{where} is {told(value)}, but must be {bound:g} {side}."
    message = str(error.get("msg", "a value breaks its rule")).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}".rstrip(".") + "."


def _wrong_length(where: str, value: object, context: Mapping[str, Any]) -> str:
    size = len(value) if isinstance(value, (str, list, dict)) else 0
    what = "characters" if isinstance(value, str) else "entries"
    if "max_length" in context:
        return f"{where} has {size} {what}, but may have at most {context['max_length']} {what}."
    return f"{where} is empty, but must have {context.get('min_length', 1)} or more {what}."


def told(value: object) -> str:
    """A value of JSON as a sentence may name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if value != value else "infinite"
        return f"the number {_short(value)}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "an object"


def _short(number: float) -> str:
    digits = str(number)
    return digits if len(digits) <= 20 else f"{digits[:20]}... of {len(digits)} digits"


def encoded(content: object) -> bytes:
    """JSON as the service writes it; half UTF-16 pairs become U+FFFD."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")

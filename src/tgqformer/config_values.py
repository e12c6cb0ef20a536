"""One value of a configuration, coerced by the annotation of its field."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from tgqformer.errors import ConfigError

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null", ""})


def coerce(value: Any, hint: Any, key: str) -> Any:
    """Return `value` as the type `hint`; text is parsed, other types only widened without loss.

    Known annotations: bool, int, float, str, Path, None, Any, Literal, unions, list, tuple,
    Sequence, dict, Mapping.

    Raises:
        ConfigError: the value is not of that type; the message carries `key` and the rule.
    """
    try:
        return _coerce(value, hint)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(f"{key} = {value!r} must be {type_name(hint)}") from None


def whole_number(value: object, name: str, least: int = 1) -> int:
    """`value` as an int, for an argument such as a batch size.

    Raises:
        ConfigError: it is no whole number, or below `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(
            f"{name} ({value!r}) must be a whole number of {least} or more; it is "
            f"{type(value).__name__}."
        )
    number = int(value.__index__())
    if number < least:
        raise ConfigError(f"{name} ({number}) must be {least} or more.")
    return number


def group_of(hint: Any) -> Any | None:
    """Return the dataclass that `hint` names, alone or as ``X | None``; None for a leaf."""
    members = [member for member in _members(hint) if member is not type(None)]
    if len(members) == 1 and isinstance(members[0], type) and dataclasses.is_dataclass(members[0]):
        return members[0]
    return None


def is_none(value: Any) -> bool:
    """Tell whether `value` is None or a text that stands for it."""
    return value is None or (isinstance(value, str) and value.lower() in _NONE)


def type_name(hint: Any) -> str:
    """Return an annotation as a person writes it: ``int | None``, ``one of 'a', 'b'``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return "none"
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in args)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(member) for member in args)
    if origin is not None:
        inner = ", ".join("..." if arg is Ellipsis else type_name(arg) for arg in args)
        return f"{origin.__name__.lower()}[{inner}]"
    return str(getattr(hint, "__name__", hint))


def _members(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _coerce(value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(value, typing.get_args(hint))
    if origin is Literal:
        return _literal(value, typing.get_args(hint))
    kind = origin or hint
    if kind is type(None):
        return _none(value)
    if kind is bool:
        return _bool(value)
    if kind is int:
        return _int(value)
    if kind is float:
        return _float(value)
    if kind in (str, Path):
        if not isinstance(value, (str, kind)):
            raise TypeError
        return kind(value)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return _mapping(value, typing.get_args(hint))
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return _sequence(value, kind, typing.get_args(hint))
    raise TypeError


def _union(value: Any, members: tuple[Any, ...]) -> Any:
    # None first, so that "none" is not taken for text; text last, since any text would fit it.
    order = sorted(members, key=lambda member: (member is not type(None), member in (str, Path)))
    for member in order:
        # A value that already has the type of a member is that member's.
        if isinstance(member, type) and type(value) is member and member is not str:
            return value
    for member in order:
        try:
            return _coerce(value, member)
        except (ValueError, TypeError, OverflowError):
            continue
    raise ValueError


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    for choice in choices:
        if isinstance(value, str) and value == str(choice):
            return choice
    raise ValueError


def _none(value: Any) -> None:
    if not is_none(value):
        raise ValueError


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass  # "1e5" is a whole number too
    number = _float(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    number = float(value)
    if math.isnan(number):
        raise ValueError
    return number


def _sequence(value: Any, kind: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if text[:1] + text[-1:] in ("[]", "()"):
            text = text[1:-1]
        value = [part.strip() for part in text.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise TypeError
    if kind is tuple and args and args[-1] is not Ellipsis:
        if len(args) != len(value):
            raise ValueError
        return tuple(_coerce(entry, hint) for entry, hint in zip(value, args))
    entries = [_coerce(entry, args[0] if args else Any) for entry in value]
    return entries if kind is list else tuple(entries)


def _mapping(value: Any, args: tuple[Any, ...]) -> dict[Any, Any]:
    if isinstance(value, str):
        import yaml

        try:
            value = yaml.safe_load(value) if value.strip() else {}
        except yaml.YAMLError:
            raise ValueError from None
    if not isinstance(value, Mapping):
        raise TypeError
    key_hint, entry_hint = args if args else (Any, Any)
    return {_coerce(k, key_hint): _coerce(v, entry_hint) for k, v in value.items()}

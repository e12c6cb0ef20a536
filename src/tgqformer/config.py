"""Configuration as small dataclasses: read from YAML, overridden from a command line, described.

A configuration is a tree of dataclasses. A leaf is an option with a dotted name such as
``training.learning_rate``; its annotation is the rule that a value must keep.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null", ""})


@dataclasses.dataclass(frozen=True)
class Option:
    """One leaf of a configuration.

    Attributes:
        key: dotted name, ``training.learning_rate``.
        type: the annotation, as a person writes it.
        default: the default value; ``dataclasses.MISSING`` where one must be given.
        doc: one line from the field's metadata ("help") or the class's docstring; may be "".
    """

    key: str
    type: str
    default: Any
    doc: str


def from_dict(cls: type[C], mapping: Mapping[str, Any]) -> C:
    """Build `cls` from nested mappings, each value coerced by its field's annotation.

    An option that is gone is passed over where it stands at what is left (`without_dropped`).

    Raises:
        ConfigError: an unknown key, a missing one, or a value that breaks its rule.
    """
    return _build(cls, without_dropped(cls, mapping), cls, "")


def without_dropped(cls: type[DataclassInstance], mapping: Mapping[str, Any]) -> dict[str, Any]:
    """`mapping` without the options that are gone, where they stand at what is left.

    A class names them in `dropped`, with that value: so what was saved before they went still
    loads, and any other value of theirs is an unknown option.
    """
    gone: Mapping[str, Any] = getattr(cls, "dropped", {})
    kept = {
        name: value for name, value in mapping.items() if name not in gone or gone[name] != value
    }
    hints = typing.get_type_hints(cls)
    for field in _fields(cls):
        group, value = group_of(hints[field.name]), kept.get(field.name)
        if group is not None and isinstance(value, Mapping):
            kept[field.name] = without_dropped(group, value)
    return kept


def to_dict(obj: DataclassInstance) -> dict[str, Any]:
    """Return plain data that YAML and JSON can hold; ``from_dict(type(obj), ...)`` undoes it."""
    return {field.name: _plain(getattr(obj, field.name)) for field in _fields(type(obj))}


def override(obj: C, assignments: Sequence[str]) -> C:
    """Return a copy of `obj` with each ``"key.sub=value"`` applied, all of them at once.

    Values are text, read by the field's annotation: ``none`` for an optional one, ``1,2,3`` or
    ``[1, 2, 3]`` for a sequence. Later assignments win.

    Raises:
        ConfigError: an assignment without "=", an unknown key, or a value that breaks its rule.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"'{assignment}' is no override; write it as key=value")
        _check_key(key, type(obj))
        _plant(changes, key.split("."), value.strip())
    return _replace(obj, changes, type(obj), "")


def load_yaml(path: Path | str) -> dict[str, Any]:
    """Read one YAML mapping, with the safe loader.

    Raises:
        ConfigError: the file is absent, is no YAML, or holds something else than a mapping.
    """
    import yaml

    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path}{where} is no valid YAML; correct the file") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{path} must hold a mapping of option names to values")
    return data


def describe(cls: type[DataclassInstance], prefix: str = "") -> list[Option]:
    """Return every option below `cls`, in the order of declaration."""
    hints, docs = typing.get_type_hints(cls), section_docs(cls.__doc__ or "", "Attributes")
    options: list[Option] = []
    for field in _fields(cls):
        key = prefix + field.name
        group = group_of(hints[field.name])
        if group is not None:
            options += describe(group, key + ".")
            continue
        doc = str(field.metadata.get("help", docs.get(field.name, "")))
        options.append(Option(key, type_name(hints[field.name]), _default(field), doc))
    return options


def section_docs(text: str, section: str) -> dict[str, str]:
    """Read the "name: text" lines, with their continuations, below a docstring's "`section`:".

    Several names may share a text, ``left, right: which side``.
    """
    docs: dict[str, str] = {}
    names: list[str] = []
    inside, indent, entry = False, 0, 0
    for line in text.splitlines():
        content = line.strip()
        depth = len(line) - len(line.lstrip())
        if content == f"{section}:":
            inside, indent = True, depth
        elif inside and content and depth <= indent:
            break
        elif inside and content:
            head, colon, rest = content.partition(":")
            found = [part.strip() for part in head.split(",")]
            entry = entry or depth
            if colon and depth == entry and all(name.isidentifier() for name in found):
                names = found
                docs.update(dict.fromkeys(names, rest.strip()))
            else:
                docs.update({name: f"{docs[name]} {content}" for name in names})
    return docs


def _build(cls: type[C], mapping: object, root: type, prefix: str) -> C:
    if not isinstance(mapping, Mapping):
        name = prefix.rstrip(".") or "the configuration"
        raise ConfigError(f"{name} is a group of options and cannot be {mapping!r}")
    for key in mapping:
        _check_key(prefix + str(key), root)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in _fields(cls):
        if field.name in mapping:
            value = mapping[field.name]
            values[field.name] = _value(value, None, hints[field.name], root, prefix + field.name)
        elif _default(field) is MISSING:
            raise ConfigError(f"option '{prefix}{field.name}' has no default and must be given")
    return cls(**values)


def _replace(obj: C, changes: Mapping[str, Any], root: type, prefix: str) -> C:
    hints = typing.get_type_hints(type(obj))
    values = {
        name: _value(change, getattr(obj, name), hints[name], root, prefix + name)
        for name, change in changes.items()
    }
    return dataclasses.replace(obj, **values)


def _value(value: Any, current: Any, hint: Any, root: type, key: str) -> Any:
    group = group_of(hint)
    if group is None:
        return coerce(value, hint, key)
    if type(None) in typing.get_args(hint) and is_none(value):
        return None
    if current is not None and isinstance(value, Mapping):
        return _replace(current, value, root, key + ".")
    return _build(group, value, root, key + ".")


def _plant(tree: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[path[-1]] = value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _fields(cls: type[DataclassInstance]) -> Iterator[Field[Any]]:
    return (field for field in dataclasses.fields(cls) if field.init)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _check_key(key: str, root: type) -> None:
    """Raise for a dotted key that names neither an option nor a group below `root`."""
    options = [option.key for option in describe(root)]
    if any(key == option or option.startswith(key + ".") for option in options):
        return
    owner = next((option for option in options if key.startswith(option + ".")), None)
    if owner is not None:
        raise ConfigError(f"unknown option '{key}'; '{owner}' is one value and holds no others")
    nearest = _nearest(key, options)
    if nearest:
        raise ConfigError(f"unknown option '{key}'; did you mean '{nearest}'?")
    known = ", ".join(options[:12]) + (", ..." if len(options) > 12 else "")
    raise ConfigError(f"unknown option '{key}'; the known ones are {known}")


def _nearest(key: str, options: Sequence[str]) -> str | None:
    group, _, leaf = key.rpartition(".")
    siblings = [option for option in options if option.rpartition(".")[0] == group]
    for among in (siblings, options):
        leaves = {option.rpartition(".")[2]: option for option in reversed(among)}
        if leaf in leaves:
            return leaves[leaf]
        for name, option in leaves.items():
            if "_" in name and leaf == "".join(word[:1] for word in name.split("_")):
                return option
        close = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)
        if close:
            return leaves[close[0]]
    close = difflib.get_close_matches(key, options, n=1, cutoff=0.6)
    return close[0] if close else None


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

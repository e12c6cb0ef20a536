"""Configuration as small dataclasses: read from YAML, overridden from a command line, described.

A configuration is a tree of dataclasses. A leaf is an option with a dotted name such as
``training.learning_rate``; its annotation is the rule that a value must keep.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tgqformer.config_values import coerce, group_of, is_none, type_name
from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


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

    Raises:
        ConfigError: an unknown key, a missing one, or a value that breaks its rule.
    """
    return _build(cls, mapping, cls, "")


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

"""Presets: whole run configurations by name, one YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    from tgqformer.training.config import RunConfig


def preset_names() -> list[str]:
    """The names of all presets, the default first."""
    files = resources.files(__name__).iterdir()
    names = sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != "offline")


def load_preset(name: str, *, random_weights: bool = False) -> RunConfig:
    """The run configuration of a preset, or of a YAML file where `name` ends in .yaml.

    A file that says ``base: english`` changes that preset and keeps the rest of it; without a base
    it starts from the defaults.

    Args:
        random_weights: build towers and backbone from their configs alone, with no trained weight
            and no hub: to count and to time, not to embed.

    Raises:
        ConfigError: no preset has that name, or the file holds what is no option.
    """
    from pathlib import Path

    from tgqformer.config import from_dict, load_yaml, override
    from tgqformer.training.config import RunConfig

    if name.endswith((".yaml", ".yml")):
        options = load_yaml(Path(name))
        if "base" in options:
            base = options.pop("base")
            options = _merged(_options(base, f"base {base!r} of {name} is no preset"), options)
    else:
        options = _options(name, f"preset '{name}' is unknown", ", or a YAML file")
    config = from_dict(RunConfig, options)
    if random_weights:
        parts = ("image_tower", "text_tower", "language")
        config = override(config, [f"embedder.{part}.random_weights=true" for part in parts])
    return config


def _options(name: object, fault: str, more: str = "") -> dict[str, Any]:
    """Return what a preset's file says."""
    from tgqformer.config import load_yaml

    if not isinstance(name, str) or name not in preset_names():
        raise ConfigError(f"{fault}; choose one of {', '.join(preset_names())}{more}.")
    with resources.as_file(resources.files(__name__) / f"{name}.yaml") as path:
        return load_yaml(path)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return result

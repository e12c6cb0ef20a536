"""Presets: whole run configurations by name, one YAML file each."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from tgqformer.errors import ConfigError

if TYPE_CHECKING:
    from tgqformer.training.config import RunConfig


def preset_names() -> list[str]:
    """The names of all presets, the default first."""
    files = resources.files(__name__).iterdir()
    names = sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != "offline")


def load_preset(name: str) -> RunConfig:
    """The run configuration of a preset, or of a YAML file where `name` ends in .yaml.

    Raises:
        ConfigError: no preset has that name.
    """
    from pathlib import Path

    from tgqformer.config import from_dict, load_yaml
    from tgqformer.training.config import RunConfig

    if name.endswith((".yaml", ".yml")):
        return from_dict(RunConfig, load_yaml(Path(name)))
    if name not in preset_names():
        known = ", ".join(preset_names())
        raise ConfigError(f"preset '{name}' is unknown; choose one of {known}, or a YAML file.")
    with resources.as_file(resources.files(__name__) / f"{name}.yaml") as path:
        return from_dict(RunConfig, load_yaml(path))

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


def load_preset(name: str, *, random_weights: bool = False) -> RunConfig:
    """The run configuration of a preset, or of a YAML file where `name` ends in .yaml.

    Args:
        random_weights: build towers and backbone from their configs alone, with no trained weight
            and no hub: to count and to time, not to embed.

    Raises:
        ConfigError: no preset has that name.
    """
    from pathlib import Path

    from tgqformer.config import from_dict, load_yaml, override
    from tgqformer.training.config import RunConfig

    if name.endswith((".yaml", ".yml")):
        config = from_dict(RunConfig, load_yaml(Path(name)))
    elif name in preset_names():
        with resources.as_file(resources.files(__name__) / f"{name}.yaml") as path:
            config = from_dict(RunConfig, load_yaml(path))
    else:
        known = ", ".join(preset_names())
        raise ConfigError(f"preset '{name}' is unknown; choose one of {known}, or a YAML file.")
    if random_weights:
        parts = ("image_tower", "text_tower", "language")
        config = override(config, [f"embedder.{part}.random_weights=true" for part in parts])
    return config

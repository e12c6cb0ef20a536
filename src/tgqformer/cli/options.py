"""Options that several commands share, and the configuration that they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tgqformer.training.config import RunConfig


class Place(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions alone
    """A store's folder, or the address ``qdrant://host:port/collection`` as it was typed."""

    name = "store"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        return value if str(value).startswith(("qdrant://", "qdrants://")) else Path(value)


preset_option = click.option(
    "--preset",
    default="offline",
    show_default=True,
    help='A preset ("tgqformer presets" lists them), or a YAML file like theirs.',
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help='Override any option, as in --set training.steps=500; "tgqformer presets --options" '
    "lists them.",
)


def run_config(preset: str, assignments: Sequence[str], seed: int | None) -> RunConfig:
    """Return a preset's configuration with the overrides and the seed put in.

    Raises:
        ConfigError: no such preset, an unknown option, or a value that breaks its rule.
    """
    from tgqformer.config import override
    from tgqformer.presets import load_preset

    config = override(load_preset(preset), assignments)
    return config if seed is None else override(config, [f"training.seed={seed}"])

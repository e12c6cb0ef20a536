"""Options that several commands share, and the configuration that they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.evaluation.collaborative import Engagement
    from tgqformer.training.config import RunConfig

F = TypeVar("F", bound=Callable[..., Any])


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

log_options = (
    click.option(
        "--log",
        "log_path",
        type=click.Path(path_type=Path),
        help="Learn co-engagement from this table of user, item and time, in the place of the "
        "training pairs. It must end where the split that is asked for begins.",
    ),
    click.option(
        "--log-user", default="user", show_default=True, help="The log's column of users."
    ),
    click.option("--log-item", default="item", show_default=True, help="Its column of item ids."),
    click.option("--log-time", default="time", show_default=True, help='Of times, or "none".'),
)


def with_log(command: F) -> F:
    """Give a command the options of a log: log_path, log_user, log_item and log_time."""
    for option in reversed(log_options):
        command = option(command)
    return command


def engagement_of(
    catalog: Catalog, path: Path | None, *, user: str, item: str, time: str
) -> Engagement:
    """What is known of co-engagement: from the log, or from the training pairs where there is none.

    Raises:
        CatalogError: the log cannot be read, or there is nothing to learn from.
    """
    from tgqformer.catalog.logs import read_log
    from tgqformer.evaluation.collaborative import Engagement

    if path is None:
        return Engagement.from_pairs(catalog)
    log = read_log(path, user=user, item=item, time=None if time == "none" else time)
    return Engagement.from_log(log, catalog)


def engagement_line(engagement: Engagement, catalog: Catalog, split: str) -> str:
    """One line: where co-engagement comes from, and what it knows of the answers."""
    sessions, items = engagement.matrix.shape[0], int((engagement.counts > 0).sum())
    if engagement.source == "pairs":
        return f"Co-engagement of {items:,} items, from the training pairs of {sessions:,} queries"
    shared, pairs = engagement.shared_with(catalog, split)
    line = f"Co-engagement of {items:,} items, from {sessions:,} users of the log"
    if engagement.left_out:
        line += f" ({engagement.left_out:,} events name no item)"
    if shared:
        line += (
            f"; {shared:,} of {pairs:,} {split} pairs have a user in common there: are they later?"
        )
    return line


def run_config(preset: str, assignments: Sequence[str], seed: int | None) -> RunConfig:
    """Return a preset's configuration with the overrides and the seed put in.

    Raises:
        ConfigError: no such preset, an unknown option, or a value that breaks its rule.
    """
    from tgqformer.config import override
    from tgqformer.presets import load_preset

    config = override(load_preset(preset), assignments)
    return config if seed is None else override(config, [f"training.seed={seed}"])

"""What several commands ask for: a preset with overrides, a log, a run's model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tgqformer.errors import ModelError, StorageError

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.collaborative import Engagement
    from tgqformer.mllm import MLLMEmbedder
    from tgqformer.training.config import RunConfig

F = TypeVar("F", bound=Callable[..., Any])
_MODEL = "model"


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


_log_options = (
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
    for option in reversed(_log_options):
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


def model_folder(run: Path) -> Path:
    """Return the saved model of a run: its folder ``model``, or the folder itself; or a hub id's.

    Raises:
        ModelError: there is none.
    """
    for folder in (run / _MODEL, run):
        if (folder / "config.json").is_file():
            return folder
    if not run.is_dir():
        from tgqformer.embedder.saving import resolve

        return resolve(str(run))
    raise ModelError(
        f"{run} holds no trained model; let `tgqformer train --out {run}` finish, or go on with "
        "--resume."
    )


def load_embedder(run: Path, cache: Path | None = None) -> ItemEmbedder | MLLMEmbedder:
    """Load a run's model, whichever of the two kinds it is.

    Args:
        cache: where tower outputs are kept; an end-to-end MLLM has none.

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    folder = model_folder(run)
    if _is_mllm(folder):
        from tgqformer.mllm import MLLMEmbedder

        return MLLMEmbedder.from_pretrained(folder)
    from tgqformer.embedder import ItemEmbedder

    return ItemEmbedder.from_pretrained(folder, cache_dir=cache)


def load_item_embedder(run: Path, cache: Path | None, task: str) -> ItemEmbedder:
    """Load a run's model for what asks for towers, connector and backbone apart.

    Args:
        task: what asks for them, and what else to do, as the error tells it.

    Raises:
        ModelError: there is none, it cannot be loaded, or it is an end-to-end MLLM.
    """
    from tgqformer.embedder import ItemEmbedder

    folder = model_folder(run)
    if _is_mllm(folder):
        raise ModelError(
            f"{run} holds an end-to-end MLLM, and this needs a run of `tgqformer train`: {task}."
        )
    return ItemEmbedder.from_pretrained(folder, cache_dir=cache)


def _is_mllm(folder: Path) -> bool:
    from tgqformer.mllm.embedder import KIND

    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # the loader says what is wrong with it
    return isinstance(told, dict) and told.get("model_type") == KIND


def model_digest(run: Path) -> str:
    """Return the sha256 of a run's trained weights and configuration, 16 hex digits of it."""
    folder = model_folder(run)
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")]):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def check_same_model(run: Path, made_by: str | None, source: Path | str, remedy: str) -> None:
    """Raise where vectors say that another model than the run's made them.

    Args:
        made_by: what they say, a model's digest; None or "" where they do not.
        source: where they are.
        remedy: what to do then, the end of the sentence.

    Raises:
        StorageError: they do.
        ModelError: the run holds no model.
    """
    own = model_digest(run)
    if made_by and made_by != own:
        raise StorageError(
            f"{source} was made by another model ({made_by}) than {run} holds ({own}); {remedy}."
        )


def run_cache(run: Path) -> Path | None:
    """Return the token cache inside a run's folder, None where it keeps none."""
    folder = run / "cache"
    return folder if folder.is_dir() else None

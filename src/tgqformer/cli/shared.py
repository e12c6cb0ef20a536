"""What commands share: options, the configuration or model they name, and what is printed.

JSON is for machines, tables are for people.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tgqformer.errors import ModelError, StorageError

if TYPE_CHECKING:
    from rich.table import Table

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.quarantine import Quarantine
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.collaborative import Engagement
    from tgqformer.mllm import MLLMEmbedder
    from tgqformer.training.config import RunConfig

F = TypeVar("F", bound=Callable[..., Any])
_MODEL = "model"
SHOWN = 20  # of what was left out
_WIDTH = 160  # of tables that go to no terminal


class Place(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions alone
    """A store's folder, or the address ``qdrant://host:port/collection`` as it was typed."""

    name = "store"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        return value if str(value).startswith(("qdrant://", "qdrants://")) else Path(value)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
quarantine_option = click.option(
    "--quarantine",
    "table_path",
    type=click.Path(path_type=Path),
    help="Write what was left out, row by row, to this .parquet, .jsonl or .csv file.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
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


def run_config(preset: str, assignments: Sequence[str], seed: int | None) -> RunConfig:
    """Return a preset's configuration with the overrides and the seed put in.

    Raises:
        ConfigError: no such preset, an unknown option, or a value that breaks its rule.
    """
    from tgqformer.config import override
    from tgqformer.presets import load_preset

    config = override(load_preset(preset), assignments)
    return config if seed is None else override(config, [f"training.seed={seed}"])


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


def print_json(data: object) -> None:
    """Print `data` as JSON on stdout: UTF-8, NaN and infinities as null, numpy as plain numbers."""
    click.echo(json.dumps(plain(data), ensure_ascii=True, indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """Return `value` as what JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    return str(value) if isinstance(value, Path) else repr(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; a column whose cells are all numbers stands to the right."""
    from rich.table import Table

    grid: Table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], (int, float)) for row in rows)
        grid.add_column(column, justify="right" if rows and numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(cell(value) for value in row))
    show(grid)


def print_quarantine(quarantine: Quarantine) -> None:
    """Print what was left out: how often each rule was broken, and the first rows with reasons."""
    if not len(quarantine):
        return
    table("Quarantined", ("rule", "count"), list(quarantine.counts().items()))
    for _, rejection in zip(range(SHOWN), quarantine):
        click.echo(f"  {rejection}".encode("utf-8", "backslashreplace").decode("utf-8"))
    if len(quarantine) > SHOWN:
        more = len(quarantine) - SHOWN
        click.echo(f"  and {more:,} more; --quarantine FILE.csv writes them all")


def facts(title: str, rows: Sequence[tuple[str, object]]) -> None:
    """Print names and values, without lines around them."""
    from rich.table import Table

    grid: Table = Table.grid(padding=(0, 2))
    grid.title, grid.title_justify = title, "left"
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, cell(value))
    show(grid)


def show(renderable: Any) -> None:
    """Print any rich renderable on stdout; into a file or a pipe, without folding its lines."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    Console(highlight=False, width=width).print(renderable)


def cell(value: object) -> str:
    """Return a value as a cell's text; brackets in it are no markup."""
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"))


def size(count: float) -> str:
    """Return a number of bytes as a person reads it: ``3.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

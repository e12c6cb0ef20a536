"""What commands print: JSON for machines, tables for people."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from tgqformer.catalog.quarantine import Quarantine

SHOWN = 20  # of what was left out
WIDTH = 160  # of tables that go to no terminal

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
quarantine_option = click.option(
    "--quarantine",
    "table_path",
    type=click.Path(path_type=Path),
    help="Write what was left out, row by row, to this .parquet, .jsonl or .csv file.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress bars.")


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

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
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

"""``tgqformer validate``: what is in a catalog, what was left out of it, and what leaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.output import facts, json_option, print_json, quiet_option, table

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.leaks import Leak, Promise

SHOWN = 20


@click.command(short_help="Check a catalog: bad rows, unreadable photos, leaks.")
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Stop at the first bad row, as an error.")
@click.option("--images/--no-images", default=True, help="Decode every photo.")
@click.option(
    "--quarantine",
    "table_path",
    type=click.Path(path_type=Path),
    help="Write the quarantine table to this .parquet, .jsonl or .csv file.",
)
@click.option(
    "--promise",
    type=click.Choice(["warm", "query", "cold"]),
    default="query",
    show_default=True,
    help="What the splits promise: warm, no pair in two of them; query, no query; cold, no val or "
    "test query in any earlier pair.",
)
@click.option("--workers", type=click.IntRange(1), help="Threads; by default one for each core.")
@quiet_option
@json_option
def validate(
    catalog_path: Path,
    strict: bool,
    images: bool,
    table_path: Path | None,
    promise: Promise,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Read CATALOG, decode its photos, and tell what breaks a rule or leaks between the splits.

    Exit code 0: all is well. 1: something was quarantined or leaks; the rest of the catalog is fit
    for use, as every command leaves out what is quarantined. 2: the catalog cannot be read, or,
    with --strict, a row breaks a rule.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.leaks import check_leaks

    catalog = Catalog.load(
        catalog_path,
        strict=strict,
        check_images=images,
        workers=workers,
        progress=not quiet,
    )
    catalog.require_items()
    leaks = check_leaks(catalog, promise=promise, progress=not quiet)
    if table_path is not None:
        catalog.quarantine.save(table_path)
    if as_json:
        rejected = catalog.quarantine.frame().to_dicts()
        print_json({**catalog.describe(), "rejections": rejected, "leaks": leaks})
    else:
        _print(catalog, leaks)
    return 1 if len(catalog.quarantine) or leaks else 0


def _print(catalog: Catalog, leaks: list[Leak]) -> None:
    told = catalog.describe()
    rows: list[tuple[str, object]] = []
    for name, value in told.items():
        if name == "quarantine":
            continue
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{split} {count:,}" for split, count in value.items())
        rows.append((name, shown))
    facts(f"{catalog.root}", rows)
    if len(catalog.quarantine):
        table("Quarantined", ("rule", "count"), list(catalog.quarantine.counts().items()))
        for _, rejection in zip(range(SHOWN), catalog.quarantine):
            click.echo(f"  {rejection}")
        if len(catalog.quarantine) > SHOWN:
            more = len(catalog.quarantine) - SHOWN
            click.echo(f"  and {more:,} more; --quarantine FILE.csv writes them all")
    for leak in leaks:
        click.echo(f"Leak: {leak}")
    if not len(catalog.quarantine) and not leaks:
        click.echo("Nothing is quarantined and nothing leaks.")

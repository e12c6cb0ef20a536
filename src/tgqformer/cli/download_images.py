"""``tgqformer download-images``: the photos that a catalog knows by URL only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.output import json_option, print_json, quarantine_option, quiet_option

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog


@click.command("download-images", short_help="Fetch the photos that a catalog knows by URL.")
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--column",
    default="image_urls",
    show_default=True,
    help="The column of the labels with each item's URLs.",
)
@click.option("--per-item", default=1, show_default=True, help="Photos of an item, at most.")
@click.option("--paired", is_flag=True, help="Only for items that some pair names.")
@click.option("--limit", type=int, help="Only for the first so many items.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Keep the photos here by URL, to share them between catalogs; by default in CATALOG.",
)
@click.option("--workers", default=16, show_default=True, help="Photos fetched at the same time.")
@click.option("--rate", default=50.0, show_default=True, help="Requests a second to one host.")
@click.option("--retries", default=4, show_default=True, help="Further tries after a fault.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for one photo.")
@click.option("--max-bytes", default=20_000_000, show_default=True, help="Refuse larger photos.")
@click.option("--max-side", type=int, help="Scale larger photos down to so many pixels.")
@click.option("--retry-failed", is_flag=True, help="Try those again that failed before.")
@click.option("--allow-private", is_flag=True, help="Also fetch from private and local addresses.")
@quarantine_option
@quiet_option
@json_option
def download_images(
    catalog_path: Path,
    table_path: Path | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch the photos of CATALOG, which `tgqformer import` made of rows with URLs, into it.

    The same command goes on where it was stopped: what is there is never fetched again, and what
    failed only with --retry-failed. An item whose photo cannot be fetched stays in the catalog.
    """
    catalog, told = fetch(catalog_path, as_json=as_json, progress=not quiet, **options)
    if table_path is not None:
        catalog.quarantine.save(table_path)
    if as_json:
        print_json({"path": catalog_path, **catalog.describe(), "photos": told})
        return
    click.echo(f"Next: tgqformer validate {catalog_path}")


def fetch(
    folder: Path, *, as_json: bool, progress: bool, **options: Any
) -> tuple[Catalog, dict[str, Any]]:
    """Fetch a catalog's photos, say what came of it, and return the catalog and the counts."""
    from tgqformer.catalog.downloads.catalog_photos import download_catalog_images
    from tgqformer.catalog.downloads.config import DownloadConfig

    names = ("column", "per_item", "paired", "limit", "cache")
    which = {name: options.pop(name) for name in names if name in options}
    config = DownloadConfig(**options)
    catalog, found = download_catalog_images(folder, config, progress=progress, **which)
    if not as_json:
        click.echo(f"{found.summary()[0].upper()}{found.summary()[1:]}")
    return catalog, {
        "fetched": found.fetched,
        "kept": found.kept,
        "failed": len(found.failures),
        "given_up": found.given_up,
        "bytes": found.bytes,
        "faults": found.counts(),
    }

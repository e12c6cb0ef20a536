"""``tgqformer import`` and ``download-images``: from a layout that people have to a catalog."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import (
    SHOWN,
    json_option,
    print_json,
    print_quarantine,
    quarantine_option,
    quiet_option,
)

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

# The keys of catalog.importers.IMPORTERS, which is too heavy to ask for a help text.
KINDS = (
    "table",
    "shopify",
    "google-merchant",
    "woocommerce",
    "huggingface",
    "amazon2018",
    "amazon2023",
    "abo",
    "myntra",
    "grocery",
)


@click.command("import", short_help="Import a catalog from another layout.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="For table and huggingface: which column holds a field, as in --column title=name.",
)
@click.option(
    "--variants",
    type=click.Choice(["one-item", "group"]),
    help="What becomes of the variants of a product: one item with all photos, or items of one "
    "group, which are no negatives of one another in training.",
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of this KIND."
)
@click.option("--options", is_flag=True, help="List the options of this KIND.")
@click.option(
    "--download-images",
    is_flag=True,
    help='Then fetch the photos whose URLs the source holds; "tgqformer download-images OUT" does '
    "the same later, and has options.",
)
@quarantine_option
@quiet_option
@json_option
def import_catalog(
    kind: str,
    source: Path | None,
    out: Path | None,
    columns: tuple[str, ...],
    variants: str | None,
    assignments: tuple[str, ...],
    options: bool,
    download_images: bool,
    table_path: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Read SOURCE, which has the layout KIND, and write it as a catalog into the folder OUT.

    \b
    table            a CSV, JSONL or Parquet file, with a column map
    shopify          Shopify's export of products (CSV)
    google-merchant  a feed for Google Merchant Center, TSV or XML
    woocommerce      WooCommerce's export of products (CSV)
    huggingface      a data set as save_to_disk or the hub keeps it
    amazon2018       Amazon Reviews 2018: metadata with also_buy and also_view
    amazon2023       Amazon Reviews 2023: metadata with bought_together
    abo              Amazon Berkeley Objects: listings and images
    myntra           styles.csv beside images/
    grocery          the Grocery Store data set, in its authors' layout
    """
    from tgqformer.catalog.importers import IMPORTERS

    importer = IMPORTERS[kind]
    known = _options(importer)
    if options:
        _list({name: known[name] for name in known if name != "progress"}, as_json)
        return
    if source is None or out is None:
        raise click.UsageError(f"import {kind} needs SOURCE and OUT")
    given = [*assignments, *(f"columns.{column}" for column in columns)]
    if variants is not None:
        given.append(f"variants={variants}")
    values = _parse(kind, known, given)
    if "progress" in known:
        values.setdefault("progress", not quiet)
    catalog = importer(source, out, **values)
    left_out, unread_columns = catalog.quarantine, catalog.unread
    if table_path is not None:
        left_out.save(table_path)
    first = [rejection for _, rejection in zip(range(SHOWN), left_out)]
    told: dict[str, Any] = {"rejections": first}
    if download_images:
        if not as_json:
            click.echo(f"Imported {catalog.summary()}")
        catalog, told["photos"] = _fetch(out, as_json=as_json, progress=not quiet)
    if as_json:
        unread = [{"column": one.column, "meant": one.meant} for one in unread_columns]
        print_json({"path": out, **catalog.describe(), "unread_columns": unread, **told})
        return
    if not download_images:
        click.echo(f"Imported {catalog.summary()}")
    print_quarantine(left_out)
    if unread_columns:
        names = ", ".join(map(str, unread_columns[:SHOWN]))
        more = len(unread_columns) - SHOWN
        click.echo(f"Columns that nothing reads: {names}{f' and {more:,} more' * (more > 0)}")
    click.echo(f"Next: tgqformer validate {out}")


def _options(importer: Callable[..., Any]) -> dict[str, tuple[Any, Any, str]]:
    """Return an importer's keyword options: name to (annotation, default, doc)."""
    import inspect
    import typing

    from tgqformer.config import section_docs

    hints = typing.get_type_hints(importer)
    docs = section_docs(importer.__doc__ or "", "Args")
    return {
        name: (hints.get(name, Any), parameter.default, docs.get(name, ""))
        for name, parameter in inspect.signature(importer).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _list(known: dict[str, tuple[Any, Any, str]], as_json: bool) -> None:
    from tgqformer.config import type_name

    rows = [
        {"option": name, "type": type_name(hint), "default": default, "meaning": doc}
        for name, (hint, default, doc) in known.items()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['option']}: {row['type']} = {row['default']!r}")
        if row["meaning"]:
            click.echo(click.wrap_text(str(row["meaning"]), 96, "    ", "    "))


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
    catalog, told = _fetch(catalog_path, as_json=as_json, progress=not quiet, **options)
    if table_path is not None:
        catalog.quarantine.save(table_path)
    if as_json:
        print_json({"path": catalog_path, **catalog.describe(), "photos": told})
        return
    click.echo(f"Next: tgqformer validate {catalog_path}")


def _parse(
    kind: str, known: dict[str, tuple[Any, Any, str]], assignments: Sequence[str]
) -> dict[str, Any]:
    """Return assignments as keyword arguments; ``name.key=value`` adds an entry to a mapping.

    Raises:
        ConfigError: an option that the importer does not have, or a value that breaks its rule.
    """
    from tgqformer.config import coerce
    from tgqformer.errors import ConfigError

    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        name, _, entry = key.partition(".")
        if not equals:
            raise ConfigError(f"'{assignment}' is no option; write it as key=value")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            told = f"did you mean '{nearest[0]}'?" if nearest else f"it has {', '.join(known)}"
            raise ConfigError(f"import {kind} has no option '{name}'; {told}")
        if entry:
            values.setdefault(name, {})[entry] = value
        else:
            values[name] = value
    return {name: coerce(value, known[name][0], name) for name, value in values.items()}


def _fetch(
    folder: Path, *, as_json: bool, progress: bool, **options: Any
) -> tuple[Catalog, dict[str, Any]]:
    """Fetch a catalog's photos, say what came of it, and return the catalog and the counts."""
    from tgqformer.catalog.downloads import download_catalog_images
    from tgqformer.catalog.fetch import DownloadConfig

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

"""``tgqformer audit``: what in a catalog looks wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tgqformer.cli.output import facts, json_option, print_json, quiet_option


@click.command(short_help="Report what in a catalog looks wrong.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The HTML page to write."
)
@click.option(
    "--most", default=48, show_default=True, type=click.IntRange(1), help="Entries of each part."
)
@click.option(
    "--near",
    type=click.FloatRange(0, 1),
    help="Correlation from which on two photos, made small, count as nearly the same.",
)
@click.option(
    "--corrected",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write a copy of CATALOG here, with the neighbours' category where the own is doubted.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def audit(
    run: Path,
    catalog_path: Path,
    out: Path,
    most: int,
    near: float | None,
    corrected: Path | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Look for what is wrong in CATALOG with RUN's model, and write a page about it.

    Photos that speak against their metadata, photos that stand twice or nearly so, items without a
    readable photo, and metadata that is empty, too short, priced oddly or of odd characters.
    A corrected copy lists its changes in corrections.jsonl; CATALOG stays as it is.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.options import load_item_embedder, model_digest, model_folder, run_cache
    from tgqformer.inspection.audit import (
        LIST,
        NEAR,
        check_folder,
        correct_catalog,
        corrections,
        write_audit,
    )
    from tgqformer.inspection.audit import audit as look

    model_folder(run)  # a run without a model is told before a large catalog is read
    catalog = Catalog.load(catalog_path)
    catalog.require_items()
    if corrected is not None:
        check_folder(catalog, corrected)  # told before an hour's work
    embedder = load_item_embedder(run, cache or run_cache(run), "it asks the frozen towers")
    found = look(embedder, catalog, near=NEAR if near is None else near, progress=not quiet)
    told = found.counts()
    write_audit(
        out,
        found,
        title=f"Audit of {catalog_path.resolve().name}",
        most=most,
        facts={"items": f"{len(catalog):,}", "run": run.name, "model": model_digest(run)},
    )
    changes = [] if corrected is None else corrections(found)
    if corrected is not None:
        correct_catalog(catalog, changes, corrected)
    if as_json:
        more = {} if corrected is None else {"corrected": [asdict(change) for change in changes]}
        print_json(found.to_dict(most) | more)
        return
    facts(f"Audit of {catalog_path.name}", list(told.items()))
    click.echo(f"Written to {out}")
    if corrected is not None:
        click.echo(f"Corrected {len(changes):,} categories in {corrected}; {LIST} names them")

"""``tgqformer corrupt``: a catalog under overlays and clutter."""

from __future__ import annotations

from pathlib import Path

import click

from tgqformer.cli.output import json_option, print_json, quiet_option


@click.command(short_help="Copy a catalog with corrupted photos.")
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    default="overlays+clutter",
    show_default=True,
    help="overlays, clutter or overlays+clutter; each photo gets two kinds of each, its own.",
)
@click.option("--severity", default=0.5, show_default=True, help="Above 0, to 1.")
@click.option(
    "--unseen", is_flag=True, help="Only kinds that training never uses, for an honest judgement."
)
@quiet_option
@json_option
def corrupt(
    catalog_path: Path,
    out: Path,
    kind: str,
    severity: float,
    unseen: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a copy of CATALOG to OUT whose photos are under overlays, clutter or both.

    Metadata, pairs and splits stay, so that `tgqformer compare CATALOG --also noisy=OUT` trains on
    the photos as they are and judges on both. The same photo is always corrupted in the same way; a
    copy that was stopped goes on where it was.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.evaluation.robustness import Family, corrupt_catalog

    family: Family = "unseen" if unseen else "seen"
    found = corrupt_catalog(
        Catalog.load(catalog_path), out, kind, severity, family=family, progress=not quiet
    )
    if as_json:
        made = {"path": out, "kind": kind, "severity": severity, "family": family}
        print_json({**made, **found.describe()})
        return
    under = f"unseen {kind}" if unseen else kind
    click.echo(f"Wrote {len(found):,} items to {out}, their photos under {under} at {severity:g}")
    click.echo(f"Next: tgqformer compare {catalog_path} --also noisy={out} --out runs/compare")

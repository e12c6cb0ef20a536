"""``tgqformer storefront`` and ``corrupt``: draw a procedural shop, spoil a catalog's photos."""

from __future__ import annotations

from pathlib import Path

import click

from tgqformer.cli.shared import json_option, print_json, quiet_option


@click.command(short_help="Draw a procedural shop: photos, metadata, shoppers.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--items", default=5000, show_default=True, type=int)
@click.option(
    "--noise",
    default="market",
    show_default=True,
    help="How the photos and the metadata look: clean, overlay, clutter, heavy, siblings, "
    "mislabelled, or market, which mixes them (without siblings).",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same shop.")
@click.option(
    "--size", default=224, show_default=True, type=int, help="Side of the photos, pixels."
)
@click.option(
    "--drawing",
    "version",
    default=2,
    show_default=True,
    type=int,
    help="Version of the drawing; 1 is the first, easier one, for older figures.",
)
@click.option(
    "--held-out",
    default=0,
    show_default=True,
    type=int,
    help="So many categories have no training pairs, up to 10.",
)
@click.option(
    "--photos",
    default="1",
    show_default=True,
    help="Photos of an item: a number, or the least and the most, as in 1-4. The first is the same "
    "whatever is asked for; the others are packshots, details, scenes and overlays.",
)
@click.option("--workers", type=int, help="Processes; by default one for each core.")
@quiet_option
@json_option
def storefront(
    out: Path,
    items: int,
    noise: str,
    seed: int,
    size: int,
    version: int,
    held_out: int,
    photos: str,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw a shop into the folder OUT: products with photos, metadata and co-engaged pairs.

    The catalog in OUT is what train and evaluate read. The same seed with another noise gives the
    same shop with other photos.
    """
    from tgqformer.storefront import draw_storefront

    catalog = draw_storefront(
        out,
        items=items,
        noise=noise,
        seed=seed,
        size=size,
        version=version,
        held_out=held_out,
        photos=_range(photos),
        workers=workers,
        progress=not quiet,
    )
    if as_json:
        print_json({"path": out, **catalog.describe()})
        return
    click.echo(f"Drew {len(catalog):,} items and {len(catalog.pairs):,} pairs into {out}")
    click.echo(f"Next: tgqformer train {out} --preset offline --out runs/first")


def _range(text: str) -> tuple[int, int]:
    """ "1-4" as (1, 4), and "2" as (2, 2)."""
    least, hyphen, most = text.partition("-")
    try:
        return int(least), int(most if hyphen else least)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number nor two with a hyphen between them, as in 1-4",
            param_hint="--photos",
        ) from None


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

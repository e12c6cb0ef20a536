"""``tgqformer storefront``: draw a procedural shop."""

from __future__ import annotations

from pathlib import Path

import click

from tgqformer.cli.output import json_option, print_json, quiet_option


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
    least, _, most = text.partition("-")
    try:
        return int(least), int(most or least)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number nor two with a hyphen between them, as in 1-4",
            param_hint="--photos",
        ) from None

"""``tgqformer pointing``: do the queries look at the product that is for sale?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.output import json_option, print_json, quiet_option, table

if TYPE_CHECKING:
    from tgqformer.embedder import ItemEmbedder


@click.command(short_help="Check the heatmaps against the product's box.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--photos", default=300, show_default=True, type=click.IntRange(1), help="Of each noise regime."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Only photos of items of this split; all by default.",
)
@click.option("--bootstrap", default=1000, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=0, show_default=True, help="Of the photos and the bootstrap.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def pointing(
    runs: tuple[Path, ...],
    catalog_path: Path,
    photos: int,
    split: str | None,
    bootstrap: int,
    seed: int,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how much of each stream's attention lies inside the product's box.

    CATALOG is one of "tgqformer storefront", whose labels know the box. Each RUN's model sees the
    same photos, some of every noise regime. "inside" is the share of the heatmap inside the box,
    "pointing" whether its highest cell is; "chance" is the box's share of the photo. --json adds
    how far the first RUN is ahead of the others, paired over the photos.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.inspection.pointing import boxed_items, play

    catalog = Catalog.load(catalog_path)
    positions, regimes = boxed_items(catalog, per_regime=photos, split=split, seed=seed)
    played = play(_models(runs, cache), catalog, positions, regimes, progress=not quiet)
    rows = played.table(samples=bootstrap, seed=seed)
    if as_json:
        models = [
            {"name": m.name, "connector": m.kind, "run": run} for m, run in zip(played.models, runs)
        ]
        leads = played.leads(samples=bootstrap, seed=seed)
        print_json({"models": models, "rows": rows, "leads": leads})
        return
    columns = ["noise", "photos", "model", "stream", "inside %", "pointing %"]
    table(
        f"Attention inside the product's box, {catalog_path.name}",
        columns,
        [
            [row["regime"], row["photos"], row["model"], row["stream"]]
            + [_percent(row[measure]) for measure in ("inside", "pointing")]
            for row in rows
        ],
    )
    for model in played.models:
        if not model.streams:
            click.echo(f"{model.name}: its connector has no attention over the photo.")


def _models(runs: Sequence[Path], cache: Path | None) -> Iterator[tuple[str, ItemEmbedder]]:
    """Load one run after another; each is named by its connector, a second one numbered."""
    from tgqformer.cli.runs import load_item_embedder, run_cache

    seen: dict[str, int] = {}
    for run in runs:
        own = cache or run_cache(run)
        embedder = load_item_embedder(run, own, "it looks into a connector")
        kind = embedder.config.connector.kind
        seen[kind] = seen.get(kind, 0) + 1
        yield kind if seen[kind] == 1 else f"{kind} ({seen[kind]})", embedder


def _percent(interval: dict[str, Any]) -> str:
    value = f"{100 * interval['value']:.1f}"
    if interval["low"] is None:
        return value
    return f"{value} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"

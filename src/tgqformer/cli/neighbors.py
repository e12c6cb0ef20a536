"""``tgqformer neighbors``: the neighbours of every item, into Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.output import json_option, print_json, quiet_option, size

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item
    from tgqformer.retrieval.embeddings import Embeddings
    from tgqformer.retrieval.neighbours import Rules


@click.command(short_help="Write the nearest neighbours of every item.")
@click.argument("embeddings", metavar="EMBEDDINGS", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The Parquet file.")
@click.option("-k", "--k", default=100, show_default=True, type=click.IntRange(1))
@click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(path_type=Path),
    help="The embedded catalog: leaves out items that show the same photo, byte for byte.",
)
@click.option("--same-category", is_flag=True, help="Only items of the same category.")
@click.option("--other-brand", is_flag=True, help="No items of the same brand.")
@click.option("--other-group", is_flag=True, help="No variants of the same product.")
@click.option(
    "--relevance",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Below 1: maximal marginal relevance, which leaves out what is too much alike.",
)
@quiet_option
@json_option
def neighbors(
    embeddings: Path,
    out: Path,
    k: int,
    catalog_path: Path | None,
    same_category: bool,
    other_brand: bool,
    other_group: bool,
    relevance: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the K nearest items of every item of EMBEDDINGS, exactly.

    EMBEDDINGS is the file or folder that "tgqformer embed" wrote. The table has a row for each
    item: item_id, neighbours and scores. A search that was stopped goes on with the same command.
    """
    if (same_category or other_brand or other_group) and catalog_path is None:
        raise click.UsageError("--same-category, --other-brand and --other-group need --catalog")

    from tgqformer.catalog.progress import track
    from tgqformer.retrieval.embeddings import read_embeddings
    from tgqformer.retrieval.neighbour_table import write_neighbours

    stored = read_embeddings(embeddings)
    rules = None
    if catalog_path is not None:
        rules = _rules(
            stored, catalog_path, same_category, other_brand, other_group, progress=not quiet
        )
    steps = write_neighbours(stored, out, k, rules=rules, relevance=relevance)
    done, total = next(steps)
    for _ in track(steps, total=total - done, text="neighbours", show=not quiet):
        pass
    if as_json:
        print_json({"path": out, "items": len(stored.ids), "k": k, "bytes": out.stat().st_size})
        return
    click.echo(
        f"Wrote {k:,} neighbours of {len(stored.ids):,} items, {size(out.stat().st_size)}, to {out}"
    )
    if catalog_path is None:
        click.echo("Items with the same photo may be neighbours here; give --catalog to part them")


def _rules(
    stored: Embeddings,
    catalog_path: Path,
    same_category: bool,
    other_brand: bool,
    other_group: bool,
    *,
    progress: bool,
) -> Rules:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.photo_groups import photo_groups, with_variants
    from tgqformer.errors import StorageError
    from tgqformer.retrieval.neighbours import Rules, text_codes

    catalog = Catalog.load(catalog_path)
    absent = next((name for name in stored.ids if name not in catalog.index), None)
    if absent is not None:
        raise StorageError(
            f"item {absent!r} has a vector and is not in {catalog_path}; name the catalog that was "
            "embedded."
        )
    items: list[Item] = [catalog[catalog.index[name]] for name in stored.ids]
    groups = photo_groups(items, progress=progress)
    if other_group:
        catalog.require_groups()
        places = [catalog.index[name] for name in stored.ids]
        groups = with_variants(groups, catalog.groups[places])
    return Rules(
        apart=groups,
        other=text_codes([item.brand for item in items])[1] if other_brand else None,
        within=text_codes([item.category for item in items])[1] if same_category else None,
    )

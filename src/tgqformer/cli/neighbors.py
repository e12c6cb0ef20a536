"""``tgqformer neighbors``: the neighbours of every item, into Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.output import json_option, print_json, quiet_option, size

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
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
@click.option(
    "--blend",
    "prior",
    metavar="PRIOR",
    type=click.FloatRange(0, min_open=True),
    help="With --catalog: what its training pairs tell of an item weighs n / (n + PRIOR) after n "
    'partners, content the rest; "tgqformer blend" chooses PRIOR and takes a log too.',
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
    prior: float | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the K nearest items of every item of EMBEDDINGS, exactly.

    EMBEDDINGS is the file or folder that "tgqformer embed" wrote. The table has a row for each
    item: item_id, neighbours and scores. A search that was stopped goes on with the same command.
    """
    if (same_category or other_brand or other_group or prior is not None) and catalog_path is None:
        raise click.UsageError(
            "--same-category, --other-brand, --other-group and --blend need --catalog"
        )
    if prior is not None and relevance < 1:
        raise click.UsageError("--blend goes with --relevance 1 alone; leave one of them out")

    from tgqformer.retrieval.embeddings import read_embeddings

    stored, rules, blend = read_embeddings(embeddings), None, None
    if catalog_path is not None:
        from tgqformer.catalog.catalog import Catalog

        catalog = Catalog.load(catalog_path)
        if prior is not None:
            from tgqformer.evaluation.collaborative import Engagement, co_engaged
            from tgqformer.retrieval.blend import Blend

            stored = in_catalog_order(stored, catalog, catalog_path)
            engagement = Engagement.from_pairs(catalog)
            together = co_engaged(engagement)
            blend = Blend(stored.as_float32(), together, engagement.seen, prior)
        rules = rules_of(
            stored,
            catalog,
            catalog_path,
            same_category=same_category,
            other_brand=other_brand,
            other_group=other_group,
            progress=not quiet,
        )
    write_table(stored, out, k, rules=rules, relevance=relevance, blend=blend, quiet=quiet)
    if as_json:
        print_json({"path": out, "items": len(stored.ids), "k": k, "bytes": out.stat().st_size})
        return
    click.echo(wrote(stored, out, k))
    if catalog_path is None:
        click.echo("Items with the same photo may be neighbours here; give --catalog to part them")


def write_table(stored: Embeddings, out: Path, k: int, *, quiet: bool, **options: Any) -> None:
    """Search and write, with a bar; `options` are those of `write_neighbours`."""
    from tgqformer.catalog.progress import track
    from tgqformer.retrieval.neighbour_table import write_neighbours

    steps = write_neighbours(stored, out, k, **options)
    done, total = next(steps)
    for _ in track(steps, total=total - done, text="neighbours", show=not quiet):
        pass


def wrote(stored: Embeddings, out: Path, k: int) -> str:
    """What was written, in a line."""
    count = len(stored.ids)
    return f"Wrote {k:,} neighbours of {count:,} items, {size(out.stat().st_size)}, to {out}"


def in_catalog_order(stored: Embeddings, catalog: Catalog, path: Path) -> Embeddings:
    """The same embeddings in the order of the catalog; StorageError where they are not its own."""
    from dataclasses import replace

    from tgqformer.errors import StorageError

    row = {name: number for number, name in enumerate(stored.ids)}
    absent = next((name for name in catalog.index if name not in row), None)
    if absent is not None or len(row) != len(catalog):
        told = absent or next(name for name in row if name not in catalog.index)
        raise StorageError(
            f"item {told!r} is in only one of the embeddings and {path}, but a blend needs every "
            "item in both; embed this catalog."
        )
    names = list(catalog.index)
    return replace(stored, ids=names, vectors=stored.vectors[[row[name] for name in names]])


def rules_of(
    stored: Embeddings,
    catalog: Catalog,
    path: Path,
    *,
    same_category: bool,
    other_brand: bool,
    other_group: bool = False,
    progress: bool = False,
) -> Rules:
    """What may be a neighbour of what: never an item that shows the same photo."""
    from tgqformer.catalog.photos import photo_groups, with_variants
    from tgqformer.errors import StorageError
    from tgqformer.retrieval.neighbours import Rules, text_codes

    absent = next((name for name in stored.ids if name not in catalog.index), None)
    if absent is not None:
        raise StorageError(
            f"item {absent!r} has a vector and is not in {path}; name the catalog that was "
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

"""``tgqformer neighbors`` and ``blend``: the neighbours of every item, into Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.options import with_log
from tgqformer.cli.output import json_option, print_json, quiet_option, size, table

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
    from tgqformer.evaluation.blending import Fit
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

    stored, rules, mixed = read_embeddings(embeddings), None, None
    if catalog_path is not None:
        from tgqformer.catalog.catalog import Catalog

        catalog = Catalog.load(catalog_path)
        if prior is not None:
            from tgqformer.evaluation.collaborative import Engagement, co_engaged
            from tgqformer.retrieval.blend import Blend

            stored = _in_catalog_order(stored, catalog, catalog_path)
            engagement = Engagement.from_pairs(catalog)
            together = co_engaged(engagement)
            mixed = Blend(stored.as_float32(), together, engagement.seen, prior)
        rules = _rules_of(
            stored,
            catalog,
            catalog_path,
            same_category=same_category,
            other_brand=other_brand,
            other_group=other_group,
            progress=not quiet,
        )
    _write_table(stored, out, k, rules=rules, relevance=relevance, blend=mixed, quiet=quiet)
    if as_json:
        print_json({"path": out, "items": len(stored.ids), "k": k, "bytes": out.stat().st_size})
        return
    click.echo(_wrote(stored, out, k))
    if catalog_path is None:
        click.echo("Items with the same photo may be neighbours here; give --catalog to part them")


@click.command(short_help="Join co-engagement and content in one table of neighbours.")
@click.argument("embeddings", metavar="EMBEDDINGS", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The Parquet file.")
@click.option("-k", "--k", default=100, show_default=True, type=click.IntRange(1))
@with_log
@click.option(
    "--by",
    default="item_cosine",
    show_default=True,
    type=click.Choice(["item_cosine", "ease"]),
    help="How strongly two items are co-engaged.",
)
@click.option(
    "--prior",
    type=click.FloatRange(0, min_open=True),
    help="After so many interactions co-engagement and content weigh alike; by default the best "
    "for the validation pairs.",
)
@click.option("--same-category", is_flag=True, help="Only items of the same category.")
@click.option("--other-brand", is_flag=True, help="No items of the same brand.")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw the curve over interactions: an SVG."
)
@click.option("--seed", default=0, show_default=True, help="Of held-out pairs and the bootstrap.")
@quiet_option
@json_option
def blend(
    embeddings: Path,
    catalog_path: Path,
    out: Path,
    k: int,
    log_path: Path | None,
    log_user: str,
    log_item: str,
    log_time: str,
    by: str,
    prior: float | None,
    same_category: bool,
    other_brand: bool,
    figure: Path | None,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the K best neighbours of every item by what it was engaged with and what it shows.

    Co-engagement, from the training pairs of CATALOG or a log, weighs n / (n + PRIOR) for an item
    that was seen n times, the vectors of EMBEDDINGS the rest. PRIOR is chosen on the validation
    pairs; where these ask for no item with history, a tenth of the training pairs is held out for
    it. The table is that of "tgqformer neighbors", and a search that was stopped goes on with the
    same command.
    """
    if figure is not None and prior is not None:
        raise click.UsageError("--figure draws what chose the prior; leave --prior or it out")

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.options import engagement_line, engagement_of
    from tgqformer.evaluation import blending
    from tgqformer.evaluation.collaborative import co_engaged
    from tgqformer.files import write_text
    from tgqformer.retrieval.blend import Blend
    from tgqformer.retrieval.embeddings import read_embeddings

    catalog = Catalog.load(catalog_path)
    stored = _in_catalog_order(read_embeddings(embeddings), catalog, catalog_path)
    engagement = engagement_of(catalog, log_path, user=log_user, item=log_item, time=log_time)
    if not quiet:
        click.echo(engagement_line(engagement, catalog, "val"), err=True)
    vectors, fit = stored.as_float32(), None
    if prior is None:
        fit = blending.fit_blend(vectors, catalog, engagement, by=by, seed=seed, progress=not quiet)
    best = fit.prior if fit is not None else prior
    assert best is not None
    together = co_engaged(engagement, by)
    mixed = Blend(vectors, together, engagement.seen, best)
    rules = _rules_of(
        stored,
        catalog,
        catalog_path,
        same_category=same_category,
        other_brand=other_brand,
        progress=not quiet,
    )
    _write_table(stored, out, k, rules=rules, blend=mixed, quiet=quiet)
    if figure is not None and fit is not None:
        write_text(figure, blending.blend_figure(fit))
    if as_json:
        told = {"path": out, "items": len(stored.ids), "k": k, "prior": best, "by": by}
        print_json(told | {"fit": None if fit is None else fit.to_dict(), "figure": figure})
        return
    if fit is not None:
        _show(fit)
    click.echo(_wrote(stored, out, k))
    seen = int((engagement.seen > 0).sum())
    click.echo(
        f"Co-engagement weighs n / (n + {best:g}) after n interactions; {len(catalog) - seen:,} "
        f"of {len(catalog):,} items have none and go by content"
    )


def _write_table(stored: Embeddings, out: Path, k: int, *, quiet: bool, **options: Any) -> None:
    """Search and write, with a bar; `options` are those of `write_neighbours`."""
    from tgqformer.catalog.progress import track
    from tgqformer.retrieval.neighbour_table import write_neighbours

    steps = write_neighbours(stored, out, k, **options)
    done, total = next(steps)
    for _ in track(steps, total=total - done, text="neighbours", show=not quiet):
        pass


def _wrote(stored: Embeddings, out: Path, k: int) -> str:
    """What was written, in a line."""
    count = len(stored.ids)
    return f"Wrote {k:,} neighbours of {count:,} items, {size(out.stat().st_size)}, to {out}"


def _in_catalog_order(stored: Embeddings, catalog: Catalog, path: Path) -> Embeddings:
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


def _rules_of(
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


def _show(fit: Fit) -> None:
    from tgqformer.evaluation.blending import MODELS
    from tgqformer.evaluation.compare import percent

    rows = [
        [group.interactions, group.queries, f"{group.weight:.2f}"]
        + [percent(group.hits[name]) for name in MODELS]
        for group in fit.curve
    ]
    asked = "held-out training pairs" if fit.held_out else "validation"
    columns = ["interactions", "queries", "weight", *MODELS]
    table(f"H@10 in percent on {asked}, by how often the query was seen", columns, rows)

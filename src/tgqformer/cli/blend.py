"""``tgqformer blend``: neighbours by co-engagement where there is history, by content where not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.options import with_log
from tgqformer.cli.output import json_option, print_json, quiet_option, table

if TYPE_CHECKING:
    from tgqformer.evaluation.blending import Fit


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
    from tgqformer.cli.neighbors import in_catalog_order, rules_of, write_table, wrote
    from tgqformer.cli.options import engagement_line, engagement_of
    from tgqformer.evaluation import blending
    from tgqformer.evaluation.collaborative import co_engaged
    from tgqformer.files import write_text
    from tgqformer.retrieval.blend import Blend
    from tgqformer.retrieval.embeddings import read_embeddings

    catalog = Catalog.load(catalog_path)
    stored = in_catalog_order(read_embeddings(embeddings), catalog, catalog_path)
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
    rules = rules_of(
        stored,
        catalog,
        catalog_path,
        same_category=same_category,
        other_brand=other_brand,
        progress=not quiet,
    )
    write_table(stored, out, k, rules=rules, blend=mixed, quiet=quiet)
    if figure is not None and fit is not None:
        write_text(figure, blending.blend_figure(fit))
    if as_json:
        told = {"path": out, "items": len(stored.ids), "k": k, "prior": best, "by": by}
        print_json(told | {"fit": None if fit is None else fit.to_dict(), "figure": figure})
        return
    if fit is not None:
        _show(fit)
    click.echo(wrote(stored, out, k))
    seen = int((engagement.seen > 0).sum())
    click.echo(
        f"Co-engagement weighs n / (n + {best:g}) after n interactions; {len(catalog) - seen:,} "
        f"of {len(catalog):,} items have none and go by content"
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

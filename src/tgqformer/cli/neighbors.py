"""``tgqformer neighbors``, ``blend`` and ``similar``: the neighbours of every item, or of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import F, json_option, print_json, quiet_option, size, table, with_log

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item, Vectors
    from tgqformer.evaluation.blending import Fit
    from tgqformer.retrieval.embeddings import Embeddings
    from tgqformer.retrieval.neighbours import Rules


def _with_rules(command: F) -> F:
    """Give a command the options of what may be a neighbour, as `_rules_of` takes them."""
    for name, meaning in (
        ("--other-group", "No variants of the same product."),
        ("--other-brand", "No items of the same brand."),
        ("--same-category", "Only items of the same category."),
    ):
        command = click.option(name, is_flag=True, help=meaning)(command)
    return command


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
@_with_rules
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
    relevance: float,
    prior: float | None,
    quiet: bool,
    as_json: bool,
    **asked: bool,
) -> None:
    """Find the K nearest items of every item of EMBEDDINGS, exactly.

    EMBEDDINGS is the file or folder that "tgqformer embed" wrote. The table has a row for each
    item: item_id, neighbours and scores. A search that was stopped goes on with the same command.
    """
    if (any(asked.values()) or prior is not None) and catalog_path is None:
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
        rules = _rules_of(stored, catalog, catalog_path, **asked, progress=not quiet)
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
@_with_rules
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
    figure: Path | None,
    seed: int,
    quiet: bool,
    as_json: bool,
    **asked: bool,
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
    from tgqformer.cli.shared import engagement_line, engagement_of
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
    rules = _rules_of(stored, catalog, catalog_path, **asked, progress=not quiet)
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


@click.command(short_help="Show an item's nearest neighbours.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("embeddings", type=click.Path(path_type=Path))
@click.option("--id", "item_id", help="Id of an item that has an embedding.")
@click.option("--title", help="Or: the title of a new item.")
@click.option("--image", type=click.Path(path_type=Path), help="Or: the photo of a new item.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Neighbours.")
@click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(path_type=Path),
    help="Show the titles and categories of this catalog.",
)
@click.option(
    "--other-group", is_flag=True, help="With --id and --catalog: no variants of the same product."
)
@json_option
def similar(
    run: Path,
    embeddings: Path,
    item_id: str | None,
    title: str | None,
    image: Path | None,
    k: int,
    catalog_path: Path | None,
    other_group: bool,
    as_json: bool,
) -> None:
    """Show the K items of EMBEDDINGS nearest to one item, by exact search.

    EMBEDDINGS is what "tgqformer embed RUN CATALOG" wrote. The item is one of them (--id), or a new
    one that RUN's model embeds (--title, --image or both).
    """
    new = title is not None or image is not None
    if (item_id is not None) == new:
        raise click.UsageError("give either --id, or --title and/or --image of a new item")

    if other_group and (item_id is None or catalog_path is None):
        raise click.UsageError("--other-group needs --id and --catalog")

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.shared import check_same_model
    from tgqformer.retrieval.embeddings import read_embeddings
    from tgqformer.retrieval.exact import ExactIndex

    stored = read_embeddings(embeddings)
    again = f"run `tgqformer embed {run} CATALOG --out {embeddings}` again"
    check_same_model(run, stored.metadata.get("model"), embeddings, again)
    catalog = None if catalog_path is None else Catalog.load(catalog_path)
    index = ExactIndex(stored.ids, stored.as_float32())
    if item_id is not None:
        apart: set[str] = set()
        if catalog is not None and other_group:
            catalog.require_groups()
            apart = catalog.group_members(item_id)
        near = index.similar(item_id, k + len(apart))
        found = [(entry.item_id, entry.score) for entry in near if entry.item_id not in apart][:k]
    else:
        query = _embed_new(run, title or "", image, stored.dims)
        scores, rows = index.search(query, k)
        found = [
            (stored.ids[row], float(score)) for row, score in zip(rows[0], scores[0]) if row >= 0
        ]
    _print_similar(item_id, found, catalog, as_json)


def _embed_new(run: Path, title: str, image: Path | None, dims: int) -> Vectors:
    import numpy as np

    from tgqformer.catalog.images import decode_image
    from tgqformer.catalog.items import Item
    from tgqformer.cli.shared import load_embedder
    from tgqformer.retrieval.scores import truncate

    if image is not None:
        decode_image(image)  # an unreadable photo is an error here, not an item without one
    item = Item("query", title=title, images=() if image is None else (image.resolve(),))
    vector = load_embedder(run).encode([item])
    return truncate(np.asarray(vector, dtype=np.float32), dims)


def _print_similar(
    item_id: str | None,
    found: list[tuple[str, float]],
    catalog: Catalog | None,
    as_json: bool,
) -> None:
    entries: list[dict[str, object]] = [
        {"rank": rank, "item_id": name, "score": score}
        for rank, (name, score) in enumerate(found, start=1)
    ]
    if catalog is not None:
        for entry in entries:
            row = catalog.index.get(str(entry["item_id"]))
            item = None if row is None else catalog[row]
            entry["title"] = item.title if item else ""
            entry["category"] = item.category if item else ""
    if as_json:
        print_json({"item_id": item_id, "neighbours": entries})
        return
    columns = ["rank", "item_id", "score", *(["title", "category"] if catalog is not None else [])]
    name = f"Neighbours of {item_id}" if item_id is not None else "Neighbours of the new item"
    table(name, columns, [[entry[column] for column in columns] for entry in entries])


def _write_table(stored: Embeddings, out: Path, k: int, *, quiet: bool, **options: Any) -> None:
    """Search and write, with a bar; `options` are those of `write_neighbours`."""
    from tgqformer.progress import track
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
    other_group: bool,
    progress: bool,
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

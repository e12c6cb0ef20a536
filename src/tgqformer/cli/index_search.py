"""``tgqformer index search``: neighbours from a store, with filters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.options import Place
from tgqformer.cli.output import json_option, print_json, table

if TYPE_CHECKING:
    from tgqformer.retrieval.protocols import Location, VectorStore


@click.command(short_help="Find the nearest items that pass filters.")
@click.argument("store", type=Place())
@click.option("--id", "item_id", help="Id of an item in the store.")
@click.option(
    "--embeddings",
    type=click.Path(path_type=Path),
    help='Or: every item of this file, which "tgqformer embed" wrote.',
)
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Neighbours.")
@click.option("--category", "categories", multiple=True, help="In this category or below it.")
@click.option("--brand", "brands", multiple=True, help="Of this brand; may be given again.")
@click.option("--min-price", type=float)
@click.option("--max-price", type=float)
@click.option("--in-stock/--out-of-stock", "in_stock", default=None, help="Known to be so.")
@click.option(
    "--other-group-of",
    "catalog_path",
    metavar="CATALOG",
    type=click.Path(path_type=Path),
    help="No variants of the same product, as this catalog groups them.",
)
@click.option("--precision", type=click.Choice(["float32", "int8"]), default="float32")
@click.option("--exact", is_flag=True, help="Leave the sidecar aside.")
@json_option
def search(
    store: Location,
    item_id: str | None,
    embeddings: Path | None,
    k: int,
    categories: tuple[str, ...],
    brands: tuple[str, ...],
    min_price: float | None,
    max_price: float | None,
    in_stock: bool | None,
    catalog_path: Path | None,
    precision: str,
    exact: bool,
    as_json: bool,
) -> None:
    """Find the K items of STORE nearest to one of them (--id), or to others (--embeddings).

    An item is never its own neighbour. Given several times, --category and --brand admit any of
    theirs; an unknown price lies in no range.
    """
    if (item_id is None) == (embeddings is None):
        raise click.UsageError("give either --id or --embeddings")

    from tgqformer.retrieval.protocols import Filter, open_index

    where = Filter(categories, brands, min_price, max_price, in_stock)
    opened = open_index(store, precision="int8" if precision == "int8" else "float32")
    width, apart = k, dict[str, set[str]]()
    if item_id is not None:
        if catalog_path is not None:
            apart = _variants(catalog_path, [item_id])
            width = k + len(apart[item_id])
        answers = {item_id: opened.similar(item_id, width, where, exact=exact)}
    else:
        from tgqformer.retrieval.embeddings import read_embeddings

        asked = read_embeddings(embeddings or Path())
        if catalog_path is not None:
            apart = _variants(catalog_path, asked.ids)
            width = k + max(map(len, apart.values()), default=0)
        found = opened.search(asked.as_float32(), width, where, exclude=asked.ids, exact=exact)
        answers = dict(zip(asked.ids, found))
    answers = {
        query: [near for near in line if near.item_id not in apart.get(query, ())][:k]
        for query, line in answers.items()
    }
    titles = _titles(opened, [near.item_id for line in answers.values() for near in line])
    entries = [
        {
            "query_id": query,
            "rank": rank,
            "item_id": near.item_id,
            "score": near.score,
            "title": titles[near.item_id],
        }
        for query, line in answers.items()
        for rank, near in enumerate(line, start=1)
    ]
    if as_json:
        print_json(
            {"neighbours": entries, "sidecar": getattr(opened, "ann_refused", "") or "current"}
        )
        return
    columns = ["query_id", "rank", "item_id", "score", "title"]
    table(f"Neighbours in {store}", columns, [[entry[c] for c in columns] for entry in entries])


def _variants(catalog_path: Path, ids: Sequence[str]) -> dict[str, set[str]]:
    """For each item the ids of its product's variants."""
    from tgqformer.catalog.catalog import Catalog

    catalog = Catalog.load(catalog_path)
    catalog.require_groups()
    return {item_id: catalog.group_members(item_id) for item_id in ids}


def _titles(opened: VectorStore, ids: list[str]) -> dict[str, str]:
    known = opened.metadata(sorted(set(ids)))
    return {item_id: known[item_id].title if item_id in known else "" for item_id in ids}

"""``tgqformer similar``: the nearest items, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.output import json_option, print_json, table

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Vectors


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
    from tgqformer.cli.options import check_same_model
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
    _print(item_id, found, catalog, as_json)


def _embed_new(run: Path, title: str, image: Path | None, dims: int) -> Vectors:
    import numpy as np

    from tgqformer.catalog.images import decode_image
    from tgqformer.catalog.items import Item
    from tgqformer.cli.options import load_embedder
    from tgqformer.retrieval.scores import truncate

    if image is not None:
        decode_image(image)  # an unreadable photo is an error here, not an item without one
    item = Item("query", title=title, images=() if image is None else (image.resolve(),))
    vector = load_embedder(run).encode([item])
    return truncate(np.asarray(vector, dtype=np.float32), dims)


def _print(
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

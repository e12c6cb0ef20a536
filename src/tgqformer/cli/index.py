"""``tgqformer index``: the durable store of vectors and metadata, searched with filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.shared import Place, facts, json_option, print_json, size, table
from tgqformer.errors import StorageError

if TYPE_CHECKING:
    from tgqformer.retrieval.embeddings import Embeddings
    from tgqformer.retrieval.protocols import Location, Metadata, VectorStore
    from tgqformer.retrieval.scores import Vectors

_BATCH = 16_384  # items in one write
_store_argument = click.argument("store", type=Place())
_embeddings_argument = click.argument("embeddings", type=click.Path(path_type=Path))
_catalog_option = click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(path_type=Path),
    help="Take titles, brands, categories, prices and the attribute in_stock from this catalog.",
)


@click.group(short_help="Keep embeddings in a durable store and search it.")
def index() -> None:
    """Keep embeddings in a store that can be changed, filtered and searched.

    A write that has returned is on the disk and survives a power cut; any number of processes may
    read while one writes. STORE is a folder, or a collection of Qdrant:
    qdrant://HOST:PORT/COLLECTION.
    """


@index.command(short_help="Make a store of embeddings.")
@_store_argument
@_embeddings_argument
@_catalog_option
@click.option("--replace", is_flag=True, help="Take the place of a store that is there.")
@json_option
def build(
    store: Location, embeddings: Path, catalog_path: Path | None, replace: bool, as_json: bool
) -> None:
    """Make STORE of EMBEDDINGS, a file or folder that "tgqformer embed" wrote.

    It appears, or takes the old one's place, whole or not at all.
    """
    from tgqformer.retrieval.embeddings import read_embeddings
    from tgqformer.retrieval.protocols import build_store

    stored = read_embeddings(embeddings)
    known = _metadata(stored.ids, catalog_path)
    model = stored.metadata.get("model", "")
    made = build_store(
        store, _batches(stored, known), dims=stored.dims, model=model, replace=replace
    )
    info = made.info()
    if as_json:
        print_json(info)
        return
    click.echo(f"Wrote {info.items:,} items of {info.dims} dimensions, {size(info.bytes)}: {store}")
    click.echo(f"Next: tgqformer index search {store} --id {stored.ids[0]}" if stored.ids else "")


@index.command(short_help="Insert items, or replace those that are there.")
@_store_argument
@_embeddings_argument
@_catalog_option
@json_option
def upsert(store: Location, embeddings: Path, catalog_path: Path | None, as_json: bool) -> None:
    """Insert the items of EMBEDDINGS into STORE, or replace them there.

    Without --catalog, items that are there keep what is known of them. The same command again
    changes nothing more, so that one cut short can be repeated.
    """
    from tgqformer.retrieval.embeddings import read_embeddings
    from tgqformer.retrieval.protocols import open_store

    opened = open_store(store)
    stored = read_embeddings(embeddings)
    made_by, own = stored.metadata.get("model", ""), opened.model
    if made_by and own and made_by != own:
        raise StorageError(
            f"{embeddings} was made by another model ({made_by}) than {store} holds ({own}); "
            "embed the whole catalog again and build the store anew with --replace."
        )
    before = len(opened)
    for ids, vectors, metadata in _batches(stored, _metadata(stored.ids, catalog_path)):
        opened.upsert(ids, vectors, metadata)
    new = len(opened) - before
    told = {"new": new, "replaced": len(stored.ids) - new, "items": len(opened)}
    if as_json:
        print_json(told)
        return
    click.echo(f"{new:,} new, {told['replaced']:,} replaced; {store} holds {told['items']:,} items")


def _batches(
    stored: Embeddings, known: list[Metadata] | None
) -> Iterator[tuple[list[str], Vectors, list[Metadata] | None]]:
    from tgqformer.retrieval.scores import dequantize

    for start in range(0, len(stored.ids), _BATCH):
        part = slice(start, start + _BATCH)
        vectors = dequantize(stored.vectors[part], stored.precision, stored.dims)
        yield stored.ids[part], vectors, None if known is None else known[part]


def _metadata(ids: list[str], catalog_path: Path | None) -> list[Metadata] | None:
    if catalog_path is None:
        return None
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.retrieval.protocols import Metadata, stock_of

    catalog = Catalog.load(catalog_path)
    if ids and not any(item_id in catalog.index for item_id in ids):
        raise StorageError(
            f"item {ids[0]!r} has a vector and is not in {catalog_path}, nor is any other; name "
            "the catalog that was embedded."
        )
    known = []
    for item_id in ids:
        row = catalog.index.get(item_id)
        if row is None:
            known.append(Metadata())
            continue
        item = catalog[row]
        stock = stock_of(item.attributes)
        known.append(Metadata(item.title, item.brand, item.category, item.price, stock))
    return known


@index.command(short_help="Remove items.")
@_store_argument
@click.argument("ids", nargs=-1)
@click.option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, exists=True),
    help="Also the ids of this text file, one a line; or those that the catalog no longer had, of "
    'a folder that "tgqformer embed --changed-since" wrote.',
)
@json_option
def delete(store: Location, ids: tuple[str, ...], listed: Path | None, as_json: bool) -> None:
    """Remove items from STORE by their IDS; ids that are not there are no error."""
    from tgqformer.retrieval.protocols import open_store

    wanted = [*ids, *(_listed(listed) if listed is not None else ())]
    if not wanted and listed is None:
        raise click.UsageError("give the ids of some items, or a file of them with --from")
    opened = open_store(store)
    removed = opened.delete(wanted)
    told = {"removed": removed, "absent": len(set(wanted)) - removed, "items": len(opened)}
    if as_json:
        print_json(told)
        return
    click.echo(f"{removed:,} removed, {told['absent']:,} not there; {told['items']:,} items left")


def _listed(source: Path) -> list[str]:
    """The ids of a text file, or those that a folder of embeddings says are gone."""
    if source.is_dir():
        from tgqformer.scale.folder import Folder
        from tgqformer.scale.folder import read_manifest as read_shards

        manifest = read_shards(Folder(source))
        if manifest is None:
            raise StorageError(f"{source} holds no manifest; embed into it first.")
        return manifest.removed
    try:
        return [line for line in source.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{source} cannot be read as UTF-8 text; give one id a line.") from error


@index.command(short_help="Tell what a store holds.")
@_store_argument
@json_option
def info(store: Location, as_json: bool) -> None:
    """Tell what STORE holds, how large it is, and whether its sidecar is current."""
    from tgqformer.retrieval.protocols import is_qdrant, open_store

    opened = open_store(store)
    found = opened.info()
    if is_qdrant(store):
        if as_json:
            print_json({"store": found, "sidecar": None})
            return
        facts(str(store), [(name, value) for name, value in vars(found).items() if name != "bytes"])
        return
    from tgqformer.retrieval.ann import AnnManifest, outdated, read_manifest
    from tgqformer.retrieval.store import Store

    assert isinstance(opened, Store)
    sidecar: AnnManifest | None = read_manifest(opened.state())
    fresh = 0 if sidecar is None else opened.newer(sidecar.last)
    stale = "" if sidecar is None else outdated(sidecar, fresh, sidecar.items, found.items)
    if as_json:
        told = {"sidecar_current": sidecar is not None and not stale, "sidecar_changed": fresh}
        print_json({"store": found, "sidecar": sidecar, **told})
        return
    rows: list[tuple[str, object]] = [
        ("items", found.items),
        ("dimensions", found.dims),
        ("model", found.model or "unknown"),
        ("version", found.version),
        ("size", f"{size(found.bytes)} ({size(found.free_bytes)} of it free)"),
        ("in memory", f"{size(found.memory_bytes)}; at int8 {size(found.memory_bytes_int8)}"),
        ("sidecar", "none" if sidecar is None else sidecar.kind),
    ]
    if sidecar is not None:
        recall = ", ".join(f"{value:.4f} at {k}" for k, value in sidecar.recall.items())
        rows += [
            ("  recall", f"{recall} ({sidecar.queries} queries)"),
            ("  query", f"{sidecar.milliseconds:.2f} ms; exact {sidecar.exact_milliseconds:.2f}"),
            ("  size", f"{size(sidecar.bytes)}, in memory too"),
            ("  current", stale or f"yes; {fresh:,} items written since are searched beside it"),
        ]
    facts(str(store), rows)


@index.command(short_help="Find the nearest items that pass filters.")
@_store_argument
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


@index.command(short_help="Write a store's file anew without gaps.")
@_store_argument
@json_option
def optimize(store: Location, as_json: bool) -> None:
    """Write the file of STORE anew, without the gaps that changes left.

    Writes give free room back by themselves where it is a quarter of the file.
    """
    from tgqformer.retrieval.protocols import open_store

    before, after = open_store(store).optimize()
    if as_json:
        print_json({"bytes_before": before, "bytes": after})
        return
    click.echo(f"{store}: {size(before)} before, {size(after)} now")


@index.command(short_help="Build an approximate index beside a store.")
@_store_argument
@click.option("--kind", type=click.Choice(["hnsw", "ivf"]), default="hnsw", show_default=True)
@click.option(
    "--effort",
    type=click.IntRange(1),
    help="efSearch of HNSW, or nprobe of IVF; otherwise the least that finds 99 %.",
)
@click.option(
    "--queries",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Stored items to measure recall with.",
)
@json_option
def sidecar(store: Location, kind: str, effort: int | None, queries: int, as_json: bool) -> None:
    """Build an approximate index of STORE for searches over millions of items.

    Its recall against exact search is measured and told. What is written afterwards is searched
    beside it, up to 1,000 items or 1/200 of all; after more, exact search answers until it is built
    again. "tgqformer serve" builds it and takes changes in by itself.
    """
    from tgqformer.retrieval.protocols import is_qdrant
    from tgqformer.retrieval.search import LocalIndex

    if is_qdrant(store):
        raise StorageError(f"{store} keeps an index of its own; there is nothing to build.")
    opened = LocalIndex(store, sidecar=False)
    made = opened.build_sidecar("ivf" if kind == "ivf" else "hnsw", effort=effort, queries=queries)
    told = made.manifest
    if as_json:
        print_json(told)
        return
    recall = ", ".join(f"{value:.4f} at {k}" for k, value in told.recall.items())
    click.echo(f"{kind} of {told.items:,} items, {size(told.bytes)}; recall {recall}")
    click.echo(f"a query {told.milliseconds:.2f} ms; exactly {told.exact_milliseconds:.2f} ms")

"""``tgqformer index``: the durable store of vectors and metadata, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.index_search import search
from tgqformer.cli.options import Place
from tgqformer.cli.output import facts, json_option, print_json, size
from tgqformer.errors import StorageError

if TYPE_CHECKING:
    from tgqformer.retrieval.embeddings import Embeddings
    from tgqformer.retrieval.protocols import Location, Metadata
    from tgqformer.retrieval.scores import Vectors

BATCH = 16_384  # items in one write

store_argument = click.argument("store", type=Place())
embeddings_argument = click.argument("embeddings", type=click.Path(path_type=Path))
catalog_option = click.option(
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
@store_argument
@embeddings_argument
@catalog_option
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
@store_argument
@embeddings_argument
@catalog_option
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


@index.command(short_help="Remove items.")
@store_argument
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
        from tgqformer.scale.manifest import read_manifest as read_shards

        manifest = read_shards(Folder(source))
        if manifest is None:
            raise StorageError(f"{source} holds no manifest; embed into it first.")
        return manifest.removed
    try:
        return [line for line in source.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{source} cannot be read as UTF-8 text; give one id a line.") from error


@index.command(short_help="Tell what a store holds.")
@store_argument
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


@index.command(short_help="Write a store's file anew without gaps.")
@store_argument
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
@store_argument
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


index.add_command(search)


def _batches(
    stored: Embeddings, known: list[Metadata] | None
) -> Iterator[tuple[list[str], Vectors, list[Metadata] | None]]:
    from tgqformer.retrieval.quantize import dequantize

    for start in range(0, len(stored.ids), BATCH):
        part = slice(start, start + BATCH)
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

"""``tgqformer serve``: the HTTP API and the page over trained models and their stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.shared import Place

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.retrieval.neighbour_table import BlendedTable
    from tgqformer.retrieval.protocols import Location
    from tgqformer.service.explanation import Explanation
    from tgqformer.service.keys import Keys
    from tgqformer.service.served import Served

KEYS_VARIABLE = "TGQFORMER_API_KEYS"
QUANTILES = 33  # of a gate's channels


@click.command(short_help="Serve models and their stores over HTTP.")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.argument("store", type=Place(), required=False)
@click.option(
    "--model",
    "further",
    multiple=True,
    metavar="NAME=RUN:STORE",
    help="A model by a name of its own; may be given again. The first one is the default.",
)
@click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(path_type=Path),
    help="Photos and attributes of the stored items.",
)
@click.option(
    "--blend",
    "blended",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='A table of "tgqformer blend", for searches that ask for it; goes to the model whose '
    "vectors it was made of. May be given again.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--keys",
    "keys_path",
    type=click.Path(path_type=Path),
    help=f'A file of lines "read KEY" and "write KEY"; or {KEYS_VARIABLE}, the same with commas '
    "between. Without keys everybody may do everything.",
)
@click.option("--max-body", type=click.IntRange(1024), help="Bytes of one request.")
@click.option("--max-batch", type=click.IntRange(1), help="Items of one request.")
@click.option("--max-k", type=click.IntRange(1), help="Neighbours of one request.")
@click.option("--max-pixels", type=click.IntRange(1), help="Pixels of one photo.")
@click.option("--max-queued", type=click.IntRange(1), help="Items that may wait to be embedded.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds for one answer.")
@click.option(
    "--image-host",
    "image_hosts",
    multiple=True,
    metavar="HOST",
    help="Fetch photos that requests name by URL from this host; may be given again.",
)
@click.option("--no-explain", is_flag=True, help="Leave POST /v1/explain out.")
def serve(
    run: Path | None,
    store: Location | None,
    further: tuple[str, ...],
    catalog_path: Path | None,
    blended: tuple[Path, ...],
    host: str,
    port: int,
    keys_path: Path | None,
    max_body: int | None,
    max_batch: int | None,
    max_k: int | None,
    max_pixels: int | None,
    max_queued: int | None,
    timeout: float | None,
    image_hosts: tuple[str, ...],
    no_explain: bool,
) -> None:
    """Serve RUN, a trained model, over STORE, which "tgqformer index build" made of its vectors.

    STORE is a folder, or a collection of Qdrant: qdrant://HOST:PORT/COLLECTION.

    The API is described at /docs, and the page is at /. Several models stand side by side with
    --model. Stop with Ctrl-C or SIGTERM: what is under way is finished first.
    """
    named = _named(run, store, further)

    from tgqformer.errors import MissingDependencyError

    try:
        from tgqformer.service.app import create_app
        from tgqformer.service.config import ServiceConfig
        from tgqformer.service.observing import log_to_stderr
        from tgqformer.service.server import run as serve_forever
    except ImportError as error:
        raise MissingDependencyError(
            f'the service needs {error.name}; pip install "tgqformer[serve]".'
        ) from error

    given = {
        "max_body": max_body,
        "max_batch": max_batch,
        "max_k": max_k,
        "max_pixels": max_pixels,
        "max_queued": max_queued,
        "timeout": timeout,
        "image_hosts": image_hosts or None,
    }
    config = ServiceConfig(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    keys = _keys(keys_path)
    catalog = _catalog(catalog_path)
    tables = _tables(blended, {name: run for name, (run, _) in named.items()})
    models = [
        _load(name, folders, catalog, tables.get(name), explains=not no_explain)
        for name, folders in named.items()
    ]
    log_to_stderr()
    told = ", ".join(f"{m.name} ({len(m.index):,} items)" for m in models)
    click.echo(f"Serving {told} at http://{host}:{port}", err=True)
    if not keys and host not in ("127.0.0.1", "localhost", "::1"):
        click.echo("Without keys, whoever reaches this port may change the store.", err=True)
    serve_forever(create_app(models, config=config, keys=keys), config, host=host, port=port)


def _named(
    run: Path | None, store: Location | None, further: tuple[str, ...]
) -> dict[str, tuple[Path, Location]]:
    """Name to (run, store); the positional pair is called after its run's folder."""
    named: dict[str, tuple[Path, Location]] = {}
    if run is not None:
        if store is None:
            raise click.UsageError("give RUN and STORE, or --model NAME=RUN:STORE")
        named[run.resolve().name or "default"] = (run, store)
    for told in further:
        name, equals, folders = told.partition("=")
        cut = max(folders.find(":qdrant://"), folders.find(":qdrants://"))
        cut = cut if cut >= 0 else folders.rfind(":")
        model, vectors = folders[: max(0, cut)], folders[cut + 1 :]
        if not (name and equals and model and vectors):
            raise click.UsageError(f"--model {told!r} must be NAME=RUN:STORE")
        if name in named:
            raise click.UsageError(f"--model {name!r} is given twice; choose different names")
        named[name] = (Path(model), Place().convert(vectors, None, None))
    if not named:
        raise click.UsageError("give RUN and STORE, or --model NAME=RUN:STORE")
    return named


def _keys(path: Path | None) -> Keys | None:
    import os

    from tgqformer.service.keys import Keys

    if path is not None:
        return Keys.read(path)
    told = os.environ.get(KEYS_VARIABLE)
    return None if told is None else Keys.parse(told.split(","), KEYS_VARIABLE)


def _catalog(path: Path | None) -> Catalog | None:
    if path is None:
        return None
    from tgqformer.catalog.catalog import Catalog

    return Catalog.load(path)


def _tables(paths: tuple[Path, ...], runs: dict[str, Path]) -> dict[str, BlendedTable]:
    """The blended table of each model that has one, by the model's name.

    Raises:
        StorageError: a file is no such table, is of no served model, or a second one of a model.
    """
    from tgqformer.cli.shared import model_digest
    from tgqformer.errors import StorageError
    from tgqformer.retrieval.neighbour_table import BlendedTable

    tables: dict[str, BlendedTable] = {}
    digests = {name: model_digest(run) for name, run in runs.items()} if paths else {}
    for path in paths:
        table = BlendedTable(path)
        if not table.model and len(runs) > 1:
            raise StorageError(
                f"{path} does not say which model its vectors are of; serve it with one model."
            )
        own = [name for name, digest in digests.items() if table.model in ("", digest)]
        if not own:
            raise StorageError(
                f"{path} is made of vectors of another model ({table.model}) than those served; "
                "embed the catalog again and run `tgqformer blend` anew."
            )
        twice = next((name for name in own if name in tables), None)
        if twice is not None:
            raise StorageError(
                f"{path} and {tables[twice].path} are both of the model {twice}; give one --blend "
                "for each model."
            )
        tables |= dict.fromkeys(own, table)
    return tables


def _load(
    name: str,
    folders: tuple[Path, Location],
    catalog: Catalog | None,
    table: BlendedTable | None,
    *,
    explains: bool,
) -> Served:
    from tgqformer.cli.shared import check_same_model, load_embedder
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.errors import StorageError
    from tgqformer.retrieval.protocols import open_index
    from tgqformer.service.config import in_passing
    from tgqformer.service.served import Served

    run, store = folders
    index = open_index(store, tend=True)
    anew = "embed the catalog again and build the store anew with --replace"
    check_same_model(run, index.model, store, anew)
    if table is not None:
        absent = len(table.row) - len(index.metadata(list(table.row)))
        if absent == len(table.row):
            raise StorageError(
                f"{store} holds none of the {absent:,} items of {table.path}; blend the embeddings "
                "that the store was built of."
            )
        if absent:
            held = f"{absent:,} of {len(table.row):,} items of {table.path}"
            click.echo(f"{held} are not in {store} and are left out of answers", err=True)
    embedder = in_passing(lambda: load_embedder(run))
    explainer = None
    if explains and isinstance(embedder, ItemEmbedder):  # an MLLM has no connector to look into
        explainer = _ItemExplainer(embedder)
    return Served(name, embedder, index, catalog=catalog, explainer=explainer, blend=table)


class _ItemExplainer:
    """What `inspection` says of an item, as the service tells it."""

    def __init__(self, embedder: ItemEmbedder) -> None:
        self._embedder = embedder

    def explain(self, item: Item, other: Item | None = None) -> Explanation:
        import numpy as np

        from tgqformer.inspection.explain import explain
        from tgqformer.service.explanation import AttentionMap, Explanation, GateReading

        said = explain(self._embedder, item, other)
        maps = {}
        for stream, one in said.heatmaps.items():
            (width, height), (x0, y0, x1, y1) = one.layout.size, one.layout.window
            window = (x0 / width, y0 / height, x1 / width, y1 / height)
            maps[stream] = AttentionMap(one.weights, one.seen, window)
        gates = {
            stream: GateReading(
                float(gate.mean()), tuple(np.quantile(gate, np.linspace(0, 1, QUANTILES)).tolist())
            )
            for stream, gate in said.gates.items()
        }
        parts = said.contributions
        return Explanation(
            heatmaps=maps,
            gates=gates,
            agreement=said.agreement,
            words=[(word.text, word.weight) for word in said.words],
            similarity=None if parts is None else parts.similarity,
            shares={}
            if parts is None
            else {"baseline": parts.baseline, "image": parts.image, "text": parts.text},
            notes=said.notes,
        )

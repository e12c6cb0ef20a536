"""``tgqformer embed``: a catalog's vectors, into Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.output import json_option, print_json, quiet_option, size

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.protocols import Vectors
    from tgqformer.retrieval.quantize import Precision

CHUNK = 256  # items between two moves of the progress bar
GROUP = 16_384  # vectors in a row group of the file


@click.command(short_help="Embed a catalog into a Parquet file.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The Parquet file.")
@click.option("--dims", type=click.IntRange(1), help="Keep the first so many dimensions.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8", "binary"]),
    default="float32",
    show_default=True,
)
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def embed(
    run: Path,
    catalog_path: Path,
    out: Path,
    dims: int | None,
    precision: Precision,
    batch_size: int,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Embed every item of CATALOG with RUN's model.

    The file has two columns, item_id and vector, and appears whole or not at all.
    """
    from tgqformer.catalog.catalog import Catalog

    catalog = Catalog.load(catalog_path)
    told = write_embeddings(
        run,
        catalog,
        out,
        dims=dims,
        precision=precision,
        batch_size=batch_size,
        cache=cache,
        progress=not quiet,
    )
    if as_json:
        print_json(told)
        return
    shape = f"{len(catalog):,} vectors of {told['dims']} dimensions ({precision})"
    click.echo(f"Wrote {shape}, {size(out.stat().st_size)}, to {out}")
    if len(catalog.quarantine):
        click.echo(f"Left out: {catalog.quarantine.summary()}; see tgqformer validate")
    click.echo(f"Next: tgqformer similar {run} {out} --id {catalog[0].item_id}")


def write_embeddings(
    run: Path,
    catalog: Catalog,
    out: Path,
    *,
    dims: int | None = None,
    precision: Precision = "float32",
    batch_size: int = 64,
    cache: Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Embed a catalog with a run's model into a Parquet file; return what was written.

    Raises:
        CatalogError: the catalog has no items.
        ConfigError: more dimensions are asked for than the model has.
        ModelError: the run holds no model.
        StorageError: the file cannot be written.
    """
    import numpy as np

    from tgqformer.catalog.progress import track
    from tgqformer.cli.runs import model_digest, model_folder
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.errors import ConfigError
    from tgqformer.retrieval.embeddings import EmbeddingWriter
    from tgqformer.retrieval.quantize import quantize

    folder = model_folder(run)
    catalog.require_items()
    embedder = ItemEmbedder.from_pretrained(folder, cache_dir=cache)
    width = embedder.model.output_dims
    if dims is not None and dims > width:
        raise ConfigError(f"--dims {dims} must not exceed {width}, the width of {run}'s embedding")
    metadata = {"model": model_digest(run), "run": run.name}
    with EmbeddingWriter(out, dims=dims or width, precision=precision, metadata=metadata) as writer:
        held: list[Vectors] = []
        ids: list[str] = []
        starts = range(0, len(catalog), CHUNK)
        for start in track(starts, total=len(starts), text="embedding", show=progress):
            items = catalog.items[start : start + CHUNK]
            vectors = embedder.encode(items, batch_size=batch_size)
            held.append(np.asarray(vectors, dtype=np.float32))
            ids += [item.item_id for item in items]
            if len(ids) >= GROUP or len(ids) + writer.written == len(catalog):
                writer.write(ids, quantize(np.concatenate(held), precision, dims))
                held, ids = [], []
    return {
        "path": out,
        "items": len(catalog),
        "dims": dims or width,
        "precision": precision,
        "bytes": out.stat().st_size,
        "quarantine": catalog.quarantine.counts(),
    }

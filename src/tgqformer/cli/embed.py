"""``tgqformer embed``: a catalog's vectors, into a Parquet file or a folder of shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import json_option, plain, print_json, quiet_option, size

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
    from tgqformer.mllm import MLLMEmbedder
    from tgqformer.retrieval.scores import Precision
    from tgqformer.scale.pipeline import Compute, ShardVectors
    from tgqformer.scale.shards import ShardOptions

STRETCH = 2048  # items of a single file that are embedded, and written, at once
MLLM_BATCH = 8  # items at once, at most, of a model of billions of weights


@click.command(short_help="Embed a catalog into Parquet.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    help="A Parquet file (by its suffix), or a folder of shards, here or at s3://, gs://, ...",
)
@click.option("--dims", type=click.IntRange(1), help="Keep the first so many dimensions.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8", "binary"]),
    default="float32",
    show_default=True,
)
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--shard-size", default=2048, show_default=True, type=click.IntRange(1))
@click.option(
    "--changed-since",
    metavar="MANIFEST",
    help="Only what is new or changed since that folder of shards was made.",
)
@click.option("--workers", type=click.IntRange(0), help="Processes that decode; 0: threads.")
@click.option(
    "--compute",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of connector and backbone; auto is bfloat16 where the processor has it.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the model; for many items.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: as actors on a Ray cluster, whose address Ray takes from RAY_ADDRESS.",
)
@click.option("--actors", default=2, show_default=True, type=click.IntRange(1), help="Of ray.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def embed(
    run: Path,
    catalog_path: Path,
    out: str,
    dims: int | None,
    precision: Precision,
    batch_size: int,
    shard_size: int,
    changed_since: str | None,
    workers: int | None,
    compute: Compute,
    compiled: bool,
    engine: str,
    actors: int,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Embed every item of CATALOG with RUN's model.

    A file has the columns item_id and vector, and appears whole or not at all. A folder gets shards
    of them and manifest.json: a run that was stopped goes on with the same command.
    """
    single = out.endswith(".parquet")
    if single and (changed_since is not None or engine == "ray"):
        raise click.UsageError("--changed-since and --engine ray need a folder as --out")

    from tgqformer.catalog.catalog import Catalog

    catalog = Catalog.load(catalog_path)
    if single:
        told = write_embeddings(
            run,
            catalog,
            Path(out),
            dims=dims,
            precision=precision,
            batch_size=batch_size,
            cache=cache,
            progress=not quiet,
            workers=workers,
            compute=compute,
            compiled=compiled,
        )
    else:
        from tgqformer.scale.shards import ShardOptions

        options = ShardOptions(dims, precision, compute, batch_size, shard_size, changed_since)
        told = write_shards(
            run,
            catalog,
            out,
            options,
            cache=cache,
            progress=not quiet,
            workers=workers,
            compiled=compiled,
            actors=actors if engine == "ray" else 0,
        )
    if as_json:
        print_json(told)
        return
    from tgqformer.catalog.photos import tell_photos

    shape = f"{told['items']:,} vectors of {told['dims']} dimensions ({precision})"
    weight = f", {size(told['bytes'])}" if "bytes" in told else ""
    click.echo(f"Wrote {shape}{weight}, to {out}")
    if told.get("removed"):
        click.echo(f"No longer in the catalog: {len(told['removed']):,} items; see manifest.json")
    if len(catalog.quarantine):
        click.echo(f"Left out: {catalog.quarantine.summary()}; see tgqformer validate")
    if sentence := tell_photos(told["photos"]):
        click.echo(sentence)
    if told["broken_photos"]:
        click.echo(f"Photos that could not be read: {told['broken_photos']:,}")
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
    workers: int | None = None,
    compute: Compute = "auto",
    compiled: bool = False,
) -> dict[str, Any]:
    """Embed a catalog with a run's model into a Parquet file; return what was written.

    Raises:
        CatalogError: the catalog has no items.
        ConfigError: more dimensions are asked for than the model has.
        ModelError: the run holds no model.
        StorageError: the file cannot be written.
    """
    from tgqformer.catalog.photos import photos_read
    from tgqformer.cli.shared import load_embedder, model_digest
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.errors import ConfigError
    from tgqformer.retrieval.embeddings import EmbeddingWriter
    from tgqformer.retrieval.scores import quantize
    from tgqformer.scale.pipeline import Pipeline

    catalog.require_items()
    embedder = load_embedder(run, cache)
    if isinstance(embedder, ItemEmbedder):
        width, most = embedder.config.dims, embedder.config.max_images
        way = Pipeline(
            embedder, batch_size=batch_size, workers=workers, compute=compute, compile=compiled
        ).run
    else:
        width, most = embedder.config.dims, 1
        way = partial(_plainly, embedder, min(batch_size, MLLM_BATCH))
    if dims is not None and dims > width:
        raise ConfigError(f"--dims {dims} must not exceed {width}, the width of {run}'s embedding")
    metadata = {"model": model_digest(run), "run": run.name}
    starts = range(0, len(catalog), STRETCH)
    stretches = ((start, catalog.items[start : start + STRETCH]) for start in starts)
    broken = 0

    def steps() -> Iterator[int]:
        nonlocal broken
        for made in way(stretches, len(catalog)):
            if isinstance(made, int):
                yield made
                continue
            ids = [i.item_id for i in catalog.items[made.number : made.number + STRETCH]]
            writer.write(ids, quantize(made.vectors, precision, dims))
            broken += len(made.broken)

    with EmbeddingWriter(out, dims=dims or width, precision=precision, metadata=metadata) as writer:
        _show(steps(), len(catalog), progress)
    return {
        "path": out,
        "items": len(catalog),
        "dims": dims or width,
        "precision": precision,
        "bytes": out.stat().st_size,
        "quarantine": catalog.quarantine.counts(),
        "broken_photos": broken,
        "photos": photos_read(catalog.items, most),
    }


def write_shards(
    run: Path,
    catalog: Catalog,
    out: str,
    options: ShardOptions,
    *,
    cache: Path | None = None,
    progress: bool = True,
    workers: int | None = None,
    compiled: bool = False,
    actors: int = 0,
) -> dict[str, Any]:
    """Embed a catalog into a folder of shards, or go on where that was stopped.

    Args:
        actors: Ray actors that share the work; 0 does it in this process.

    Raises:
        CatalogError: the catalog has no items.
        ConfigError, ModelError, StorageError: as `ShardJob` says.
        MissingDependencyError: Ray is asked for and absent.
    """
    from tgqformer.catalog.photos import photos_read
    from tgqformer.cli.shared import load_item_embedder, model_digest
    from tgqformer.scale.pipeline import Pipeline
    from tgqformer.scale.shards import ShardJob, embed_shards

    catalog.require_items()
    embedder = load_item_embedder(
        run, cache, "shards are made by towers and connector; name a .parquet file as --out"
    )
    job = ShardJob(
        embedder,
        catalog.items,
        out,
        model=model_digest(run),
        run=run.resolve().name,
        options=options,
        quarantine=[plain(entry) for entry in catalog.quarantine],
    )
    if actors:
        from tgqformer.scale.ray_engine import embed_with_ray

        steps = embed_with_ray(job, run, cache, actors=actors, workers=workers, compile=compiled)
    else:
        pipeline = Pipeline(
            embedder,
            batch_size=options.batch_size,
            workers=workers,
            compute=options.compute,
            compile=compiled,
        )
        steps = embed_shards(job, pipeline)
    _show(steps, job.manifest.items, progress)
    made = job.manifest
    return {
        "path": out,
        "items": made.items,
        "dims": made.dims,
        "precision": made.precision,
        "shards": made.count,
        "removed": made.removed,
        "quarantine": catalog.quarantine.counts(),
        "broken_photos": len(made.broken_photos),
        "photos": photos_read(catalog.items, embedder.config.max_images),
    }


def _plainly(
    embedder: MLLMEmbedder, batch_size: int, stretches: Iterable[tuple[int, list[Item]]], total: int
) -> Iterator[int | ShardVectors]:
    """`Pipeline.run` for a model that is no more than an `encode`."""
    import numpy as np

    from tgqformer.scale.pipeline import ShardVectors
    from tgqformer.towers.encoding import BrokenPhoto

    for number, items in stretches:
        made = []
        for start in range(0, len(items), batch_size):
            part = items[start : start + batch_size]
            made.append(embedder.encode(part, batch_size=batch_size, errors="ignore"))
            yield len(made[-1])
        broken = [BrokenPhoto(name, 0, reason) for name, reason in embedder.broken.items()]
        embedder.broken.clear()
        yield ShardVectors(number, np.concatenate(made), broken)


def _show(steps: Iterator[int], total: int, progress: bool) -> None:
    """Run through `steps`, whose numbers add up to `total`, with a bar."""
    from tgqformer.progress import track

    one_by_one = (None for count in steps for _ in range(count))
    for _ in track(one_by_one, total=total, text="embedding", show=progress):
        pass

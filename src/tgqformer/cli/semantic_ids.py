"""``tgqformer semantic-ids``: a few codes for each item, for generative recommenders."""

from __future__ import annotations

from pathlib import Path

import click

from tgqformer.cli.shared import json_option, print_json, table


@click.command("semantic-ids", short_help="Give every item a few codes that items alike share.")
@click.argument("embeddings", metavar="EMBEDDINGS", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The Parquet file; the codebooks lie beside it, as .safetensors.",
)
@click.option("--levels", default=3, show_default=True, type=click.IntRange(1, 16))
@click.option(
    "--codes", default=256, show_default=True, type=int, help="Of a level: a power of two."
)
@click.option(
    "--unique/--no-unique",
    default=True,
    show_default=True,
    help="Add a last code that tells apart items that share all others.",
)
@click.option(
    "--codebooks",
    type=click.Path(path_type=Path),
    help="Encode by these codebooks of an earlier run, for new items, and fit none.",
)
@json_option
def semantic_ids(
    embeddings: Path,
    out: Path,
    levels: int,
    codes: int,
    unique: bool,
    codebooks: Path | None,
    as_json: bool,
) -> None:
    """Quantise the vectors of EMBEDDINGS level by level, and say what the codes keep.

    The first code is the coarsest. Items that share codes from the front are alike, which is what
    generative recommenders (TIGER and its kin) take as items.
    """
    from tgqformer.errors import ConfigError
    from tgqformer.retrieval.embeddings import read_embeddings
    from tgqformer.retrieval.semantic_ids import SemanticIds, told_apart, write_ids

    books = out.with_suffix(".safetensors")
    if books == out or out.suffix != ".parquet":
        raise ConfigError(f"--out is {out}, but must be a .parquet file, as codes are written so.")
    stored = read_embeddings(embeddings)
    vectors = stored.as_float32()
    if codebooks is None:
        fitted = SemanticIds.fit(vectors, levels=levels, codes=codes)
        fitted.save(books)
    else:
        fitted = SemanticIds.load(codebooks)
        books = codebooks
    found = fitted.encode(vectors)
    quality = fitted.judge(vectors, found)
    ids = told_apart(found) if unique else found
    about = {"levels": fitted.levels, "codes": fitted.codes, "unique": str(unique).lower()}
    model = stored.metadata.get("model", "")
    write_ids(out, stored.ids, ids, {"model": model, **{k: str(v) for k, v in about.items()}})
    if as_json:
        print_json({"path": out, "codebooks": books, "unique": unique, **quality.to_dict()})
        return
    rows = [
        [level, f"{100 * used:.1f} %", f"{entropy:.2f}"]
        for level, (used, entropy) in enumerate(zip(quality.used, quality.entropy))
    ]
    table(
        f"{fitted.levels} levels of {fitted.codes}", ["level", "codes used", "entropy, bits"], rows
    )
    click.echo(
        f"{100 * quality.collisions:.1f} % of {quality.items:,} items share all codes with "
        f"another, {quality.largest:,} at most; {100 * quality.error:.1f} % of the variance is "
        f"lost, and {100 * quality.recall:.1f} % of the ten nearest are kept"
    )
    written = f"Wrote the codes to {out}"
    click.echo(written if codebooks is not None else f"{written} and the codebooks to {books}")

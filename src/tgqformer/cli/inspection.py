"""``tgqformer explain``, ``pointing`` and ``audit``: where queries look, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.shared import facts, json_option, print_json, quiet_option, table

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.inspection.explain import Explanation


@click.command(short_help="Show where an item's queries look, and why two are alike.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--id", "item_id", required=True, help="Id of the item.")
@click.option(
    "--with", "other_id", metavar="ID", help="Also take its similarity to this one apart."
)
@click.option("--out", type=click.Path(path_type=Path), help="Draw it into this picture (.png).")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@json_option
def explain(
    run: Path,
    catalog_path: Path,
    item_id: str,
    other_id: str | None,
    out: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Explain an item of CATALOG by RUN's model, with any connector.

    A heatmap shows where a stream of queries reads, the gates how much of it is kept, and the words
    which part of the metadata made the anchored queries. Of a pair, photo and metadata are hidden
    in turn: what each adds to the similarity, above that with an unknown item.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise click.UsageError(f"--out is {str(out)!r}; choose a name that ends in .png")

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.shared import load_item_embedder, run_cache
    from tgqformer.inspection.explain import explain as ask

    catalog = Catalog.load(catalog_path)
    item = _item(catalog, item_id)
    other = None if other_id is None else _item(catalog, other_id)
    embedder = load_item_embedder(run, cache or run_cache(run), "it looks into a connector")
    explanation = ask(embedder, item, other)
    if out is not None:
        from tgqformer.files import atomic_path
        from tgqformer.inspection.heatmap import draw

        picture = draw(explanation)
        with atomic_path(out) as temporary:
            picture.save(temporary, "PNG")
    if as_json:
        print_json(explanation.to_dict())
        return
    _tell(explanation)
    if out is not None:
        click.echo(f"Drawn into {out}")


def _tell(explanation: Explanation) -> None:
    """Print an explanation in a few lines."""
    from tgqformer.inspection.heatmap import gate_range

    rows: list[tuple[str, object]] = [("metadata", explanation.text or "(none)")]
    rows += [
        (f"{name} attention", f"{100 * one.seen:.1f} % on the photo's tokens")
        for name, one in explanation.heatmaps.items()
    ]
    for name, gate in explanation.gates.items():
        told = gate_range(gate)
        rows.append(
            (f"{name} gate", f"x {told['mean']:.2f} ({told['low']:.2f} to {told['high']:.2f})")
        )
    if explanation.agreement is not None:
        rows.append(("agreement", f"{explanation.agreement:.2f}"))
    heaviest = sorted(explanation.words, key=lambda word: -word.weight)[:5]
    if heaviest:
        rows.append(("words", ", ".join(f"{w.text} {100 * w.weight:.0f} %" for w in heaviest)))
    if (pair := explanation.contributions) is not None:
        rows.append(
            (
                "similarity",
                f"{pair.similarity:.2f} = {pair.baseline:.2f} (an unknown item) "
                f"{pair.image:+.2f} (photos) {pair.text:+.2f} (metadata)",
            )
        )
    rows += [("note", note) for note in explanation.notes]
    facts(explanation.item.item_id, rows)
    if explanation.other is not None:
        _tell(explanation.other)


def _item(catalog: Catalog, item_id: str) -> Item:
    from tgqformer.errors import CatalogError

    row = catalog.index.get(item_id)
    if row is None:
        raise CatalogError(
            f"the catalog has no item {item_id!r}; check the id, or look whether "
            "`tgqformer validate` tells that its row was left out."
        )
    return catalog[row]


@click.command(short_help="Check the heatmaps against the product's box.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--photos", default=300, show_default=True, type=click.IntRange(1), help="Of each noise regime."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Only photos of items of this split; all by default.",
)
@click.option("--bootstrap", default=1000, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=0, show_default=True, help="Of the photos and the bootstrap.")
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def pointing(
    runs: tuple[Path, ...],
    catalog_path: Path,
    photos: int,
    split: str | None,
    bootstrap: int,
    seed: int,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how much of each stream's attention lies inside the product's box.

    CATALOG is one of "tgqformer storefront", whose labels know the box. Each RUN's model sees the
    same photos, some of every noise regime. "inside" is the share of the heatmap inside the box,
    "pointing" whether its highest cell is; "chance" is the box's share of the photo. --json adds
    how far the first RUN is ahead of the others, paired over the photos.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.evaluation.compare import percent
    from tgqformer.evaluation.intervals import Interval
    from tgqformer.inspection.pointing import boxed_items, play

    catalog = Catalog.load(catalog_path)
    positions, regimes = boxed_items(catalog, per_regime=photos, split=split, seed=seed)
    played = play(_models(runs, cache), catalog, positions, regimes, progress=not quiet)
    rows = played.table(samples=bootstrap, seed=seed)
    if as_json:
        models = [
            {"name": m.name, "connector": m.kind, "run": run} for m, run in zip(played.models, runs)
        ]
        leads = played.leads(samples=bootstrap, seed=seed)
        print_json({"models": models, "rows": rows, "leads": leads})
        return
    columns = ["noise", "photos", "model", "stream", "inside %", "pointing %"]
    table(
        f"Attention inside the product's box, {catalog_path.name}",
        columns,
        [
            [row["regime"], row["photos"], row["model"], row["stream"]]
            + [percent(Interval(**row[measure])) for measure in ("inside", "pointing")]
            for row in rows
        ],
    )
    for model in played.models:
        if not model.streams:
            click.echo(f"{model.name}: its connector has no attention over the photo.")


def _models(runs: Sequence[Path], cache: Path | None) -> Iterator[tuple[str, ItemEmbedder]]:
    """Load one run after another; each is named by its connector, a second one numbered."""
    from tgqformer.cli.shared import load_item_embedder, run_cache

    seen: dict[str, int] = {}
    for run in runs:
        own = cache or run_cache(run)
        embedder = load_item_embedder(run, own, "it looks into a connector")
        kind = embedder.config.connector.kind
        seen[kind] = seen.get(kind, 0) + 1
        yield kind if seen[kind] == 1 else f"{kind} ({seen[kind]})", embedder


@click.command(short_help="Report what in a catalog looks wrong.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The HTML page to write."
)
@click.option(
    "--most", default=48, show_default=True, type=click.IntRange(1), help="Entries of each part."
)
@click.option(
    "--near",
    type=click.FloatRange(0, 1),
    help="Correlation from which on two photos, made small, count as nearly the same.",
)
@click.option(
    "--corrected",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write a copy of CATALOG here, with the neighbours' category where the own is doubted.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@quiet_option
@json_option
def audit(
    run: Path,
    catalog_path: Path,
    out: Path,
    most: int,
    near: float | None,
    corrected: Path | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Look for what is wrong in CATALOG with RUN's model, and write a page about it.

    Photos that speak against their metadata, photos that stand twice or nearly so, items without a
    readable photo, and metadata that is empty, too short, priced oddly or of odd characters.
    A corrected copy lists its changes in corrections.jsonl; CATALOG stays as it is.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.shared import load_item_embedder, model_digest, model_folder, run_cache
    from tgqformer.inspection.audit import (
        LIST,
        NEAR,
        check_folder,
        correct_catalog,
        corrections,
        write_audit,
    )
    from tgqformer.inspection.audit import audit as look

    model_folder(run)  # a run without a model is told before a large catalog is read
    catalog = Catalog.load(catalog_path)
    catalog.require_items()
    if corrected is not None:
        check_folder(catalog, corrected)  # told before an hour's work
    embedder = load_item_embedder(run, cache or run_cache(run), "it asks the frozen towers")
    found = look(embedder, catalog, near=NEAR if near is None else near, progress=not quiet)
    told = found.counts()
    write_audit(
        out,
        found,
        title=f"Audit of {catalog_path.resolve().name}",
        most=most,
        facts={"items": f"{len(catalog):,}", "run": run.name, "model": model_digest(run)},
    )
    changes = [] if corrected is None else corrections(found)
    if corrected is not None:
        correct_catalog(catalog, changes, corrected)
    if as_json:
        more = {} if corrected is None else {"corrected": [asdict(change) for change in changes]}
        print_json(found.to_dict(most) | more)
        return
    facts(f"Audit of {catalog_path.name}", list(told.items()))
    click.echo(f"Written to {out}")
    if corrected is not None:
        click.echo(f"Corrected {len(changes):,} categories in {corrected}; {LIST} names them")

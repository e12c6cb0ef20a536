"""``tgqformer explain``: where the queries of an item look, and what makes a pair alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.output import facts, json_option, print_json

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
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
    from tgqformer.cli.runs import load_item_embedder, run_cache
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
    tell(explanation)
    if out is not None:
        click.echo(f"Drawn into {out}")


def tell(explanation: Explanation) -> None:
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
        tell(explanation.other)


def _item(catalog: Catalog, item_id: str) -> Item:
    from tgqformer.errors import CatalogError

    row = catalog.index.get(item_id)
    if row is None:
        raise CatalogError(
            f"the catalog has no item {item_id!r}; check the id, or look whether "
            "`tgqformer validate` tells that its row was left out."
        )
    return catalog[row]
